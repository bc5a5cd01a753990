"""Which addresses a worker may fetch from, enforced where the connection is made.

A job's URLs come from elsewhere, and a worker stands in somebody's network: without a policy it
could be made to read the router's or the cloud's secrets. Without ``PIFLEET_FETCH_ALLOW=lan`` only
the public Internet is fetched from. The address is judged when its socket is
made, so what is checked is what is connected: for literals, for DNS that changes its answer, and
for each hop of a redirect.
"""

from __future__ import annotations

import errno
import ipaddress
import re
import socket
from collections.abc import Callable
from contextvars import ContextVar
from functools import lru_cache, partial
from typing import Any

import aiohttp
from aiohttp.client_reqrep import ClientRequest
from aiohttp.connector import Connection

from contract.errors import ImageError
from contract.reasons import Reason
from contract.settings import Network

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

PUBLIC_V6 = ipaddress.IPv6Network("2000::/3")  # all that is routed in the public internet
CLOUD_METADATA = frozenset(  # full of secrets, and never of images: refused whatever is allowed
    ipaddress.ip_address(address)
    for address in (
        "169.254.169.254",  # Amazon, Google, Microsoft and most others
        "169.254.170.2",  # Amazon's containers
        "168.63.129.16",  # Microsoft's wire server, an address of the public Internet
        "192.0.0.192",  # Oracle
        "100.100.100.200",  # Alibaba
        "fd00:ec2::254",  # Amazon
        "fd20:ce::254",  # Google
    )
)
COMPATIBLE = ipaddress.IPv6Network("::/96")  # IPv4 written in IPv6, long given up
NAT64 = (ipaddress.IPv6Network("64:ff9b::/96"), ipaddress.IPv6Network("64:ff9b:1::/48"))
ENDS_IN_A_NUMBER = re.compile(r"(?:.*\.)?(?:0x[0-9a-f]*|[0-9]+)\.?", re.IGNORECASE)
KEEP_ALIVE_S = 30.0
DNS_CACHE_S = 60

# Called once the connection of the request stands that this task makes.
ON_CONNECTED: ContextVar[Callable[[], None] | None] = ContextVar("on_connected", default=None)


class ForbiddenAddress(OSError):
    """A host has only addresses that the policy refuses.

    The sentence is the same for each of them: aiohttp keeps the class only if all errors of one
    host read alike.
    """

    def __init__(self) -> None:
        super().__init__(errno.EACCES, "the address is refused by the fetch policy")


class TimedConnector(aiohttp.TCPConnector):
    """A connector that tells the request which it serves when its connection stands."""

    async def connect(
        self, req: ClientRequest, traces: list[Any], timeout: aiohttp.ClientTimeout
    ) -> Connection:
        """Find a connection that stands, or make one."""
        connection = await super().connect(req, traces, timeout)
        on_connected = ON_CONNECTED.get()
        if on_connected is not None:
            on_connected()
        return connection


def connector(extra: tuple[Network, ...]) -> aiohttp.TCPConnector:
    """Make the connector that enforces the policy; call it inside a running loop.

    Args:
        extra: networks that the operator allows beyond the default.
    """
    return TimedConnector(
        limit=0,  # each origin's own limit bounds what is in flight
        keepalive_timeout=KEEP_ALIVE_S,
        ttl_dns_cache=DNS_CACHE_S,
        socket_factory=socket_factory(extra),
    )


def socket_factory(extra: tuple[Network, ...]) -> Callable[[Any], socket.socket]:
    """Make a function that opens a socket for one address, or raises ``ForbiddenAddress``."""
    return partial(_open_socket, extra)


def check_host(host: str) -> None:
    """Refuse decimal, hexadecimal, octal and shortened IPv4 literals, ``2130706433`` say.

    They are a way to hide an address, and no honest list of images has them.

    Raises:
        ImageError: forbidden_address.

    Source: WHATWG URL standard, "ends in a number checker".
    """
    if _is_odd_number(host):
        raise ImageError(Reason.FORBIDDEN_ADDRESS, f"{host} is an address in disguise")


def is_allowed(address: Address, extra: tuple[Network, ...] = ()) -> bool:
    """Tell whether a worker may connect to an address.

    Args:
        address: of an origin, a redirect's target included.
        extra: networks that the operator allows, the LAN for one; no network allows a cloud's
            metadata.
    """
    if address in CLOUD_METADATA or _inner(address) in CLOUD_METADATA:
        return False
    if any(address in network for network in extra if network.version == address.version):
        return True
    if isinstance(address, ipaddress.IPv6Address):
        inner = embedded_v4(address)
        return _is_allowed_v6(address) if inner is None else is_allowed(inner, extra)
    return address.is_global and not address.is_multicast


def _inner(address: Address) -> ipaddress.IPv4Address | None:
    return embedded_v4(address) if isinstance(address, ipaddress.IPv6Address) else None


def embedded_v4(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """Find the IPv4 address that a mapped, NAT64 or 6to4 address leads to."""
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    if address in COMPATIBLE or any(address in network for network in NAT64):
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return None


def _open_socket(extra: tuple[Network, ...], address_info: Any) -> socket.socket:
    """Open a socket; ``address_info`` is one entry of ``socket.getaddrinfo``."""
    family, kind, protocol, _, place = address_info
    if not _is_allowed_text(place[0], extra):
        raise ForbiddenAddress
    return socket.socket(family=family, type=kind, proto=protocol)


@lru_cache(maxsize=1024)
def _is_allowed_text(host: str, extra: tuple[Network, ...]) -> bool:
    return is_allowed(ipaddress.ip_address(host.partition("%")[0]), extra)


def _is_allowed_v6(address: ipaddress.IPv6Address) -> bool:
    return address in PUBLIC_V6 and address.is_global


@lru_cache(maxsize=1024)
def _is_odd_number(host: str) -> bool:
    if ":" in host or not ENDS_IN_A_NUMBER.fullmatch(host):
        return False
    try:
        ipaddress.IPv4Address(host)
    except ValueError:
        return True
    return False

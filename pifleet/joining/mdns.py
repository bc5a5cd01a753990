"""Found without an address: the control node announces itself by mDNS, and a Pi looks for it.

Beside the service there is a host, ``pifleet.local``: a Pi that has nothing of ours yet finds that
by its system's own resolver. Who answers proves itself by its certificate, so a liar on the network
gains nothing. Without python-zeroconf nothing is announced, and ``pifleet.local`` is all that is
looked for.

Source: RFC 6762 (mDNS), RFC 6763 (services).
"""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

log = logging.getLogger(__name__)

Network = TypeVar("Network")

HOST = "pifleet.local"
SERVICE = "_pifleet._tcp.local."
AUTHORITY = "ca"  # what the fleet's fingerprint is called in a record
LOOK_S = 5.0  # a record is announced within three seconds (RFC 6762, 8.3)
NOWHERE = ("192.0.2.1", 9)  # TEST-NET-1: asking for a way there sends nothing


@contextmanager
def announced(addresses: Sequence[str], port: int, fingerprint: str) -> Iterator[bool]:
    """Announce the control node while the block runs; gives whether that was possible.

    Args:
        addresses: of this machine, in its networks.
        port: that it listens on.
        fingerprint: of the fleet's authority.
    """
    try:
        from zeroconf import ServiceInfo, Zeroconf
    except ModuleNotFoundError:
        log.warning("not-announced why=zeroconf is not installed; a Pi needs an address")
        yield False
        return
    info = ServiceInfo(
        SERVICE,
        f"{fingerprint[:8]}.{SERVICE}",
        port=port,
        parsed_addresses=list(addresses),
        properties={AUTHORITY: fingerprint},
        server=f"{HOST}.",
    )
    network = _open(Zeroconf)
    if network is None:
        yield False
        return
    with network:
        network.register_service(info)
        yield True  # closing it says goodbye


def find(fingerprint: str, *, port: int, wait_s: float = LOOK_S) -> str:
    """Find the control node of a fleet; falls back to its usual name.

    Args:
        fingerprint: of the fleet's authority.
        port: of the usual address.
        wait_s: how long to listen.

    Returns:
        An address, ``https://host:port``.
    """
    usual = f"https://{HOST}:{port}"
    try:
        from zeroconf import ServiceBrowser, ServiceStateChange, Zeroconf
    except ModuleNotFoundError:
        return usual
    found: list[str] = []
    is_found = threading.Event()

    def look(zeroconf: Zeroconf, service_type: str, name: str, state_change: object) -> None:
        info = None
        if state_change is not ServiceStateChange.Removed:
            info = zeroconf.get_service_info(service_type, name)
        if info is None or info.decoded_properties.get(AUTHORITY) != fingerprint:
            return  # another fleet's
        found.extend(f"https://{_shown(one)}:{info.port}" for one in info.parsed_addresses())
        is_found.set()

    network = _open(Zeroconf)
    if network is None:
        return usual
    with network:
        browser = ServiceBrowser(network, SERVICE, handlers=[look])
        is_found.wait(wait_s)
        browser.cancel()
    return found[0] if found else usual


def own_addresses() -> list[str]:
    """List the addresses by which other machines may reach this one, the best first."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(NOWHERE)
            best = [str(probe.getsockname()[0])]
        except OSError:  # no way out of here, as on a site of its own
            best = []
    try:
        import ifaddr  # zeroconf has it
    except ModuleNotFoundError:
        return best
    found = [ip.ip for adapter in ifaddr.get_adapters() for ip in adapter.ips if ip.is_IPv4]
    others = [str(one) for one in found if not str(one).startswith(("127.", "169.254."))]
    return list(dict.fromkeys([*best, *others]))


def _shown(address: str) -> str:
    return f"[{address}]" if ":" in address else address


def _open(make: type[Network]) -> Network | None:
    try:
        return make()
    except OSError as error:  # no network yet, or none that takes multicast
        log.warning("no-mdns why=%s", error)
        return None

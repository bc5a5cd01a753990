"""Other pages about the fleet, Flower and Grafana: linked where they run."""

from __future__ import annotations

import asyncio
import ipaddress
import time
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import msgspec

from contract.errors import SettingsError

USUAL = {"Flower": "http://127.0.0.1:5555", "Grafana": "http://127.0.0.1:3000"}
PATIENCE_S = 0.3
KEPT_S = 15.0


class Link(msgspec.Struct, frozen=True):
    """A page, and its address."""

    name: str
    url: str


@dataclass(slots=True)
class Links:
    """Where the pages are.

    Attributes:
        given: name to the address that the operator gave; None for the usual one, here.
    """

    given: dict[str, str | None]
    _found: list[Link] = field(default_factory=list)
    _looked_at: float = float("-inf")

    async def found(self, host: str) -> list[Link]:
        """List those that listen; the usual ones for a browser on this machine alone."""
        if time.monotonic() > self._looked_at + KEPT_S:
            links = [Link(name, url or USUAL[name]) for name, url in self.given.items()]
            alive = await asyncio.gather(*(_listens(link.url) for link in links))
            self._found = [link for link, is_alive in zip(links, alive, strict=True) if is_alive]
            self._looked_at = time.monotonic()
        return [link for link in self._found if self.given[link.name] or _is_here(host)]


def check_url(option: str, url: str | None) -> str | None:
    """Check the address of a page.

    Raises:
        SettingsError: it is no http(s) address.
    """
    if url is None:
        return None
    try:
        parts = urlsplit(url)
        _ = parts.port
        is_good = parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        is_good = False
    if not is_good:
        raise SettingsError(option, url, "an address such as http://127.0.0.1:3000")
    return url


def _is_here(host: str) -> bool:
    name = urlsplit(f"//{host}").hostname or ""
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost"


async def _listens(url: str) -> bool:
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        connecting = asyncio.open_connection(parts.hostname, port)
        _, writer = await asyncio.wait_for(connecting, PATIENCE_S)
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True

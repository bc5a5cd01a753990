"""Fetch one image over HTTP: capped, timed, retried, and never from a forbidden address.

The hot path is kept lean on purpose: after inference it is what costs most of a worker's time.
"""

from __future__ import annotations

import asyncio
import random
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

import aiohttp
from yarl import URL

from broker.rates import Gate
from contract.backoff import full_jitter
from contract.errors import ImageError
from contract.reasons import PASSING, Reason
from contract.settings import Network
from workers.fetch.addresses import ForbiddenAddress, check_host, connector
from workers.fetch.retry_after import retry_after_s

PURPOSE = "fetches images that its operator may read"
BUSY = frozenset({408, 425, 429})
REDIRECTS = frozenset({301, 302, 303, 307, 308})
PLAIN_URL = re.compile(r"[A-Za-z0-9\-._~:/?\[\]@!$&'()*+,;=%]*")  # what RFC 3986 allows as it is


@dataclass(frozen=True, slots=True)
class FetchLimits:
    """What one image may cost.

    Attributes:
        max_bytes: of its body; more is ``too_large``.
        attempts: how often it is tried here before the producer is told.
        connect_s: for the connection to stand.
        read_s: between two pieces of an answer.
        attempt_s: for one attempt in all.
        retry_until_s: no attempt starts later than this after the first, so that an image takes
            at most ``retry_until_s + attempt_s`` and a chunk ends before its time limit.
        redirects: followed at most.
    """

    max_bytes: int = 8 * 1024 * 1024
    attempts: int = 4
    connect_s: float = 5.0
    read_s: float = 10.0
    attempt_s: float = 20.0
    retry_until_s: float = 30.0
    redirects: int = 5


class Passing(ImageError):
    """A failure that may pass: worth another attempt, after ``wait_s`` seconds at least."""

    def __init__(self, reason: Reason, detail: str = "", wait_s: float = 0.0) -> None:
        super().__init__(reason, detail)
        self.wait_s = wait_s


class Fetcher:
    """Fetches images through one session; many fetches may run at the same time."""

    def __init__(
        self, session: aiohttp.ClientSession, limits: FetchLimits, rng: random.Random
    ) -> None:
        self._session = session
        self._limits = limits
        self._rng = rng

    async def fetch(self, url: str, *, gate: Gate | None = None) -> bytes:
        """Give the body that stands at a URL.

        Args:
            url: absolute, http or https.
            gate: awaited before each request, retries and redirects included.

        Raises:
            ImageError: with any reason that is not about pixels or the model.
        """
        place = parse_url(url)
        last_start = time.monotonic() + self._limits.retry_until_s
        attempt = 0
        while True:
            try:
                return await self._follow(place, gate)
            except Passing as failure:
                wait_s = failure.wait_s + full_jitter(attempt, self._rng)
                attempt += 1
                if attempt >= self._limits.attempts or time.monotonic() + wait_s > last_start:
                    raise
            await asyncio.sleep(wait_s)

    async def _follow(self, url: URL, gate: Gate | None) -> bytes:
        """Make one attempt, redirects included; each hop passes the address policy anew."""
        for _ in range(self._limits.redirects + 1):
            if gate is not None:
                await gate(str(url.host))
            answer = await self._get(url)
            if isinstance(answer, bytes):
                return answer
            url = parse_url(answer)
        raise ImageError(Reason.REDIRECTS, f"more than {self._limits.redirects}")

    async def _get(self, url: URL) -> bytes | str:
        """Give the body, or the URL that the origin sends us to."""
        try:
            async with self._session.get(url, allow_redirects=False) as response:
                if response.status == 200:
                    return await self._body(response)
                return _other_status(response, url)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise _failure(error) from error

    async def _body(self, response: aiohttp.ClientResponse) -> bytes:
        cap = self._limits.max_bytes
        announced = response.content_length
        if announced is not None and announced > cap:
            response.close()  # else aiohttp would read it all to use the connection again
            raise ImageError(Reason.TOO_LARGE, f"{announced} bytes, the cap is {cap}")
        if announced is not None and "Content-Encoding" not in response.headers:
            return await response.read()
        return await _read_capped(response, cap)


def parse_url(url: str) -> URL:
    """Check a URL before anything is sent.

    A URL that is already encoded is sent as it stands: signed URLs do not survive requoting.

    Raises:
        ImageError: bad_url, or forbidden_address for an address in disguise.
    """
    try:
        bare = url.partition("#")[0]
        parsed = URL(bare, encoded=PLAIN_URL.fullmatch(bare) is not None)
        host = parsed.host
        _ = parsed.port  # raises where it is no number
    except ValueError as error:
        raise ImageError(Reason.BAD_URL, str(error)) from error
    if parsed.scheme not in ("http", "https") or not host:
        raise ImageError(Reason.BAD_URL, "give an absolute http:// or https:// URL")
    check_host(host)
    return parsed


@asynccontextmanager
async def open_fetcher(
    allow: tuple[Network, ...], limits: FetchLimits, rng: random.Random
) -> AsyncIterator[Fetcher]:
    """Open a session and close it again; one a process, for as long as the process lives."""
    session = open_session(allow, limits)
    try:
        yield Fetcher(session, limits, rng)
    finally:
        await session.close()


def open_session(allow: tuple[Network, ...], limits: FetchLimits) -> aiohttp.ClientSession:
    """Open a session under the address policy; call it inside a running loop."""
    timeout = aiohttp.ClientTimeout(
        total=limits.attempt_s, sock_connect=limits.connect_s, sock_read=limits.read_s
    )
    return aiohttp.ClientSession(
        connector=connector(allow),
        timeout=timeout,
        headers={"User-Agent": user_agent(), "Accept": "*/*", "Accept-Encoding": "identity"},
        cookie_jar=aiohttp.DummyCookieJar(),  # one origin's cookies are no business of the next
        trust_env=False,  # a proxy from the environment would connect past the address policy
    )


def user_agent() -> str:
    """Say honestly who fetches."""
    try:
        return f"pifleet/{version('pifleet')} ({PURPOSE})"
    except PackageNotFoundError:  # run from a checkout that is not installed
        return f"pifleet ({PURPOSE})"


async def _read_capped(response: aiohttp.ClientResponse, cap: int) -> bytes:
    """Read a body of unknown length, and stop at the cap."""
    body = bytearray()
    async for piece in response.content.iter_any():
        body += piece
        if len(body) > cap:
            response.close()
            raise ImageError(Reason.TOO_LARGE, f"over {cap} bytes")
    return bytes(body)


def _other_status(response: aiohttp.ClientResponse, url: URL) -> str:
    """Give the target of a redirect; every other status is a failure."""
    status = response.status
    if status in REDIRECTS:
        target = response.headers.get("Location")
        if not target:
            raise ImageError(Reason.REDIRECTS, f"{status} without a Location")
        return str(url.join(URL(target)))
    if status in BUSY or status >= 500:
        wait_s = retry_after_s(response.headers.get("Retry-After"))
        raise Passing(Reason.HTTP_BUSY, f"status {status}", wait_s)
    raise ImageError(Reason.HTTP_STATUS, f"status {status}")


def _failure(error: Exception) -> ImageError:
    """Name what aiohttp, the network or the policy says."""
    if isinstance(error, aiohttp.ClientConnectorError) and isinstance(
        error.os_error, ForbiddenAddress
    ):
        detail = f"{error.host} is refused by PIFLEET_FETCH_ALLOW; lan would allow the LAN"
        return ImageError(Reason.FORBIDDEN_ADDRESS, detail)
    for classes, reason in _REASONS:
        if isinstance(error, classes):
            kind = Passing if reason in PASSING else ImageError
            return kind(reason, str(error) or type(error).__name__)
    return Passing(Reason.CONNECT, f"{type(error).__name__}: {error}")


_REASONS: tuple[tuple[tuple[type[Exception], ...], Reason], ...] = (  # the first that fits counts
    ((TimeoutError,), Reason.TIMEOUT),
    ((aiohttp.ClientConnectorDNSError,), Reason.DNS),
    ((ValueError,), Reason.BAD_URL),
    ((aiohttp.ClientPayloadError,), Reason.CUT_SHORT),
)

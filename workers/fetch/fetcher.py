"""Fetch one image over HTTP: capped, timed, retried, and never from a forbidden address.

The hot path is kept lean on purpose: after inference it is what costs most of a worker's time.
"""

from __future__ import annotations

import asyncio
import errno
import random
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache, partial
from importlib.metadata import PackageNotFoundError, version
from math import inf

import aiohttp
from yarl import URL

from broker.rates import Gate
from contract.backoff import full_jitter
from contract.errors import ImageError
from contract.reasons import PASSING, Reason
from contract.settings import Network
from workers.fetch.addresses import ON_CONNECTED, ForbiddenAddress, check_host, connector
from workers.fetch.budget import SMALL, default_budget
from workers.fetch.origin import Attempt, Patience, TurnLate
from workers.fetch.origins import Origins, OriginState
from workers.fetch.retry_after import retry_after_s

MOST_LATE = 6  # requests given up for another one, of one image
LATE_PAUSE_S = 0.1
PURPOSE = "fetches images that its operator may read"
BUSY = frozenset({408, 425, 429})
OVERLOADED = frozenset({429, 503})  # said of the origin; a 500 may be one image's
LOCAL = frozenset(  # what this machine lacks
    {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL}
)
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


class LocalTrouble(Passing):
    """This machine lacks a file, port or memory; it is no attempt, and no fault of an origin."""


class Late(Passing):
    """A request was given up for another one; it is no attempt, for the other one may be."""


class Fetcher:
    """Fetches images, each origin's through its limit; many fetches may run at the same time."""

    def __init__(self, origins: Origins, limits: FetchLimits, rng: random.Random) -> None:
        self._origins = origins
        self._limits = limits
        self._rng = rng

    def states(self, most: int = 8) -> tuple[OriginState, ...]:
        """Describe the origins used last, the latest first."""
        return self._origins.states(most)

    async def fetch(self, url: str, *, gate: Gate | None = None, start_by: float = inf) -> bytes:
        """Fetch the body that stands at a URL.

        Args:
            url: absolute, http or https.
            gate: awaited before each request, retries and redirects included.
            start_by: monotonic time by which the first attempt has to start, in seconds.

        Raises:
            ImageError: with any reason that is not about pixels or the model.
        """
        tries = _Tries(parse_url(url), gate, start_by)
        while True:
            try:
                return await self._follow(tries)
            except Passing as failure:
                tries.failure = failure
                wait_s = failure.wait_s
                if isinstance(failure, Late):
                    tries.late += 1
                else:
                    wait_s += full_jitter(tries.failed, self._rng)
                    tries.failed += not isinstance(failure, LocalTrouble)
                is_late = time.monotonic() + wait_s > tries.start_by
                if tries.failed >= self._limits.attempts or is_late:
                    raise
            except TurnLate as late:
                raise tries.failure or late from None
            await asyncio.sleep(wait_s)

    async def _follow(self, tries: _Tries) -> bytes:
        """Make one attempt, redirects included; each hop passes the address policy anew."""
        url = tries.url
        for _ in range(self._limits.redirects + 1):
            if tries.gate is not None:
                await tries.gate(str(url.host))
            answer = await self._get(url, tries)
            if isinstance(answer, bytes):
                return answer
            url = parse_url(answer)
        raise ImageError(Reason.REDIRECTS, f"more than {self._limits.redirects}")

    async def _get(self, url: URL, tries: _Tries) -> bytes | str:
        """Fetch the body, or the URL that the origin sends us to."""
        origin = self._origins.of(url)
        may_hedge = tries.late < MOST_LATE and tries.gate is None
        attempt = await self._origins.enter(origin, until=tries.start_by, may_hedge=may_hedge)
        tries.began(attempt.started + self._limits.retry_until_s)
        try:
            return await self._ask(url, attempt)
        except asyncio.CancelledError:
            if attempt.taken_back():
                raise self._given_up(attempt) from None
            raise
        except (aiohttp.ClientError, OSError, ValueError) as error:
            failure = _failure(error)
            self._judge(attempt, failure, error)
            raise failure from error
        finally:
            self._origins.leave(attempt)

    async def _ask(self, url: URL, attempt: Attempt) -> bytes | str:
        origin = attempt.origin
        ON_CONNECTED.set(partial(origin.note_connected, attempt))
        async with self._origins.session(origin).get(url, allow_redirects=False) as response:
            if response.status in OVERLOADED:
                origin.breaker.note_answer()
                pause_s = retry_after_s(response.headers.get("Retry-After"))
                origin.note_busy(attempt, pause_s=pause_s)
                raise Passing(Reason.HTTP_BUSY, f"status {response.status}", pause_s)
            origin.note_answer(attempt)
            if response.status == 200:
                return await self._body(response, attempt)
            return _other_status(response, url)

    def _given_up(self, attempt: Attempt) -> Passing:
        """Name why a request was given up."""
        if attempt.overdue:
            failure = Passing(Reason.TIMEOUT, attempt.overdue)
            self._judge(attempt, failure, failure)
            return failure
        if attempt.connected is not None:
            return Late(Reason.TIMEOUT, "the answer stalled while others came")
        pause_s = self._rng.uniform(0.0, LATE_PAUSE_S)
        return Late(Reason.TIMEOUT, "no connection within the time that others take", pause_s)

    def _judge(self, attempt: Attempt, failure: ImageError, error: Exception) -> None:
        """Tell the origin that it gave no answer, if that is what happened."""
        if isinstance(failure, LocalTrouble):
            self._origins.close_idle()
        elif isinstance(failure, Passing) and not attempt.is_answered:
            is_certain = isinstance(error, aiohttp.ClientConnectorCertificateError)
            attempt.origin.note_failure(attempt, failure, is_certain=is_certain)

    async def _body(self, response: aiohttp.ClientResponse, attempt: Attempt) -> bytes:
        cap = self._limits.max_bytes
        announced = response.content_length
        if announced is None or "Content-Encoding" in response.headers:
            return await self._read_capped(response, attempt, cap)
        if announced > cap:
            response.close()  # else aiohttp would read it all to use the connection again
            raise ImageError(Reason.TOO_LARGE, f"{announced} bytes, the cap is {cap}")
        if announced <= SMALL:
            attempt.body = response.content
            return await response.read()
        taken = await self._origins.budget.take(announced)
        try:
            attempt.body = response.content
            return await response.read()
        finally:
            self._origins.budget.give_back(taken)

    async def _read_capped(
        self, response: aiohttp.ClientResponse, attempt: Attempt, cap: int
    ) -> bytes:
        """Read a body of unknown length, and stop at the cap."""
        body = bytearray()
        taken = 0
        attempt.body = response.content
        try:
            async for piece in response.content.iter_any():
                body += piece
                if len(body) > cap:
                    response.close()
                    raise ImageError(Reason.TOO_LARGE, f"over {cap} bytes")
                if len(body) > SMALL and not taken:
                    attempt.body = None
                    taken = await self._origins.budget.take(cap)
                    attempt.body = response.content
            return bytes(body)
        finally:
            self._origins.budget.give_back(taken)


@dataclass(slots=True)
class _Tries:
    """How far the attempts at one image are."""

    url: URL
    gate: Gate | None
    start_by: float
    failed: int = 0
    failure: ImageError | None = None
    late: int = 0
    has_begun: bool = False

    def began(self, last_start: float) -> None:
        """Note the time after which no attempt starts; the first attempt sets it."""
        if not self.has_begun:
            self.has_begun = True
            self.start_by = last_start


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
    """Open a fetcher and close its connections again; one lives as long as its process."""
    opener = partial(open_session, allow, limits)
    patience = Patience(silence_s=limits.read_s, whole_s=limits.attempt_s)
    origins = Origins(opener, default_budget(limits.max_bytes), patience, rng)
    try:
        yield Fetcher(origins, limits, rng)
    finally:
        await origins.close()


def open_session(allow: tuple[Network, ...], limits: FetchLimits) -> aiohttp.ClientSession:
    """Open a session for one origin under the address policy; call it inside a running loop."""
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=limits.connect_s)  # see ``Patience``
    return aiohttp.ClientSession(
        connector=connector(allow),
        timeout=timeout,
        headers={"User-Agent": user_agent(), "Accept": "*/*", "Accept-Encoding": "identity"},
        cookie_jar=aiohttp.DummyCookieJar(),  # one origin's cookies are no business of the next
        trust_env=False,  # a proxy from the environment would connect past the address policy
    )


@cache
def user_agent() -> str:
    """Say honestly who fetches."""
    try:
        return f"pifleet/{version('pifleet')} ({PURPOSE})"
    except PackageNotFoundError:  # run from a checkout that is not installed
        return f"pifleet ({PURPOSE})"


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
    if isinstance(error, OSError) and _local_errno(error) in LOCAL:
        return LocalTrouble(Reason.CONNECT, f"on this machine: {error}")
    for classes, reason in _REASONS:
        if isinstance(error, classes):
            kind = Passing if reason in PASSING else ImageError
            return kind(reason, str(error) or type(error).__name__)
    return Passing(Reason.CONNECT, f"{type(error).__name__}: {error}")


def _local_errno(error: OSError) -> int | None:
    inner = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    return inner.errno


_REASONS: tuple[tuple[tuple[type[Exception], ...], Reason], ...] = (  # the first that fits counts
    ((TimeoutError,), Reason.TIMEOUT),
    ((aiohttp.ClientConnectorDNSError,), Reason.DNS),
    ((aiohttp.ClientSSLError,), Reason.CONNECT),  # a certificate's is a ValueError too
    ((ValueError,), Reason.BAD_URL),
    ((aiohttp.ClientPayloadError,), Reason.CUT_SHORT),
)

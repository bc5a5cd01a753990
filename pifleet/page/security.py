"""Who may talk to the page: hosts, origins, the token, sessions, and what a browser may run.

A browser runs other people's pages beside ours, and they can reach whatever it reaches. So a
request has to name us as its host (DNS rebinding), bring a session or the token, and, where it
changes anything, come from our own page (its origin, and a token that only this page was given).
"""

from __future__ import annotations

import hmac
import ipaddress
import secrets
import socket
import time
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from aiohttp import web

TOKEN_BYTES = 32
SESSION_S = 12 * 3600.0
MOST_SESSIONS = 1000
MOST_FAILURES = 10  # of an address, within
FAILURES_S = 60.0
MOST_ADDRESSES = 10_000
SAFE = frozenset({"GET", "HEAD"})
OPEN_PATHS = ("/login", "/static/", "/favicon.ico")
CSRF_HEADER = "X-CSRF-Token"
LOCAL_NAMES = frozenset({"localhost"})

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:;"
        " connect-src 'self'; manifest-src 'self'; form-action 'self'; base-uri 'none';"
        " frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(slots=True)
class Gate:
    """What stands between a request and the page; one a server.

    Attributes:
        token: of the printed address.
        port: that the server listens on; cookies know no ports, so their name does.
        is_local: whether it listens on loopback alone.
        names: that a browser may call us by, beside addresses; lower case.
        clock: monotonic, seconds.
    """

    token: str
    port: int
    is_local: bool
    names: frozenset[str] = LOCAL_NAMES
    clock: Callable[[], float] = time.monotonic
    _sessions: OrderedDict[str, float] = field(default_factory=OrderedDict)
    _failures: OrderedDict[str, deque[float]] = field(default_factory=OrderedDict)
    _secret: bytes = field(default_factory=lambda: secrets.token_bytes(32))

    @property
    def cookie(self) -> str:
        """Name the cookie: two servers on one host must not throw each other out."""
        return f"pifleet-{self.port}"

    def knows_host(self, host: str | None) -> bool:
        """Tell whether a request is meant for us: its Host names this machine.

        A name that an attacker lets resolve to us is none of ours; an address cannot be rebound.
        """
        try:
            name = (urlsplit(f"//{host}").hostname or "").lower()
        except ValueError:
            return False
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return name in self.names
        return address.is_loopback or not self.is_local

    def is_limited(self, address: str) -> bool:
        """Tell whether an address has failed so often that its tokens are not looked at."""
        failures = self._failures.get(address, deque())
        while failures and failures[0] < self.clock() - FAILURES_S:
            failures.popleft()
        return len(failures) >= MOST_FAILURES

    def takes(self, token: str, address: str) -> bool:
        """Tell whether a token is ours, and remember an address that guesses."""
        if hmac.compare_digest(token.encode(), self.token.encode()):
            return True
        self._failures.setdefault(address, deque(maxlen=MOST_FAILURES)).append(self.clock())
        self._failures.move_to_end(address)
        while len(self._failures) > MOST_ADDRESSES:
            self._failures.popitem(last=False)
        return False

    def open_session(self) -> str:
        """Make a session, and give its cookie's value."""
        session = secrets.token_urlsafe(TOKEN_BYTES)
        self._sessions[session] = self.clock() + SESSION_S
        while len(self._sessions) > MOST_SESSIONS:
            self._sessions.popitem(last=False)
        return session

    def has_session(self, session: str) -> bool:
        """Tell whether a cookie's value is a session that still lasts."""
        return self._sessions.get(session, 0.0) > self.clock()

    def end_session(self, session: str) -> None:
        """Forget a session."""
        self._sessions.pop(session, None)

    def csrf_token(self, session: str) -> str:
        """Make the token that only a page of this session is given."""
        return hmac.new(self._secret, session.encode(), "sha256").hexdigest()


def make_token() -> str:
    """Make a token that nobody guesses: 256 bits."""
    return secrets.token_urlsafe(TOKEN_BYTES)


def host_names(extra: Iterable[str] = ()) -> frozenset[str]:
    """Collect the names that this machine is called by on its network."""
    name = socket.gethostname().lower()
    return LOCAL_NAMES | {name, f"{name}.local", *(one.lower() for one in extra)}


def bearer(request: web.Request) -> str | None:
    """Read the token of a program, which has no cookie."""
    kind, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() if kind.lower() == "bearer" else None


def guard(gate: Gate) -> Handler:
    """Make the middleware that lets through what may pass."""

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        if not gate.knows_host(request.headers.get("Host")):
            text = "this is not the host that you asked for: open the address that was printed"
            raise web.HTTPMisdirectedRequest(text=text)
        is_safe = request.method in SAFE
        token = bearer(request)
        if token is not None:
            check_token(gate, request, token)
            return await handler(request)
        _check_site(request, is_safe=is_safe)
        if not is_safe:
            _check_origin(request)
        if request.path.startswith(OPEN_PATHS):
            return await handler(request)
        session = request.cookies.get(gate.cookie, "")
        if not gate.has_session(session):
            raise web.HTTPUnauthorized(text="log in: open the address that pifleet serve printed")
        sent = request.headers.get(CSRF_HEADER, "")
        if not is_safe and not hmac.compare_digest(
            sent.encode(), gate.csrf_token(session).encode()
        ):
            raise web.HTTPForbidden(text="the page is of an older session: load it again")
        return await handler(request)

    return check  # type: ignore[return-value]  # aiohttp's decorator hides the signature


def check_token(gate: Gate, request: web.Request, token: str) -> None:
    """Let a token pass, or refuse it.

    Raises:
        HTTPException: 401, or 429 after too many of them.
    """
    address = request.remote or ""
    if gate.is_limited(address):
        text = "too many wrong tokens from your address: wait a minute"
        raise web.HTTPTooManyRequests(text=text, headers={"Retry-After": f"{FAILURES_S:.0f}"})
    if not gate.takes(token, address):
        raise web.HTTPUnauthorized(text="the token is wrong: take the one that was printed")


async def add_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Say what a browser may do with an answer; a signal of aiohttp, so that none is left out."""
    response.headers.update(HEADERS)
    response.headers.setdefault("Cache-Control", "no-store")
    response.headers["Server"] = "pifleet"


def _check_site(request: web.Request, *, is_safe: bool) -> None:
    """Refuse what another page asks for; only a person who follows a link may come from there.

    Source: W3C Fetch Metadata Request Headers, the resource isolation policy. Another port of this
    machine counts as the same site, and is not us.
    """
    site = request.headers.get("Sec-Fetch-Site", "none")
    is_link = is_safe and request.headers.get("Sec-Fetch-Mode") == "navigate"
    if site not in ("none", "same-origin") and not is_link:
        raise web.HTTPForbidden(text="another page may not ask this one")


def _check_origin(request: web.Request) -> None:
    origin = request.headers.get("Origin")
    if origin is None or urlsplit(origin).netloc != request.headers.get("Host"):
        raise web.HTTPForbidden(text="a change has to come from the page itself")

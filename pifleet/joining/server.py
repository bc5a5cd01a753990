"""The control node's server: the wheelhouse, what a Pi needs to begin, and enrolment, over TLS.

One process beside the broker. It changes who may join, so it holds the access folder; what it gives
to everybody is public: wheels, the installer, the unit, and the authority's certificate.
"""

from __future__ import annotations

import asyncio
import importlib.resources
import logging
import socket
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import click
from aiohttp import web

from broker.transport import DATABASE
from contract.errors import OutputError, UserError
from pifleet.access.access import AUTHORITY, admit_hashed, broker_place, held
from pifleet.access.authority import make_server_certificate
from pifleet.access.roles import WORKER
from pifleet.joining import mdns, tokens
from pifleet.joining.enrolment import (
    AUTHORITY_PATH,
    MOST_BYTES,
    PATH,
    REFUSED,
    Answer,
    Reply,
    Request,
    reply_to,
)
from pifleet.joining.wheelhouse import find_releases

log = logging.getLogger(__name__)

FILES = ("install.sh", "pifleet-worker.service")  # of infra/
CERTIFICATE = "join"  # its own: the broker's may lie on another machine
MOST_WRONG, WRONG_WITHIN_S = 10, 60.0  # tries of one address
TOO_OFTEN = Reply(Answer(refusal="refused too often from here: wait a minute"), 429)
MOST_PEERS = 10_000  # that are remembered; forgetting them all is better than growing


@dataclass(slots=True)
class Tries:
    """How often each address was refused of late."""

    clock: Callable[[], float] = time.monotonic
    seen: dict[str, list[float]] = field(default_factory=dict)

    def note(self, peer: str) -> None:
        """Count one more."""
        if len(self.seen) >= MOST_PEERS:
            self.seen.clear()
        self.seen[peer] = [*self._recent(peer), self.clock()]

    def are_too_many(self, peer: str) -> bool:
        """Tell whether an address has to wait."""
        return len(self._recent(peer)) >= MOST_WRONG

    def _recent(self, peer: str) -> list[float]:
        since = self.clock() - WRONG_WITHIN_S
        return [at for at in self.seen.get(peer, []) if at > since]


@dataclass(frozen=True, slots=True)
class Place:
    """What a control node serves, and where.

    Attributes:
        folder: of `pifleet access`.
        wheels: the wheelhouse.
        hosts: names and addresses by which Pis call it, beyond those that it finds itself.
        port: 0 lets the system choose.
    """

    folder: Path
    wheels: Path
    hosts: tuple[str, ...]
    port: int


def serve(place: Place) -> None:
    """Serve until SIGTERM or Ctrl-C.

    Raises:
        UserError: the folder is no access folder, or the wheelhouse is not there.
        OutputError: the port is taken.
    """
    if not place.wheels.is_dir():
        raise UserError(f"{place.wheels} is no folder: fill one with `pifleet wheelhouse`")
    addresses = mdns.own_addresses()
    hosts = tuple(dict.fromkeys([*place.hosts, mdns.HOST, *addresses, "127.0.0.1"]))
    with held(place.folder):
        make_server_certificate(place.folder, hosts, name=CERTIFICATE)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    certificate = place.folder / f"{CERTIFICATE}.crt"
    context.load_cert_chain(certificate, certificate.with_suffix(".key"))
    fingerprint = tokens.fingerprint(tokens.read_authority(place.folder))
    with _listen(place.port) as listening:
        port = listening.getsockname()[1]
        click.echo(f"https://{hosts[0]}:{port} gives {', '.join(_releases(place.wheels))}")
        with mdns.announced(addresses, port, fingerprint):
            web.run_app(
                make_application(place),
                sock=listening,
                ssl_context=context,
                print=None,
                access_log=None,  # each enrolment has a line of its own
            )


def make_application(place: Place) -> web.Application:
    """Put together what is served."""
    tries = Tries()
    asking = asyncio.Lock()  # one after the other: each changes the users file

    async def enrol(request: web.Request) -> web.Response:
        peer, body, reply = _peer(request), await request.read(), TOO_OFTEN
        async with asking:
            if not tries.are_too_many(peer):
                reply = await asyncio.to_thread(
                    reply_to, body, lambda asked: admit(place.folder, asked), peer=peer
                )
            if reply.status == REFUSED:
                tries.note(peer)
        return web.Response(
            body=reply.answer.to_json(), status=reply.status, content_type="application/json"
        )

    application = web.Application(client_max_size=MOST_BYTES)
    application.add_routes([web.post(PATH, enrol), *_public(place)])
    return application


def admit(folder: Path, request: Request) -> Answer:
    """Let a machine in by its token.

    The broker learns of it first and the token last: what breaks between leaves a machine that may
    ask again, and no use that nobody had.

    Raises:
        UserError: the token does not let it in, or another has its name.
        ServiceError: the broker is away.
    """
    token = tokens.parse_token(request.token)
    now = time.time()
    with held(folder):
        issued = tokens.read_issued(folder)
        asked = {"name": request.name, "hashed": request.password}
        used = tokens.check(token, issued, **asked, now=now)
        admit_hashed(folder, request.name, WORKER, hashed=request.password)
        used.joined[request.name] = request.password
        tokens.write_issued(folder, issued, now=now)
    host, port = broker_place(folder)
    return Answer(host=host, port=port, database=int(DATABASE))


def _peer(request: web.Request) -> str:
    return (request.remote or "?").removeprefix("::ffff:")  # IPv4 on a socket of both


def _releases(wheels: Path) -> list[str]:
    return [f"pifleet {release}" for release in find_releases(wheels)] or ["no pifleet yet"]


def _public(place: Place) -> list[web.RouteDef]:
    files = importlib.resources.files("infra")

    async def wheels(_: web.Request) -> web.Response:
        names = sorted(path.name for path in place.wheels.glob("*.whl"))
        links = "\n".join(f'<a href="{name}">{name}</a>' for name in names)
        return web.Response(text=f"<!doctype html>\n{links}\n", content_type="text/html")

    async def wheel(request: web.Request) -> web.StreamResponse:
        path = place.wheels / request.match_info["name"]
        if not path.is_file():
            raise web.HTTPNotFound
        return web.FileResponse(path)

    async def file(request: web.Request) -> web.Response:
        name = request.path.lstrip("/")
        return web.Response(text=(files / name).read_text(encoding="utf-8"))

    async def authority(_: web.Request) -> web.StreamResponse:
        return web.FileResponse(place.folder / AUTHORITY)

    return [
        web.get("/wheels/", wheels),
        web.get("/wheels/{name:[A-Za-z0-9_.+-]+[.]whl}", wheel),
        web.get(AUTHORITY_PATH, authority),
        *(web.get(f"/{name}", file) for name in FILES),
    ]


def _listen(port: int) -> socket.socket:
    try:
        if socket.has_dualstack_ipv6():
            return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True)
        return socket.create_server(("", port))
    except OSError as error:
        raise OutputError(f"port {port} cannot be had: {error.strerror}") from error

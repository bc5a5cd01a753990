"""The page's server: routes, what guards them, and its life from start to Ctrl-C."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import click
from aiohttp import web

from contract.errors import FleetError, ImageError, SettingsError, TransientError
from contract.settings import Settings
from pifleet.local.redis_server import check_free
from pifleet.local.up import is_loopback
from pifleet.page.api import Api, answering
from pifleet.page.board import Board
from pifleet.page.desk import Desk
from pifleet.page.images import open_images
from pifleet.page.links import Links, check_url
from pifleet.page.openapi import ENDPOINTS, description
from pifleet.page.reading import Models
from pifleet.page.security import Gate, add_headers, guard, host_names, make_token
from pifleet.page.views import STATIC, Views, is_for_a_person
from producer.review.corrections import MOST_WHO

log = logging.getLogger(__name__)

SHUTDOWN_S = 1.0


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """How the page is served.

    Attributes:
        port: 0 lets the system choose.
        bind: the address to listen on.
        names: host names that it is reached by, beside this machine's own.
        folder: lists and submissions go there, folders of images lie there.
        model: chosen at first.
        flower: its address; None looks here.
        grafana: likewise.
        who: a person's name, for corrections.
    """

    port: int = 8100
    bind: str = "127.0.0.1"
    names: tuple[str, ...] = ()
    folder: Path = Path()
    model: str = "captcha"
    flower: str | None = None
    grafana: str | None = None
    who: str = "somebody"


def run_page(options: ServeOptions, settings: Settings) -> None:
    """Serve the page until Ctrl-C.

    Raises:
        SettingsError: the port is taken, or an option is no good.
        ModelError: there is no such model.
    """
    if options.port:
        check_free(options.bind, options.port, name="--port")
    asyncio.run(_serve(options, settings))


async def _serve(options: ServeOptions, settings: Settings) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with serving(options, settings) as (address, desk):
        click.echo(f"The page is at\n\n  {address}\n")
        if not is_loopback(options.bind):
            click.echo("Plain HTTP: whoever listens on this network can read along.", err=True)
        await stop.wait()
        stopped = desk.close()
    if stopped:
        click.echo(
            f"{stopped} jobs stopped here; `pifleet jobs` lists them, `pifleet collect JOB`"
            " goes on with one",
            err=True,
        )


@asynccontextmanager
async def serving(
    options: ServeOptions, settings: Settings, *, token: str | None = None
) -> AsyncIterator[tuple[str, Desk]]:
    """Serve the page; yields its address, with the token, and the desk that runs its jobs."""
    token = token or make_token()
    async with _application(options, settings, token) as (application, gate, desk):
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=SHUTDOWN_S)
        await runner.setup()
        try:
            site = web.TCPSite(runner, options.bind, options.port)
            await site.start()
            gate.port = runner.addresses[0][1]
            yield f"{_origin(options, gate.port)}/login?token={token}", desk
        finally:
            await runner.cleanup()


@asynccontextmanager
async def _application(
    options: ServeOptions, settings: Settings, token: str
) -> AsyncIterator[tuple[web.Application, Gate, Desk]]:
    models = Models(options.folder, default=options.model)
    given = {
        "Flower": check_url("--flower", options.flower),
        "Grafana": check_url("--grafana", options.grafana),
    }
    gate = Gate(token, options.port, is_loopback(options.bind), host_names(options.names))
    desk = Desk(settings, options.folder)
    board = Board(settings, desk)
    try:
        async with open_images(settings) as images:
            api = Api(settings, board, desk, models, images, Links(given), _name(options.who))
            application = web.Application(middlewares=[_errors, guard(gate)])  # type: ignore[list-item]
            application.on_response_prepare.append(add_headers)
            _add_routes(application, api, Views(gate))
            application.cleanup_ctx.append(_looking(board))
            yield application, gate, desk
    finally:
        board.close()
        desk.close()


def _add_routes(application: web.Application, api: Api, views: Views) -> None:
    for endpoint in ENDPOINTS:
        handler = answering(getattr(api, endpoint.handler))
        application.router.add_route(endpoint.method, endpoint.path, handler)
    application.router.add_get("/api/openapi.json", answering(description))
    application.router.add_get("/login", views.login)
    application.router.add_post("/login", views.login)
    application.router.add_post("/logout", views.logout)
    for path, handler in views.pages():
        application.router.add_get(path, handler)
    application.router.add_static("/static/", STATIC)


def _looking(board: Board):  # type: ignore[no-untyped-def]  # aiohttp's own form
    async def look(application: web.Application) -> AsyncIterator[None]:
        task = asyncio.create_task(board.run())
        yield
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    return look


@web.middleware
async def _errors(request: web.Request, handler):  # type: ignore[no-untyped-def]
    """Answer what goes wrong with one sentence: a page for a person, JSON for a program."""
    try:
        return await handler(request)
    except web.HTTPException as error:
        if error.status < 400:
            raise
        headers = {k: v for k, v in error.headers.items() if k in ("Retry-After", "Allow")}
        return _answer(request, error.status, error.text or error.reason, headers)
    except ImageError as error:
        return _answer(request, 404, str(error), {})
    except FleetError as error:
        status = 503 if isinstance(error, TransientError) else 400
        return _answer(request, status, str(error), {})
    except Exception:
        log.exception("page-failed path=%s", request.path)
        return _answer(request, 500, "that went wrong here: see what `pifleet serve` says", {})


def _answer(request: web.Request, status: int, said: str, headers: dict[str, str]) -> web.Response:
    if is_for_a_person(request):
        return Views.problem(status, said, headers)
    return web.json_response({"error": said}, status=status, headers=headers)


def _name(who: str) -> str:
    if not who.strip() or len(who) > MOST_WHO or not who.isprintable():
        raise SettingsError("--who", who, f"a name in one line, of {MOST_WHO} symbols at most")
    return who.strip()


def _origin(options: ServeOptions, port: int) -> str:
    host = "127.0.0.1" if options.bind in ("0.0.0.0", "::") else options.bind
    host = options.names[0] if options.names else host
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

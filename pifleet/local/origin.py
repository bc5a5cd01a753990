"""An HTTP origin that serves a folder's images, and fails as often as it is asked to.

It behaves like system A's: an index page for a user name, then one GET a file. Try it with
``python -m pifleet.local.origin FOLDER --faults 0.05``; the address is the first line it writes.
"""

from __future__ import annotations

import asyncio
import hashlib
import html
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import click

from contract.errors import ServiceError, UserError
from contract.exit_codes import INTERRUPTED
from pifleet.local.children import end_child, last_line, start_child
from producer.cli import Finite

if TYPE_CHECKING:
    from aiohttp import web

START_S = 20.0
USER = "bob"
FAULTS = ("busy", "cut", "slow")
SLOW_S = 2.0  # as slow as system A's server was at its worst


@dataclass(frozen=True, slots=True)
class OriginOptions:
    """How the origin behaves.

    Attributes:
        faults: the share of requests, in [0, 1], that is answered 503, cut short or delayed.
        seed: the same seed fails the same requests, in whatever order they come.
        links: the index is HTML links; otherwise a name a line.
        host: the address it listens on.
        port: 0 takes a free one.
    """

    faults: float = 0.0
    seed: int = 0
    links: bool = False
    host: str = "127.0.0.1"
    port: int = 0


@contextmanager
def running_origin(folder: Path, options: OriginOptions = OriginOptions()) -> Iterator[str]:
    """Run an origin in a process of its own, and yield the address of its index page.

    Raises:
        UserError: the folder cannot be read.
        ServiceError: it does not start.
    """
    if not folder.is_dir():
        raise UserError(f"folder {folder}: no such folder")
    with running_program(__name__, str(folder), *_flags(options)) as address:
        yield address


@contextmanager
def running_program(module: str, *arguments: str) -> Iterator[str]:
    """Run an origin's module until the block ends; gives the address that it writes first.

    Raises:
        ServiceError: it does not start.
    """
    with tempfile.TemporaryDirectory(prefix="pifleet-origin-") as scratch:
        log = Path(scratch) / "origin.log"
        child = start_child([sys.executable, "-m", module, *arguments], log=log)
        try:
            deadline = time.monotonic() + START_S
            while not log.read_text().startswith("http"):
                if child.poll() is not None or time.monotonic() > deadline:
                    raise ServiceError(f"the origin did not start: {last_line(log)}")
                time.sleep(0.02)  # polling with a deadline: it cannot call us
            yield log.read_text().splitlines()[0]
        finally:
            end_child(child, grace_s=5.0)


def index_item(index_url: str) -> str:
    """Return the ``--index-item`` that goes with an index page of ours."""
    return index_url + "&myfilename={name}"


def fault_of(path: str, attempt: int, options: OriginOptions) -> str | None:
    """Decide whether a request fails, and how: by a hash, so that order plays no part."""
    digest = hashlib.blake2b(f"{options.seed} {attempt} {path}".encode(), digest_size=8).digest()
    if int.from_bytes(digest[:4]) / 2**32 >= options.faults:
        return None
    return FAULTS[digest[4] % len(FAULTS)]


def index_page(names: list[str], *, links: bool) -> str:
    """Write the index: a name a line, or HTML links."""
    if not links:
        return "".join(f"{name}\n" for name in names)
    items = [
        f'<li><a href="/?user={USER}&amp;myfilename={quote(name)}">{html.escape(name)}</a></li>'
        for name in names
    ]
    return "<!doctype html><title>index</title><ul>" + "\n".join(items) + "</ul>"


@dataclass(slots=True)
class Origin:
    """The request handler: the files it serves, and how often each was asked for."""

    files: dict[str, Path]
    options: OriginOptions
    asked: Counter[str] = field(default_factory=Counter)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answer the index page or a file, if need be with a fault."""
        from aiohttp import web

        body = self._body(request.query.get("user"), request.query.get("myfilename"))
        if body is None:
            return web.Response(status=404, text="no such file\n")
        self.asked[request.path_qs] += 1
        fault = fault_of(request.path_qs, self.asked[request.path_qs], self.options)
        if fault == "busy":
            return web.Response(status=503, text="busy\n")
        if fault == "cut":
            return await _cut_short(request, body)
        if fault == "slow":
            await asyncio.sleep(SLOW_S)
        is_index = "myfilename" not in request.query
        kind = "text/html" if is_index and self.options.links else "text/plain"
        return web.Response(body=body, content_type=kind if is_index else "image/png")

    def _body(self, user: str | None, name: str | None) -> bytes | None:
        if user is None:
            return None
        if name is None:
            return index_page(list(self.files), links=self.options.links).encode()
        path = self.files.get(name)
        return None if path is None else path.read_bytes()


async def _cut_short(request: web.Request, body: bytes) -> web.StreamResponse:
    from aiohttp import web

    response = web.StreamResponse(headers={"Content-Length": str(len(body))})
    await response.prepare(request)
    await response.write(body[: len(body) // 2])
    if request.transport is not None:
        request.transport.close()
    return response


def _flags(options: OriginOptions) -> list[str]:
    flags = ["--faults", str(options.faults), "--seed", str(options.seed)]
    flags += ["--host", options.host, "--port", str(options.port)]
    return [*flags, "--links"] if options.links else flags


async def _serve(folder: Path, options: OriginOptions) -> None:
    from aiohttp import web

    files = {path.name: path for path in sorted(folder.iterdir()) if path.is_file()}
    app = web.Application()
    app.router.add_get("/", Origin(files, options).answer)
    runner = web.AppRunner(app, access_log=None, handle_signals=True, shutdown_timeout=0.5)
    await runner.setup()
    try:
        await web.TCPSite(runner, options.host, options.port).start()
        port = runner.addresses[0][1]
        click.echo(f"http://{options.host}:{port}/?user={USER}")
        await asyncio.Event().wait()  # until a signal ends the process
    finally:
        await runner.cleanup()


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--faults", type=Finite(0, 1), default=0.0, help="Share that fails.")
@click.option("--seed", default=0, help="Of the faults.")
@click.option("--links", is_flag=True, help="An index of HTML links instead of a name a line.")
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", default=0, help="0 takes a free one.")
def main(folder: Path, faults: float, seed: int, links: bool, host: str, port: int) -> None:
    """Serve FOLDER as system A's server did, until it is ended."""
    options = OriginOptions(faults=faults, seed=seed, links=links, host=host, port=port)
    try:
        asyncio.run(_serve(folder, options))
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


if __name__ == "__main__":
    main()

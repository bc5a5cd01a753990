"""A control node on this machine: a Redis with TLS and users, and the server that lets Pis in."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pifleet.access.access import make_folder
from pifleet.local.children import end_child, start_child
from tests.conftest import wait_until
from tests.support.commands import PIFLEET, run_pifleet
from tests.support.ports import free_port
from tests.support.secured_redis import running_redis, tls_redis_server

SAID = re.compile(r"https://\S+:(\d+) gives")


@dataclass(frozen=True, slots=True)
class ControlNode:
    """What runs.

    Attributes:
        folder: with ``access/`` and ``wheels/``.
        at: address of its server.
        log: what the server says.
    """

    folder: Path
    at: str
    log: Path

    def token(self, *options: str) -> str:
        """Print a token, as its owner does."""
        done = self.run("join", "--token", *options)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command where its access folder is."""
        return run_pifleet(*arguments, folder=self.folder)

    def users(self) -> list[str]:
        """List who may join."""
        return [line.split("\t")[0] for line in self.run("access", "list").stdout.splitlines()]

    def joined(self, token: str) -> list[str]:
        """List who came in by a token."""
        issued = json.loads((self.folder / "access" / "tokens.json").read_text())
        return sorted(issued[token.partition(".")[0]]["joined"])


@contextmanager
def broker_with_access(folder: Path) -> Iterator[None]:
    """Run a broker with the users and certificates of ``folder/access``, made anew."""
    if not (folder / "access").exists():
        make_folder(folder / "access", ("localhost", "127.0.0.1"), port=free_port())
    with running_redis(folder, folder / "access" / "tls.conf", program=tls_redis_server()):
        yield


@contextmanager
def control_node(folder: Path) -> Iterator[ControlNode]:
    """Run broker and server."""
    (folder / "wheels").mkdir(exist_ok=True)
    with broker_with_access(folder), serving(folder) as node:
        yield node


@contextmanager
def serving(folder: Path) -> Iterator[ControlNode]:
    """Run the server alone, for when its broker is away."""
    log = folder / "server.log"
    log.write_text("")
    command = [*PIFLEET, "join", "--serve", "--port", "0", "--host", "localhost"]
    command += ["--folder", str(folder / "access"), "--wheels", str(folder / "wheels")]
    server = start_child(command, log=log)
    try:
        wait_until(
            lambda: SAID.search(log.read_text()) or server.poll() is not None,
            timeout_s=20.0,
            what="the server's start",
        )
        said = SAID.search(log.read_text())
        assert said is not None, log.read_text()
        yield ControlNode(folder, f"https://localhost:{said[1]}", log)
    finally:
        end_child(server, grace_s=10)


def needs() -> str:
    """Name what this machine lacks for it; empty where nothing."""
    if tls_redis_server() is None:
        return "no redis-server with TLS on the PATH"
    return "" if shutil.which("redis-server") else "no redis-server"

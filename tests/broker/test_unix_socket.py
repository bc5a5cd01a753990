"""A broker behind a Unix socket: worker, job and status, as over TCP."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from broker.app import broker_url
from broker.connection import connect, masked
from contract.errors import ServiceError
from pifleet.local.children import end_child, start_child
from pifleet.local.redis_server import find_redis_server
from tests.conftest import wait_until
from tests.support.faulty_origin import FaultyOrigin
from tests.support.stripes import png


@pytest.fixture
def socket_url() -> Iterator[str]:
    """Return the URL of a Redis that listens on a socket only, with a password."""
    with tempfile.TemporaryDirectory() as folder:  # a socket's path has 107 bytes at most
        path = Path(folder) / "s"
        command = [str(find_redis_server()), "--port", "0", "--unixsocket", str(path)]
        command += ["--save", "", "--dir", folder, "--requirepass", "s@cr/t"]
        server = start_child(command, env=os.environ, log=Path(folder) / "log")
        url = f"unix://{path}?db=3&password=s%40cr%2Ft"
        try:
            wait_until(lambda: answers(url), what="Redis")
            yield url
        finally:
            end_child(server, grace_s=5)


def answers(url: str) -> bool:
    try:
        with connect(url) as redis:
            return bool(redis.ping())
    except ServiceError:
        return False


@pytest.mark.redis
@pytest.mark.timeout(90)
def test_job_and_status_work_over_a_socket(
    socket_url: str, origin: FaultyOrigin, tmp_path: Path, tiny_model: Path
) -> None:
    env = {
        **os.environ,
        "PIFLEET_REDIS_URL": socket_url,
        "PIFLEET_STATE_DIR": str(tmp_path / "state"),
        "PIFLEET_CACHE_DIR": str(tmp_path / "cache"),
        "PIFLEET_FETCH_ALLOW": "127.0.0.0/8",
        "PIFLEET_WORKER_NAME": "pi1",
    }
    pifleet = [sys.executable, "-m", "pifleet"]
    worker = start_child([*pifleet, "worker"], env=env, log=tmp_path / "worker.log")
    try:
        (tmp_path / "urls.txt").write_text(origin.add("/a.png", png("AB")))
        command = ["submit", str(tmp_path / "urls.txt"), "-o", str(tmp_path / "out.csv")]
        command += ["--model", str(tiny_model)]
        done = subprocess.run([*pifleet, *command], env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr + (tmp_path / "worker.log").read_text()
        assert (tmp_path / "out.csv").read_text() == "a.png,AB\n"
        shown = subprocess.run([*pifleet, "status", "--json"], env=env, capture_output=True)
        assert "pi1" in json.dumps(json.loads(shown.stdout))
    finally:
        end_child(worker, grace_s=30)
    assert "s@cr" not in (tmp_path / "worker.log").read_text()


@pytest.mark.parametrize(
    ("url", "kombu"),
    [
        ("unix:///r.sock", "redis+socket:///r.sock?virtual_host=0"),
        ("unix://u:p%40@/r.sock?db=2", "redis+socket://u:p%40@/r.sock?virtual_host=2"),
        ("unix:///r.sock?password=p%40", "redis+socket://:p%40@/r.sock?virtual_host=0"),
        ("redis+socket://:p@/r.sock?virtual_host=4", "redis+socket://:p@/r.sock?virtual_host=4"),
    ],
)
def test_socket_is_spelled_as_celery_wants_it(url: str, kombu: str) -> None:
    assert broker_url(url) == kombu


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://:secret@h:6379/0", "redis://:***@h:6379/0"),
        ("redis://bob:secret@h/0", "redis://bob:***@h/0"),
        ("redis://h:6379/0", "redis://h:6379/0"),
        ("unix:///r.sock?db=1&password=secret", "unix:///r.sock?db=1&password=***"),
        ("redis://h/0?username=secret&PASSWORD=secret", "redis://h/0?username=***&PASSWORD=***"),
        ("rediss://h/0?ssl_ca_certs=/ca.crt", "rediss://h/0?ssl_ca_certs=/ca.crt"),
        ("redis://:sec:ret@h/0#secret", "redis://:***@h/0"),
        ("sentinel://u:secret@a:1,b:2/m/0", "sentinel://u:***@a:1,b:2/m/0"),
        ("secret@h", "(a URL that cannot be parsed)"),
        ("redis://[secret", "(a URL that cannot be parsed)"),
        ("nonsense", "nonsense"),
    ],
)
def test_what_is_secret_in_a_url_is_never_shown(url: str, shown: str) -> None:
    assert masked(url) == shown

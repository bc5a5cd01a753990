"""Who is refused by the broker is told once, and is not retried for ever."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from broker.chunks import QUEUE_KEY
from broker.connection import connect
from contract.exit_codes import USAGE
from pifleet.local.children import Child, end_child, start_child
from tests.conftest import wait_until
from tests.support.commands import PIFLEET, fleet_env
from tests.support.secured_redis import redis_with_users, url_of

pytestmark = pytest.mark.redis


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    with redis_with_users(tmp_path) as port:
        yield port


@pytest.fixture
def worker(port: int, tmp_path: Path) -> Iterator[Child]:
    command = [*PIFLEET, "worker", "--concurrency", "1", "--name", "pi1"]
    child = start_child(command, env=fleet_env(url_of("pi1", port), tmp_path), log=log_of(tmp_path))
    wait_until(lambda: " ready." in said(tmp_path), timeout_s=30, what="the worker's start")
    yield child
    end_child(child, grace_s=10)


def log_of(folder: Path) -> Path:
    return folder / "worker.log"


def said(folder: Path) -> str:
    return log_of(folder).read_text() if log_of(folder).exists() else ""


def complaints(folder: Path) -> list[str]:
    lines = said(folder).splitlines()
    return [line for line in lines if line and not line.startswith("INFO")]


def test_revoked_worker_says_so_once_and_leaves(worker: Child, port: int, tmp_path: Path) -> None:
    with connect(url_of("admin", port)) as admin:
        admin.acl_deluser("pi1")

    assert worker.wait(timeout=20) == USAGE

    *cuts, line = complaints(tmp_path)
    assert all("Connection to broker lost" in cut for cut in cuts)
    assert len(cuts) <= 1  # the server cuts the connection before it refuses the next
    assert line.startswith("ERROR workers.consumer refused error=invalid username-password")


@pytest.mark.parametrize("right", ["-brpop", "-hset"], ids=["queue", "heartbeat"])
def test_worker_that_lacks_a_right_says_so_once_and_leaves(
    port: int, tmp_path: Path, right: str
) -> None:
    with connect(url_of("admin", port)) as admin:
        admin.execute_command("ACL", "SETUSER", "pi1", right)
    command = [*PIFLEET, "worker", "--concurrency", "1", "--name", "pi1"]
    env = fleet_env(url_of("pi1", port), tmp_path)
    worker = start_child(command, env=env, log=log_of(tmp_path))
    try:
        assert worker.wait(timeout=30) == USAGE
    finally:
        end_child(worker, grace_s=10)
    (line,) = complaints(tmp_path)
    assert f"no permissions to run the '{right[1:]}' command" in line


def test_producer_that_is_revoked_in_mid_job_says_so_once_and_leaves(
    port: int, tmp_path: Path, tiny_model: Path
) -> None:
    (tmp_path / "urls.txt").write_text("http://127.0.0.1:9/a.png\n")
    command = [*PIFLEET, "submit", "urls.txt", "-o", "out.csv", "--model", str(tiny_model)]
    producer = subprocess.Popen(
        command,
        cwd=tmp_path,
        env=fleet_env(url_of("producer", port), tmp_path),
        stderr=subprocess.PIPE,
        text=True,
    )
    with connect(url_of("admin", port)) as admin:
        wait_until(lambda: admin.llen(QUEUE_KEY), timeout_s=20, what="the first chunk")
        admin.acl_deluser("producer")

    _, error = producer.communicate(timeout=20)

    assert producer.returncode == USAGE
    *others, line = error.splitlines()
    waits = [other for other in others if other.startswith("WARNING")]
    assert len(waits) <= 1  # the server cuts the connection before it refuses the next
    assert line.startswith("pifleet: Redis at redis://producer:***@127.0.0.1:")
    assert "check the user and password in PIFLEET_REDIS_URL" in line

"""What a job asks of Redis: that it be there in the end, and nothing that it would have to keep."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from broker.connection import connect
from tests.conftest import Pifleet, StartWorker, wait_until
from tests.support.faulty_origin import Answer, FaultyOrigin
from tests.support.stripes import png, some_text

pytestmark = pytest.mark.redis

IMAGES = 600


@pytest.fixture
def redis(redis_url: str) -> Iterator[Any]:
    with connect(redis_url) as client:
        yield client
        client.config_set("maxmemory", "0")


def ended(process: subprocess.Popen[str]) -> int:
    """Wait for a command's end; return its exit code."""
    process.communicate(timeout=90)
    return process.returncode


def submit(pifleet: Pifleet, origin: FaultyOrigin, folder: Path) -> subprocess.Popen[str]:
    """Start a job that takes a few seconds; return its process."""
    texts = [some_text(number) for number in range(IMAGES)]
    urls = [
        origin.add(f"/{number}.png", answer=Answer(png(text), delay_s=0.8))
        for number, text in enumerate(texts)
    ]
    (folder / "urls.txt").write_text("\n".join(urls))
    options = ("-o", "out.csv", "--chunk", "16")
    process = pifleet("submit", "urls.txt", *options)
    wait_until(lambda: len(origin.requests) > 50, timeout_s=40, what="the job's beginning")
    return process


def test_cancelled_job_leaves_nothing_in_redis(
    pifleet: Pifleet,
    start_worker: StartWorker,
    origin: FaultyOrigin,
    redis: Any,
    tmp_path: Path,
) -> None:
    start_worker(concurrency=2)
    producer = submit(pifleet, origin, tmp_path)
    listed = json.loads(pifleet("jobs", "--json").communicate(timeout=30)[0])

    pifleet("cancel", listed[0]["job"]).communicate(timeout=30)

    assert ended(producer) == 1  # what was not read has failed
    kept = ("pifleet:heartbeat:", "pifleet:workers", "pifleet:model:")

    def left() -> set[str]:
        return {key for key in map(bytes.decode, redis.keys("*")) if not key.startswith(kept)}

    wait_until(lambda: not left(), timeout_s=20, what="an empty Redis")


def test_job_waits_while_redis_is_full(
    pifleet: Pifleet,
    start_worker: StartWorker,
    origin: FaultyOrigin,
    redis: Any,
    tmp_path: Path,
) -> None:
    worker = start_worker(concurrency=2)
    producer = submit(pifleet, origin, tmp_path)

    redis.config_set("maxmemory", "1")  # every command that would add something is refused
    wait_until(lambda: "result-waits" in worker.log.read_text(), timeout_s=30, what="a full Redis")
    redis.config_set("maxmemory", "0")

    assert ended(producer) == 0
    assert len((tmp_path / "out.csv").read_text().splitlines()) == IMAGES

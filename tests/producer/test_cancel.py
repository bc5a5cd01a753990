"""Cancelling stops the fleet, and keeps what it had read by then."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from redis import Redis

from broker.claims import claim_key
from broker.connection import connect
from broker.results import results_key
from tests.conftest import Pifleet, RunningWorker, StartWorker, wait_until
from tests.support.faulty_origin import Answer, FaultyOrigin
from tests.support.stripes import png

pytestmark = pytest.mark.redis

IMAGES = 200
CHUNK = 8


@pytest.fixture
def worker(start_worker: StartWorker) -> RunningWorker:
    return start_worker(concurrency=1)


@pytest.fixture
def slow_list(origin: FaultyOrigin, tmp_path: Path) -> str:
    answer = Answer(png("A1"), delay_s=1.0)
    urls = [origin.add(f"/{number:03}.png", answer=answer) for number in range(IMAGES)]
    (tmp_path / "urls.txt").write_text("\n".join(urls))
    return "urls.txt"


def finished(process: subprocess.Popen[str]) -> str:
    out, error = process.communicate(timeout=30)
    assert process.returncode == 0, error
    return out


def detached(pifleet: Pifleet, source: str) -> str:
    options = ("--detach", "--chunk", str(CHUNK))
    return str(json.loads(finished(pifleet("submit", source, "-o", "out.csv", *options)))["job"])


def has_told(worker: RunningWorker) -> int:
    """Count the images that it says it read, once it says that nothing is in its hands.

    A heartbeat of before the first chunk has nothing in hand either: what is waited for is the
    number.
    """
    beat = worker.heartbeat()
    return 0 if beat is None or beat.in_hand else beat.images - beat.failed


def test_cancelled_detached_job_keeps_what_came_and_stops_the_fleet(
    pifleet: Pifleet,
    worker: RunningWorker,
    origin: FaultyOrigin,
    slow_list: str,
    tmp_path: Path,
    redis_url: str,
) -> None:
    job = detached(pifleet, slow_list)
    with connect(redis_url) as redis:
        wait_until(lambda: redis.xlen(results_key(job)) > 1, what="the first answer")

        said = finished(pifleet("cancel", job))

        assert not list(redis.scan_iter(claim_key(job, 0).replace("0", "*")))
        assert not redis.exists(results_key(job))
        requests = len(origin.requests)
        wait_until(lambda: has_told(worker) >= CHUNK, what="its rest")
    assert len(origin.requests) <= requests + CHUNK < IMAGES
    rows = (tmp_path / "out.csv").read_text().splitlines()
    read = [row for row in rows if row.endswith(",A1")]
    assert len(rows) == IMAGES
    assert len(read) >= CHUNK
    kept = f"{len(read)} of {IMAGES} images were read and are kept"
    assert said == f"job {job} cancelled: {kept} -> {tmp_path / 'out.csv'}\n"


def test_worker_answers_what_it_has_of_a_chunk_and_the_rest_may_go_on(
    pifleet: Pifleet, worker: RunningWorker, origin: FaultyOrigin, tmp_path: Path
) -> None:
    hanging, slow = (Answer(png("A1"), delay_s=s) for s in (60.0, 2.0))  # both outlast a look
    urls = [origin.add(f"/{number}.png", png("A1")) for number in range(CHUNK - 1)]
    urls.append(origin.add("/last.png", answer=hanging))
    (tmp_path / "urls.txt").write_text("\n".join(urls))
    job = detached(pifleet, "urls.txt")
    wait_until(lambda: origin.hits("/last.png"), timeout_s=30, what="the last of the chunk")

    said = finished(pifleet("cancel", job))

    assert f"{CHUNK - 1} of {CHUNK} images were read and are kept" in said
    wait_until(lambda: has_told(worker) == CHUNK - 1, what="its rest")

    origin.add("/last.png", answer=slow)
    finished(pifleet("dead", "replay", job))

    rows = (tmp_path / "out.csv").read_text().splitlines()
    assert [row.endswith(",A1") for row in rows] == [True] * CHUNK


def last_entry(redis: Redis, stream: bytes) -> object:
    return redis.xinfo_stream(stream)["last-generated-id"]


def test_job_that_is_cancelled_while_it_runs_keeps_what_came(
    pifleet: Pifleet, worker: RunningWorker, slow_list: str, tmp_path: Path, redis_url: str
) -> None:
    process = pifleet("submit", slow_list, "-o", "out.csv", "--chunk", str(CHUNK))
    with connect(redis_url) as redis:
        wait_until(lambda: list(redis.scan_iter("pifleet:results:*")), what="the job")
        (stream,) = redis.scan_iter("pifleet:results:*")
        opened = last_entry(redis, stream)
        wait_until(lambda: last_entry(redis, stream) != opened, what="the first answer")

    finished(pifleet("cancel", "out.csv"))

    summary = json.loads(process.communicate(timeout=30)[0])
    assert summary["read"] >= CHUNK
    assert summary["read"] + summary["failed"] == IMAGES

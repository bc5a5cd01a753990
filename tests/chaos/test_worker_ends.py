"""A worker that ends: told to, it finishes what it has in hand; killed, it leaves no orphans."""

from __future__ import annotations

import json
from pathlib import Path

import psutil
import pytest

from tests.conftest import Pifleet, StartWorker, wait_until
from tests.support.faulty_origin import Answer, FaultyOrigin
from tests.support.fleet_job import FleetJob
from tests.support.stripes import png

pytestmark = pytest.mark.redis


def test_drained_workers_chunk_is_not_sent_again(
    pifleet: Pifleet,
    start_worker: StartWorker,
    origin: FaultyOrigin,
    tmp_path: Path,
) -> None:
    worker = start_worker()
    slow = Answer(png("A1"), delay_s=5.0)  # longer than two looks of the producer
    urls = [origin.add(f"/{number}.png", answer=slow) for number in range(8)]
    (tmp_path / "urls.txt").write_text("\n".join(urls))
    producer = pifleet("submit", "urls.txt", "-o", "out.csv")
    wait_until(lambda: origin.requests, timeout_s=30, what="the first request")

    worker.process.terminate()
    out, _ = producer.communicate(timeout=60)

    summary = json.loads(out)
    assert (summary["read"], summary["resent"], summary["repeats"]) == (8, 0, 0)


def test_killed_worker_leaves_no_process_behind(
    job: FleetJob, start_worker: StartWorker, origin: FaultyOrigin
) -> None:
    worker = start_worker(concurrency=2)
    pool = psutil.Process(worker.process.pid).children()
    job.send([origin.add("/slow.png", answer=Answer(png("A"), delay_s=60))])
    wait_until(lambda: origin.hits("/slow.png"), what="a chunk in hand")

    worker.kill()

    wait_until(lambda: not any(lives(process) for process in pool), timeout_s=5)
    assert len(pool) == 2


def lives(process: psutil.Process) -> bool:
    """Say whether it runs; one that nobody has reaped yet does not."""
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False

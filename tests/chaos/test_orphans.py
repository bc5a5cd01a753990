"""Pool processes end with their worker, whatever they are doing."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from tests.conftest import StartWorker, wait_until
from tests.support.faulty_origin import Answer, FaultyOrigin
from tests.support.fleet_job import fleet_job
from tests.support.stripes import png

pytestmark = pytest.mark.redis


def test_killed_worker_leaves_no_process_behind(
    redis_url: str, tiny_model: Path, start_worker: StartWorker, origin: FaultyOrigin
) -> None:
    worker = start_worker(concurrency=2)
    pool = psutil.Process(worker.process.pid).children()
    with fleet_job(redis_url, tiny_model) as job:
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

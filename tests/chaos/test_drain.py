"""A worker that is told to end finishes what it has in hand, and nobody takes it for dead."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.conftest import Pifleet, StartWorker, wait_until
from tests.support.faulty_origin import Answer, FaultyOrigin
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

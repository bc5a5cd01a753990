"""A process that hangs holds nobody up: others are idle, so they read its chunk again."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import psutil
import pytest

from tests.conftest import Pifleet, StartWorker, wait_until
from tests.support.faulty_origin import Answer, FaultyOrigin
from tests.support.stripes import png

pytestmark = pytest.mark.redis


def test_hanging_process_is_overtaken(
    pifleet: Pifleet,
    start_worker: StartWorker,
    origin: FaultyOrigin,
    tmp_path: Path,
) -> None:
    hanging, _ = (start_worker(name=name) for name in ("pi1", "pi2"))
    slow = Answer(png("A1"), delay_s=0.5)
    urls = [origin.add(f"/{number}.png", answer=slow) for number in range(128)]
    (tmp_path / "urls.txt").write_text("\n".join(urls))
    producer = pifleet("submit", "urls.txt", "-o", "out.csv", "--chunk", "8")
    (child,) = psutil.Process(hanging.process.pid).children()
    wait_until(lambda: "outcome=done" in hanging.log.read_text(), timeout_s=40, what="a chunk")

    os.kill(child.pid, signal.SIGSTOP)  # its worker beats on, and holds the chunk
    try:
        out, _ = producer.communicate(timeout=60)
    finally:
        os.kill(child.pid, signal.SIGCONT)

    summary = json.loads(out)
    assert (summary["read"], summary["failed"]) == (128, 0)
    assert summary["seconds"] < 45
    assert summary["resent"] <= 16  # what it had in hand, and no more

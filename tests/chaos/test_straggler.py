"""A process that hangs holds nobody up: others are idle, so they read its chunk again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.conftest import StartWorker, wait_until
from tests.support.faulty_origin import Answer, FaultyOrigin
from tests.support.stripes import png

pytestmark = pytest.mark.redis


def test_hanging_process_is_overtaken(
    start_worker: StartWorker,
    origin: FaultyOrigin,
    redis_url: str,
    tmp_path: Path,
    tiny_model: Path,
) -> None:
    hanging, _ = (start_worker(name=name) for name in ("pi1", "pi2"))
    slow = Answer(png("A1"), delay_s=0.5)
    urls = [origin.add(f"/{number}.png", answer=slow) for number in range(128)]
    (tmp_path / "urls.txt").write_text("\n".join(urls))
    env = {**os.environ, "PIFLEET_REDIS_URL": redis_url, "PIFLEET_STATE_DIR": str(tmp_path / "s")}
    command = [sys.executable, "-m", "pifleet", "submit", "urls.txt", "-o", "out.csv", "--json"]
    producer = subprocess.Popen(
        [*command, "--model", str(tiny_model), "--chunk", "8"],
        cwd=tmp_path,
        env=env,
        stdout=subprocess.PIPE,
    )
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

"""Ctrl-C in a worker's terminal: the whole process group hears it."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from contract.exit_codes import INTERRUPTED
from tests.conftest import RunningWorker, StartWorker, wait_until
from tests.support.commands import PIFLEET
from tests.support.faulty_origin import Answer, FaultyOrigin
from tests.support.fleet_job import FleetJob, fleet_job
from tests.support.stripes import png

pytestmark = pytest.mark.redis


@pytest.fixture
def job(redis_url: str, tiny_model: Path) -> Iterator[FleetJob]:
    with fleet_job(redis_url, tiny_model) as opened:
        yield opened


def interrupt(worker: RunningWorker) -> None:
    os.killpg(worker.process.pid, signal.SIGINT)


def read_slowly(origin: FaultyOrigin, job: FleetJob, delay_s: float) -> None:
    urls = [
        origin.add(f"/{number}.png", answer=Answer(png("A"), delay_s=delay_s))
        for number in range(8)
    ]
    job.send(urls)
    wait_until(lambda: origin.requests, what="the download")


def complaints(worker: RunningWorker) -> list[str]:
    words = ("Session is closed", "Traceback", "ERROR", "CRITICAL", "never retrieved")
    return [line for line in worker.log.read_text().splitlines() if any(w in line for w in words)]


def test_interrupted_worker_finishes_its_chunk_and_exits_130(
    job: FleetJob, start_worker: StartWorker, origin: FaultyOrigin
) -> None:
    worker = start_worker()
    read_slowly(origin, job, 0.5)
    interrupt(worker)
    assert worker.process.wait(timeout=20) == INTERRUPTED
    assert [len(result.rows) for result in job.results()] == [8]
    assert complaints(worker) == []


def test_second_interrupt_is_quick_and_logs_nothing_odd(
    job: FleetJob, start_worker: StartWorker, origin: FaultyOrigin
) -> None:
    worker = start_worker(concurrency=2)
    read_slowly(origin, job, 60)
    interrupt(worker)
    wait_until(lambda: "Warm shutdown" in worker.log.read_text(), what="the drain")
    started = time.monotonic()
    interrupt(worker)
    assert worker.process.wait(timeout=20) == INTERRUPTED
    assert time.monotonic() - started < 5.0
    assert complaints(worker) == []


@pytest.mark.parametrize("processes", [1, 3], ids=["starting", "reading"])
def test_interrupted_classify_prints_one_line(
    tmp_path: Path, tiny_model: Path, processes: int
) -> None:
    for number in range(2_000):
        (tmp_path / f"{number}.png").write_bytes(png("A1"))
    said = interrupted(["classify", str(tmp_path), "--model", str(tiny_model)], processes)
    assert said == ["pifleet: interrupted"]


@pytest.mark.parametrize("processes", [1, 3], ids=["starting", "drawing"])
def test_interrupted_demo_ends_with_one_line(tmp_path: Path, processes: int) -> None:
    pytest.importorskip("captcha")
    said = interrupted(["demo", "--images", "20000", "--out", str(tmp_path / "demo")], processes)
    assert said[-1:] == ["pifleet: interrupted"]
    assert not [line for line in said if "Traceback" in line]


def interrupted(arguments: list[str], processes: int) -> list[str]:
    """Interrupt a command that has started so many processes; returns what it said, by lines."""
    pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
    command = subprocess.Popen([*PIFLEET, *arguments], text=True, start_new_session=True, **pipes)  # type: ignore[call-overload]
    try:
        started = psutil.Process(command.pid)
        wait_until(lambda: len(started.children()) >= processes, what="its processes")
        os.killpg(command.pid, signal.SIGINT)  # as a terminal does
        _, said = command.communicate(timeout=30)
    finally:
        command.kill()
    assert command.returncode == INTERRUPTED
    return [str(line) for line in said.split("\n") if line]  # one is begun after the ^C

"""A worker that is too hot, or short of power, takes fewer chunks, says so, and recovers."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from broker.heartbeats import Heartbeat
from tests.conftest import RunningWorker, StartWorker, wait_until
from tests.support.faulty_origin import Answer, FaultyOrigin
from tests.support.fleet_job import FleetJob
from tests.support.stripes import png
from tests.workers.test_health import Clock
from workers.health.cooling import STEP_S, Cooling
from workers.health.heartbeat import take_at_most
from workers.health.host import machine_model, memory_mb, process_cap_mb

CHUNKS = 4


def looks(cooling: Cooling, clock: Clock, *found: tuple[float | None, int | None]) -> list[int]:
    allowed = []
    for temperature_c, throttled in found:
        cooling.look(temperature_c, throttled)
        allowed.append(cooling.allowed)
        clock.now += STEP_S
    return allowed


def test_heat_halves_what_is_read_at_once_and_cold_gives_it_back_one_by_one() -> None:
    clock = Clock()
    cooling = Cooling(12, clock)
    found = [(79.9, 0), (80.0, 0), (84.0, 0), (90.0, 0), (90.0, 0)]
    assert looks(cooling, clock, *found) == [12, 6, 3, 1, 1]
    assert cooling.why == "90 °C"
    assert looks(cooling, clock, (79.0, 0), (75.0, 0)) == [1, 1], "between the two nothing changes"
    assert looks(cooling, clock, (74.0, 0)) == [2]
    assert cooling.why == "was 90 °C"
    assert looks(cooling, clock, *[(74.0, 0)] * 11) == [*range(3, 13), 12]
    assert cooling.why == ""


@pytest.mark.parametrize(
    ("throttled", "allowed", "why"),
    [
        (0x1, 2, "under-voltage"),
        (0x50005, 2, "under-voltage, throttled"),
        (0x2, 2, "frequency capped"),
        (0x50000, 4, ""),
        (0x8, 4, ""),
    ],
    ids=["under-voltage", "throttled", "capped", "long ago", "soft limit of a 3B+"],
)
def test_what_the_firmware_says_now_counts(throttled: int, allowed: int, why: str) -> None:
    cooling = Cooling(CHUNKS, Clock())
    cooling.look(None, throttled)
    assert (cooling.allowed, cooling.why) == (allowed, why)


def test_steps_keep_their_distance() -> None:
    clock = Clock()
    cooling = Cooling(12, clock)
    for _ in range(7):  # heartbeats
        cooling.look(85.0, None)
        clock.now += 2
    assert cooling.allowed == 6


@pytest.mark.redis
def test_hot_worker_says_so_in_its_heartbeat_and_recovers(
    start_worker: StartWorker, tmp_path: Path
) -> None:
    thermal, program = tmp_path / "temp", tmp_path / "vcgencmd"
    thermal.write_text("84000\n")
    program.write_text(f"#!/bin/sh\ncat {tmp_path / 'flags'}\n")
    program.chmod(0o755)
    (tmp_path / "flags").write_text("throttled=0x50005\n")
    worker = start_worker(
        module="tests.support.hot_worker",
        concurrency=CHUNKS,
        env={
            "FAKE_THERMAL": str(thermal),
            "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}",
            "PIFLEET_HEARTBEAT_S": "0.2",
        },
    )
    wait_until(lambda: said(worker).processes == 1, what="its slowing")
    hot = said(worker)
    assert (hot.capacity, hot.temperature_c, hot.throttled) == (CHUNKS, 84.0, 0x50005)
    assert hot.slowed == "84 °C, under-voltage, throttled"
    thermal.write_text("60000\n")
    (tmp_path / "flags").write_text("throttled=0x50000\n")
    wait_until(lambda: said(worker).processes == CHUNKS, what="its recovery")
    assert said(worker).slowed == ""
    log = worker.log.read_text()
    assert "slowed chunks=2 of=4 reason=84 °C, under-voltage, throttled" in log
    assert "recovered chunks=4" in log


@pytest.mark.redis
def test_hot_worker_leaves_chunks_to_others(
    job: FleetJob, start_worker: StartWorker, origin: FaultyOrigin, tmp_path: Path
) -> None:
    (tmp_path / "temp").write_text("84000\n")
    worker = start_worker(
        module="tests.support.hot_worker",
        concurrency=CHUNKS,
        env={"FAKE_THERMAL": str(tmp_path / "temp"), "PIFLEET_HEARTBEAT_S": "0.2"},
    )
    wait_until(lambda: said(worker).processes == 1, what="its slowing")
    for number in range(4):
        job.send([origin.add(f"/{number}.png", answer=Answer(png("A"), delay_s=0.4))])
    held: list[int] = []

    def are_answered() -> bool:
        held.append(len(said(worker).in_hand))
        return len(job.results()) >= 4

    wait_until(are_answered, timeout_s=20, what="four answers")
    assert max(held) == 1


def said(worker: RunningWorker) -> Heartbeat:
    heartbeat = worker.heartbeat()
    assert heartbeat is not None
    return heartbeat


def test_memory_of_a_process_is_its_share_of_the_machine(tmp_path: Path) -> None:
    limit = tmp_path / "memory.max"
    limit.write_text("500000000\n")
    assert memory_mb(limit) == 500
    limit.write_text("max\n")
    assert memory_mb(limit) == memory_mb(tmp_path / "missing") > 500
    assert process_cap_mb(memory_mb=906, processes=12) == 160, "a Pi 3"
    assert process_cap_mb(memory_mb=8300, processes=12) == pytest.approx(739, abs=1), "a Pi 5"


def test_model_of_the_machine_has_no_nul_in_it(tmp_path: Path) -> None:
    path = tmp_path / "model"
    path.write_text("Raspberry Pi 4 Model B Rev 1.4\0")
    assert machine_model(path) == "Raspberry Pi 4 Model B Rev 1.4"
    assert machine_model(tmp_path / "missing") == ""


class Qos:
    """Celery's own count of what may be taken, without Celery."""

    def __init__(self, value: int) -> None:
        self.value = value

    def increment_eventually(self, number: int) -> None:  # noqa: D102
        self.value += number

    def decrement_eventually(self, number: int) -> None:  # noqa: D102
        self.value -= number


@pytest.mark.parametrize(
    ("value", "before", "allowed", "wanted"),
    [(4, 4, 2, 2), (2, 2, 3, 3), (4, 2, 2, 2), (3, 4, 4, 3), (2, 3, 4, 3)],
    ids=["slowed", "recovers", "connected anew", "Celery's own", "both"],
)
def test_what_is_taken_follows_what_is_allowed_and_celery(
    value: int, before: int, allowed: int, wanted: int
) -> None:
    worker = SimpleNamespace(consumer=SimpleNamespace(qos=Qos(value)))
    assert take_at_most(allowed, worker, before=before)
    assert worker.consumer.qos.value == wanted
    assert not take_at_most(allowed, SimpleNamespace(consumer=None), before=before)

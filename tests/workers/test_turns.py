"""Long turns are asked for as the kernel understands it, and keep the niceness."""

from __future__ import annotations

import os
import platform
import re
import struct
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.conftest import StartWorker, wait_until
from workers.turns import TURN_NS, call_number, take_long_turns

PROGRAM = """
import os
from pathlib import Path
from workers.turns import take_long_turns
os.nice(3)
print(take_long_turns(), os.sched_getscheduler(0) == os.SCHED_BATCH, os.nice(0))
print(Path("/proc/self/sched").read_text())
"""


def is_call_known() -> bool:
    return call_number(sys.platform, platform.machine(), 8 * struct.calcsize("P")) is not None


def test_process_gets_long_turns() -> None:
    if not is_call_known() or not Path("/proc/self/sched").exists():
        pytest.skip("a system without the call, or one that does not tell")
    asked = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True)
    granted, _, told = asked.stdout.partition("\n")
    assert granted == "True True 3", asked.stderr
    turn = re.search(r"se\.slice +: +(\d+)", told)
    if turn is None or tuple(map(int, platform.release().split(".")[:2])) < (6, 12):
        pytest.skip("a kernel that has no turns of a task's own")
    assert int(turn[1]) == TURN_NS


@pytest.mark.parametrize(
    ("system", "machine", "bits", "number"),
    [
        ("linux", "aarch64", 64, 274),
        ("linux", "aarch64", 32, 380),  # 32-bit Pi OS on a 64-bit kernel
        ("linux", "x86_64", 32, None),
        ("darwin", "x86_64", 64, None),  # the same number is another call there
    ],
)
def test_call_of_another_system_is_never_made(
    system: str, machine: str, bits: int, number: int | None
) -> None:
    assert call_number(system, machine, bits) == number


@pytest.mark.redis
def test_processes_of_a_worker_have_them_and_their_parent_has_not(
    start_worker: StartWorker,
) -> None:
    worker = psutil.Process(start_worker(concurrency=2).process.pid)
    if not is_call_known():
        pytest.skip("a system without the call")

    def have_them() -> bool:
        policies = [os.sched_getscheduler(child.pid) for child in worker.children()]
        return policies.count(os.SCHED_BATCH) >= 2

    wait_until(have_them, what="the turns of both")
    assert os.sched_getscheduler(worker.pid) == os.SCHED_OTHER  # its heartbeat is to be in time


def test_mac_is_asked_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.delattr(os, "SCHED_BATCH")
    assert not take_long_turns()

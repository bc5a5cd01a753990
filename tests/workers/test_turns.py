"""Long turns are asked for as the kernel understands it, and keep the niceness."""

from __future__ import annotations

import platform
import re
import subprocess
import sys
from pathlib import Path

import pytest

from workers.turns import NUMBERS, TURN_NS

PROGRAM = """
import os
from pathlib import Path
from workers.turns import take_long_turns
os.nice(3)
print(take_long_turns(), os.sched_getscheduler(0) == os.SCHED_BATCH, os.nice(0))
print(Path("/proc/self/sched").read_text())
"""


def test_process_gets_long_turns() -> None:
    if platform.machine() not in NUMBERS or not Path("/proc/self/sched").exists():
        pytest.skip("a system without the call, or one that does not tell")
    asked = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True)
    granted, _, told = asked.stdout.partition("\n")
    assert granted == "True True 3", asked.stderr
    turn = re.search(r"se\.slice +: +(\d+)", told)
    if turn is None or tuple(map(int, platform.release().split(".")[:2])) < (6, 12):
        pytest.skip("a kernel that has no turns of a task's own")
    assert int(turn[1]) == TURN_NS

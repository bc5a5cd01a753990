"""Child processes end when they are told to, and when we end."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pifleet.local.children import end_child, last_line, sigterm_as_exit, start_child
from tests.conftest import wait_until

DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=1)"


def test_child_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    log = tmp_path / "log"
    child = start_child([sys.executable, "-c", f"{DEAF}; time.sleep(600)"], log=log)
    wait_until(lambda: "deaf" in log.read_text(), what="the child's word")
    assert end_child(child, grace_s=0.2) == -signal.SIGKILL


def test_child_that_has_ended_keeps_its_exit_code() -> None:
    child = start_child([sys.executable, "-c", "raise SystemExit(7)"])
    child.wait(timeout=10)
    assert end_child(child, grace_s=1) == 7


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's help is Linux's")
def test_child_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    program = (
        "import time; from pathlib import Path; from pifleet.local.children import start_child\n"
        "child = start_child(['sleep', '600'])\n"
        f"Path({str(tmp_path)!r}, 'pid').write_text(f'{{child.pid}}.')\n"
        "time.sleep(600)"
    )
    parent = subprocess.Popen([sys.executable, "-c", program])
    note = tmp_path / "pid"
    wait_until(lambda: note.exists() and note.read_text().endswith("."), what="the child's start")
    parent.kill()
    parent.wait()
    wait_until(lambda: not _runs(int(note.read_text()[:-1])), what="the child's end")


def test_sigterm_runs_the_finally_clauses() -> None:
    cleaned = []

    def work() -> None:
        try:
            signal.raise_signal(signal.SIGTERM)
        finally:
            cleaned.append("yes")

    with pytest.raises(SystemExit) as ended, sigterm_as_exit():
        work()
    assert cleaned == ["yes"]
    assert ended.value.code == 128 + signal.SIGTERM


def test_last_line_of_a_silent_child_says_so(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text(" \n")
    assert last_line(log) == "it said nothing"
    log.write_text("first\nlast\n\n")
    assert last_line(log) == "last"


def _runs(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"

"""Ctrl-C while images are drawn: every process gets it, and none says a word about it."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.support.commands import PIFLEET

DEADLINE_S = 15.0


@pytest.mark.parametrize("wait_for", ["*", "*/*.png"], ids=["starting", "drawing"])
def test_an_interrupted_drawing_prints_no_traceback(tmp_path: Path, wait_for: str) -> None:
    command = [*PIFLEET, "generate", "captcha", "-n", "500000", "-o", "set", "--workers", "2"]
    drawing = subprocess.Popen(
        command, cwd=tmp_path, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        _await_file(tmp_path, wait_for)
        os.killpg(drawing.pid, signal.SIGINT)  # as a terminal does
        _, said = drawing.communicate(timeout=DEADLINE_S)
    finally:
        drawing.kill()

    assert drawing.returncode != 0
    assert "Traceback" not in said
    assert len(said.strip().splitlines()) <= 1, said


def _await_file(folder: Path, pattern: str) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not any(folder.glob(pattern)):
        assert time.monotonic() < deadline, f"no {pattern} came"
        time.sleep(0.02)

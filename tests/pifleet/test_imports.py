"""Importing the command costs next to nothing: what is heavy comes with the subcommand."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("tensorflow", "keras", "aiohttp", "celery", "PIL", "captcha")


@pytest.mark.parametrize("heavy", HEAVY)
def test_command_loads_nothing_heavy(heavy: str) -> None:
    program = f"import pifleet.cli, sys; sys.exit({heavy!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


@pytest.mark.parametrize("heavy", ["celery", "kombu", "tensorflow", "ai_edge_litert"])
def test_a_producer_needs_neither_celery_nor_a_runtime(heavy: str) -> None:
    program = f"import producer.submit, sys; sys.exit({heavy!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0

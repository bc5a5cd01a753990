"""The worker's command line: one clear line for what is wrong, and the right exit code."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run ``python -m pifleet`` with nothing of ours in the environment."""
    env = {key: value for key, value in os.environ.items() if not key.startswith("PIFLEET_")}
    return subprocess.run(
        [sys.executable, "-m", "pifleet", *arguments],
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["worker", "--redis-url", "redis://127.0.0.1:1/0"], 3, "Connection refused"),
        (["worker", "--redis-url", "rodis://x"], 2, "PIFLEET_REDIS_URL='rodis://x'"),
        (["worker", "--concurrency", "0"], 2, "0 is not in the range"),
        (["classify", "/no/such/folder"], 2, "/no/such/folder"),
        (["classify", "--model", "nonsense", "."], 2, "no model 'nonsense'"),
    ],
    ids=["no Redis", "no URL", "no process", "no folder", "no model"],
)
def test_bad_start_is_one_line_and_an_exit_code(
    arguments: list[str], code: int, words: str
) -> None:
    done = run(*arguments)
    assert done.returncode == code
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize("command", ["worker", "classify"])
def test_help_has_an_example(command: str) -> None:
    done = run(command, "--help")
    assert done.returncode == 0
    assert f"Example:  pifleet {command}" in done.stdout

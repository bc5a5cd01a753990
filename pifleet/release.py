"""Which release this is: its version, and the commit that it was made of."""

from __future__ import annotations

import subprocess
from importlib.metadata import version
from pathlib import Path

PLACE = Path(__file__).resolve().parent.parent
NOTED = Path(__file__).with_name("commit.txt")  # `git archive` writes the commit into it
GIT_TIMEOUT_S = 5.0


def describe() -> str:
    """Say it in words, such as ``0.1.0 (05d4409)``."""
    commit = find_commit()
    return f"{version('pifleet')} ({commit})" if commit else version("pifleet")


def find_commit() -> str:
    """Return the commit of this release or checkout; empty where nobody knows."""
    try:
        noted = NOTED.read_text().strip()
    except OSError:
        return ""
    return _ask_git() if noted.startswith("$") else noted


def _ask_git() -> str:
    command = ("git", "-C", str(PLACE), "describe", "--always", "--dirty", "--exclude=*")
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=GIT_TIMEOUT_S, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()

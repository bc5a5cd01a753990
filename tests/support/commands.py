"""Real ``pifleet`` commands, each in a folder of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

PIFLEET = (sys.executable, "-m", "pifleet")


def fleet_env(redis_url: str, folder: Path) -> dict[str, str]:
    """Build the environment of a command that keeps to a folder and fetches from this machine."""
    return {
        **os.environ,
        "PIFLEET_REDIS_URL": redis_url,
        "PIFLEET_CACHE_DIR": str(folder / "cache"),
        "PIFLEET_STATE_DIR": str(folder / "state"),
        "PIFLEET_FETCH_ALLOW": "127.0.0.0/8",  # the origins of tests are on loopback
    }


def run_pifleet(
    *arguments: str, folder: Path, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command in a folder to its end, whatever that is."""
    return subprocess.run(
        [*PIFLEET, *arguments], cwd=folder, env=env, capture_output=True, text=True, check=False
    )

"""What every benchmark needs: its cores, the fleet's environment, and a record of both."""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

CORES = 2


def pin_to_two_cores() -> None:
    """Keep this process and its children on two cores, so that machines can be compared."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])


def fleet_env(folder: Path, redis_url: str) -> dict[str, str]:
    """Spell the environment of a fleet that keeps all it writes in a folder."""
    return {
        **os.environ,
        "PIFLEET_REDIS_URL": redis_url,
        "PIFLEET_STATE_DIR": str(folder / "state"),
        "PIFLEET_CACHE_DIR": str(folder / "cache"),
    }


def circumstances(module: str, packages: Iterable[str]) -> dict[str, object]:
    """Tell when, by which command, on what machine and with which packages this run measures."""
    return {
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": " ".join([f"python -m {module}", *sys.argv[1:]]),
        "machine": f"{processor_name()}, Python {platform.python_version()}",
        "versions": {package: version(package) for package in packages},
    }


def processor_name() -> str:
    """Name the processor as the system does."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def write_figures(path: Path, figures: Mapping[str, object]) -> None:
    """Keep a run's figures as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")

"""Where a run comes from: command, data, commit, versions, machine."""

from __future__ import annotations

import json
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from training.experiment import Experiment

PACKAGES = ("keras", "tensorflow", "jax", "torch", "numpy", "Pillow", "captcha", "pifleet")


def provenance(experiment: Experiment, command: str) -> dict[str, str]:
    """Collect what is needed to repeat this run."""
    found = {f"version_{name.lower()}": v for name in PACKAGES if (v := _version(name))}
    return {
        "command": command,
        "seed": str(experiment.config.seed),
        **experiment.described_data(),
        "commit": git_commit(),
        "python": platform.python_version(),
        "machine": f"{platform.machine()} {platform.system()}",
        **found,
    }


def continued(before: dict[str, str], now: dict[str, str], *, step: int) -> dict[str, str]:
    """Tell the whole story of a run that was resumed: what changed stands after what it was."""
    told = {}
    for key, value in now.items():
        earlier = before.get(key, value)
        is_same = earlier == value or earlier.endswith(f": {value}")
        told[key] = earlier if is_same else f"{earlier}; from step {step}: {value}"
    return told


def begun_with(run: Path) -> dict[str, str]:
    """Tell the story of the run whose weights another one begins with."""
    before = _read_json(run / "provenance.json")
    minutes = _read_json(run / "curves.json")[-1]["elapsed_s"] / 60
    told = {f"begun_with_{key}": before[key] for key in ("command", "seed", "data", "commit")}
    return {**told, "begun_with_minutes": f"{minutes:.1f}"}


def git_commit() -> str:
    """Name the commit of this code, with ``-dirty`` where it was changed; ``unknown`` outside."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    here = Path(__file__).parent
    try:
        done = subprocess.run(command, cwd=here, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    return done.stdout.strip() or "unknown"


def _read_json(path: Path) -> Any:
    return json.loads(path.read_text("utf-8"))


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None

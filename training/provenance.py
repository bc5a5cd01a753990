"""Where a run comes from: command, commit, versions, machine."""

from __future__ import annotations

import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = ("keras", "tensorflow", "jax", "torch", "numpy", "Pillow", "captcha", "pifleet")


def provenance(command: str) -> dict[str, str]:
    """Collect what is needed to repeat this run."""
    found = {f"version_{name.lower()}": v for name in PACKAGES if (v := _version(name))}
    return {
        "command": command,
        "commit": git_commit(),
        "python": platform.python_version(),
        "machine": f"{platform.machine()} {platform.system()}",
        **found,
    }


def git_commit() -> str:
    """Name the commit of this code, with ``-dirty`` where it was changed; ``unknown`` outside."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    here = Path(__file__).parent
    try:
        done = subprocess.run(command, cwd=here, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    return done.stdout.strip() or "unknown"


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None

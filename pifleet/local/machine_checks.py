"""Look at this machine: Python, extras, the TFLite runtime, models, folders, limits.

Each check returns what it found in a line, with what to do about it.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import resource
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from contract.errors import FleetError, ModelError
from contract.installing import install_command
from contract.settings import Settings
from pifleet import dashboard

OLDEST_PYTHON = (3, 11)
FULL_MB = 50  # a model, and what a process writes while it starts
UNDER_VOLTAGE, SINCE_START = 1, 16  # bits of get_throttled, and how far those of the past lie
FEW_FILES = 1024  # a worker holds a socket a download, a producer one a reader
INSTEAD_OF_WORKER = "worker-tflite-runtime"
EXTRAS = (
    *("producer", "worker", INSTEAD_OF_WORKER, "demo", "training", "page"),
    *("dashboard", "metrics"),
)


class Level(StrEnum):
    """How bad it is."""

    OK = "ok"
    """Nothing to do."""
    WARN = "warn"
    """It works, and will bite one day."""
    FAIL = "fail"
    """Something of pifleet does not work like this."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        subject: what was looked at.
        level: how bad it is.
        text: what was found.
        advice: what to do; empty where there is nothing to do.
    """

    subject: str
    level: Level
    text: str
    advice: str = ""


def ok(subject: str, text: str) -> Finding:
    """Note that something is as it should be."""
    return Finding(subject, Level.OK, text)


def warn(subject: str, text: str, advice: str) -> Finding:
    """Note something that works for now."""
    return Finding(subject, Level.WARN, text, advice)


def fail(subject: str, text: str, advice: str) -> Finding:
    """Note something that does not work."""
    return Finding(subject, Level.FAIL, text, advice)


def check_python() -> Finding:
    """Look at the interpreter."""
    found = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    if sys.version_info < OLDEST_PYTHON:
        return fail("python", found, "install Python 3.11 or newer")
    return ok("python", found)


def check_extras() -> Iterator[Finding]:
    """Look at each extra: what it needs, and which versions are here."""
    try:
        importlib.metadata.version("pifleet")
    except importlib.metadata.PackageNotFoundError:
        yield warn(
            "extras", "this checkout is not installed", "pip install -e '.[producer,worker]'"
        )
        return
    for extra in EXTRAS:
        missing, found = _requirements(extra)
        subject, advice = f"extra {extra}", install_command(extra)
        if extra == INSTEAD_OF_WORKER and missing and not _requirements("worker")[0]:
            continue  # the better one of the two is here
        if not missing:
            yield ok(subject, ", ".join(found))
        elif found:
            yield ok(subject, f"in part; lacks {', '.join(missing)} ({advice})")
        else:
            yield ok(subject, f"not installed ({advice})")


def check_runtime() -> Finding:
    """Look at which TFLite runtime a worker here would use."""
    from recognition.interpreter import runtime_name

    try:
        name = runtime_name()
    except FleetError as error:
        return warn("tflite runtime", "none", f"{error}; only a worker needs one")
    if name == "tensorflow":
        advice = f"{install_command('worker')}: ai-edge-litert needs a tenth of the memory"
        return warn("tflite runtime", name, advice)
    return ok("tflite runtime", name)


def check_models() -> Iterator[Finding]:
    """Read the golden images inside each shipped model."""
    from recognition.model_file import shipped_models

    models = shipped_models()
    if not models:
        yield fail("models", "none is shipped", "reinstall pifleet")
    for name, path in models.items():
        yield _check_model(name, path)


def check_folders(settings: Settings) -> Iterator[Finding]:
    """See whether the folders of settings can be written."""
    for variable, folder in (
        ("PIFLEET_CACHE_DIR", settings.cache_dir),
        ("PIFLEET_STATE_DIR", settings.state_dir),
    ):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                pass
        except OSError as error:
            yield fail(str(folder), f"cannot be written: {error.strerror}", f"set {variable}")
        else:
            yield _check_space(folder)


def _check_space(folder: Path) -> Finding:
    free_mb = shutil.disk_usage(folder).free / 1e6
    if free_mb < FULL_MB:
        advice = "make room: journalctl --vacuum-size=50M, apt clean, or a larger card"
        return fail(str(folder), f"the card is full: {free_mb:.0f} MB are free", advice)
    return ok(str(folder), "can be written")


def check_power(flags: int | None) -> Finding:
    """Look at a Pi's power supply.

    Args:
        flags: as `vcgencmd get_throttled` says them; None on other machines.
    """
    if flags is None:
        return ok("power", "this machine does not tell")
    if flags & (UNDER_VOLTAGE | UNDER_VOLTAGE << SINCE_START):
        when = "is too low now" if flags & UNDER_VOLTAGE else "was too low since it started"
        advice = "use the supply made for this Pi, and a short, thick cable"
        return warn("power", f"the voltage {when} (throttled={flags:#x})", advice)
    return ok("power", "the voltage was never too low")


def check_open_files() -> Finding:
    """Look at how many files and sockets a process may hold."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if 0 <= soft < FEW_FILES:
        return warn("open files", f"{soft} at most", f"ulimit -n {min(hard, 4 * FEW_FILES)}")
    return ok("open files", "unlimited" if soft < 0 else f"up to {soft}")


def check_dashboard() -> Finding:
    """Look at Flower's version: an older one shows no worker of this Celery."""
    try:
        version = importlib.metadata.version("flower")
        dashboard.check_flower()
    except importlib.metadata.PackageNotFoundError:
        return ok("flower", "not installed; only `pifleet dashboard` needs it")
    except FleetError as error:
        return fail("flower", str(error), "only `pifleet dashboard` needs it")
    return ok("flower", version)


def check_cores() -> Finding:
    """Say how many chunks a worker would read at once here."""
    cores = f"{os.cpu_count() or 1}"
    try:
        from workers.health.host import default_processes
    except ImportError:
        return ok("cores", cores)  # no worker here
    return ok("cores", f"{cores}; `pifleet worker` reads {default_processes()} chunks at once")


def _requirements(extra: str) -> tuple[list[str], list[str]]:
    from packaging.requirements import Requirement

    missing: list[str] = []
    found: list[str] = []
    for line in importlib.metadata.requires("pifleet") or []:
        needed = Requirement(line)
        if needed.marker is None or needed.marker.evaluate({"extra": ""}):
            continue  # the base has it
        if not needed.marker.evaluate({"extra": extra}):
            continue
        try:
            version = importlib.metadata.version(needed.name)
        except importlib.metadata.PackageNotFoundError:
            version = ""
        if version and version in needed.specifier:
            found.append(f"{needed.name} {version}")
        else:
            missing.append(f"{needed.name}{needed.specifier}")
    return missing, found


def _check_model(name: str, path: Path) -> Finding:
    from recognition.recogniser import verify_golden

    try:
        count = verify_golden(path.read_bytes())
    except ModelError as error:
        return fail(f"model {name}", str(error), "reinstall pifleet, or the runtime")
    except FleetError as error:
        return warn(f"model {name}", f"not tried: {error}", "only a worker needs a runtime")
    return ok(f"model {name}", f"reads its {count} golden images")

"""The releases of the captcha library, each in a virtual environment of its own.

An environment is made once, beside its final place, and renamed when it is whole: whatever
interrupts that, a folder of the right name is an environment that works.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from contract.errors import OutputError, ServiceError, SettingsError, UserError
from training.progress_bar import progress_bar

PARTIAL = ".partial-"
Version = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Release:
    """A release, and what it was seen to run with.

    Attributes:
        version: of the captcha library.
        pillow: the version of Pillow beside it.
        newest_python: beyond which that Pillow has no wheel; None: not known yet.
    """

    version: str
    pillow: str
    newest_python: Version | None = None


# Pinned, so that a seed means the same images next year.
RELEASES = {
    release.version: release
    for release in (
        # It calls ImageDraw.textsize, which Pillow 10 took away; 9.5.0 is the last before that.
        Release("0.3", pillow="9.5.0", newest_python=(3, 11)),
        # The newest Pillow as of writing; 0.5.0 measures by getbbox, and so do those after it.
        Release("0.5.0", pillow="13.0.0"),
        Release("0.7.0", pillow="13.0.0"),
        Release("0.7.1", pillow="13.0.0"),
    )
}


def find_release(version: str) -> Release:
    """Look a release up.

    Raises:
        SettingsError: it is none of those that are known.
    """
    if version not in RELEASES:
        raise SettingsError("--library", version, "one of " + ", ".join(RELEASES))
    return RELEASES[version]


def release_python(release: Release, folder: Path) -> Path:
    """Give the Python of a release's environment, which is made if it is not there.

    Args:
        release: the captcha library's.
        folder: that keeps the environments.

    Raises:
        UserError: this machine has no Python that is old enough.
        ServiceError: the packages cannot be fetched.
        OutputError: the folder cannot be written.
    """
    host = _host_python(release)
    final = folder / f"captcha-{release.version}-pillow-{release.pillow}-{host.name}"
    if not final.is_dir():
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=folder, prefix=PARTIAL) as scratch:
                _install(release, host, Path(scratch) / "environment")
                publish(Path(scratch) / "environment", final)
        except OSError as error:
            raise OutputError(f"{final} cannot be made: {error}") from error
    return final / "bin" / "python"


def publish(made: Path, final: Path) -> None:
    """Rename what is whole to its place; where another process was quicker, keep its one."""
    try:
        made.rename(final)
    except OSError:
        if not final.is_dir():
            raise


def _host_python(release: Release) -> Path:
    newest = release.newest_python
    if newest is None or sys.version_info[:2] <= newest:
        return Path(sys.executable).resolve()  # python3.11, say, where ours may be named python
    name = f"python{newest[0]}.{newest[1]}"
    found = shutil.which(name)
    if found is None:
        needs = f"captcha {release.version} needs Pillow {release.pillow}, made for {name} at most"
        raise UserError(f"{needs}: install {name}; another Python may stay beside it")
    return Path(found)


def _install(release: Release, host: Path, environment: Path) -> None:
    packages = (f"captcha=={release.version}", f"pillow=={release.pillow}")
    wanted = " ".join(packages)
    pip = ("-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--retries", "2")
    with progress_bar(f"making an environment of {wanted}", 2) as advance:
        _run((host, "-m", "venv", environment), hint=f"does `{host} -m venv FOLDER` work?")
        advance(1)
        command = (environment / "bin" / "python", *pip, "--only-binary", ":all:", *packages)
        _run(command, hint=f"it needs a network; does `pip download {wanted}` work?")
        advance(1)


def _run(command: Sequence[str | Path], *, hint: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip() or "it said nothing").splitlines()[-1]
        raise ServiceError(f"the captcha library cannot be installed ({said}): {hint}")

"""``pifleet wheelhouse``: one folder with all that any machine of the fleet installs.

Pis take their wheels from it, so that fifty of them do not download fifty times, and a site without
Internet works. There is one version of each package in it, which is what pins them.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import click

from contract.errors import OutputError, ServiceError, UserError
from contract.installing import find_origin

EXTRAS = "worker,producer,dashboard,metrics,control"
MANYLINUX = ("2_17", "2_27", "2_28", "2_31", "2_34", "2_35", "2_36")  # up to Bookworm's glibc
OF_OLD_PYTHON = "async-timeout==5.0.1"  # redis-py wants it before 3.11.3; Bookworm has 3.11.2
PIWHEELS = "https://www.piwheels.org/simple"  # PyPI has next to nothing for 32-bit ARM
WHEEL = re.compile(r"pifleet-(?P<version>[^-]+)-py3-none-any\.whl")
NO_MATCH = re.compile(r"No matching distribution found for (\S+)")


@dataclass(frozen=True, slots=True)
class Target:
    """One system to collect wheels for.

    Attributes:
        machine: as `uname -m` says.
        python: its version of Python.
        extras: of pifleet that are wanted there.
        constraints: which file of exact versions holds.
        more: options for pip.
    """

    machine: str
    python: str
    extras: str = EXTRAS
    constraints: str = "constraints.txt"
    more: tuple[str, ...] = ()

    def options(self) -> list[str]:
        """Spell it for pip, which knows no system but its own by name."""
        tags = [f"manylinux_{glibc}_{self.machine}" for glibc in MANYLINUX]
        tags += [f"manylinux2014_{self.machine}", f"linux_{self.machine}"]
        named = [word for tag in tags for word in ("--platform", tag)]
        return [*named, "--python-version", self.python, "--implementation", "cp", *self.more]


TARGETS = {
    "bookworm-arm64": Target("aarch64", "3.11"),
    "trixie-arm64": Target("aarch64", "3.13"),
    "bookworm-amd64": Target("x86_64", "3.11"),
    "trixie-amd64": Target("x86_64", "3.13"),
    "bookworm-armhf": Target(
        "armv7l",
        "3.11",
        extras="worker-tflite-runtime",
        constraints="constraints-tflite-runtime.txt",
        more=("--extra-index-url", PIWHEELS),
    ),
}
USUAL = ("bookworm-arm64", "trixie-arm64", "bookworm-amd64")


def fill(folder: Path, wheel: Path, names: Sequence[str], *, pinned: Path) -> list[Path]:
    """Download what the targets need, and put the wheel of pifleet itself beside it.

    Args:
        folder: to fill; what lies in it stays.
        wheel: of pifleet.
        names: of the targets.
        pinned: the folder with the files of exact versions.

    Returns:
        All wheels that lie there now.

    Raises:
        ServiceError: a wheel cannot be had.
        OutputError: the folder cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder} cannot be made: {error.strerror}") from error
    for name in names:
        _download(folder, wheel, name, pinned)
    return sorted(folder.glob("*.whl"))


def find_releases(folder: Path) -> list[str]:
    """List which versions of pifleet a wheelhouse has, as they were added."""
    wheels = sorted(folder.glob("pifleet-*.whl"), key=lambda path: path.stat().st_mtime)
    return [match["version"] for path in wheels if (match := WHEEL.fullmatch(path.name))]


def find_wheel(origin: Path | None) -> Path:
    """Find the wheel of this release: what `make dist` built, or what was installed here.

    Raises:
        UserError: there is none.
    """
    if origin is not None and origin.suffix == ".whl":
        return origin
    folder = (origin or Path()) / "dist"
    built = sorted(folder.glob(f"pifleet-{version('pifleet')}-*.whl"))
    if not built:
        raise UserError(f"there is no wheel in {folder}: run `make dist`, or name one by --wheel")
    return built[-1]


def _download(folder: Path, wheel: Path, name: str, pinned: Path) -> None:
    target = TARGETS[name]
    more = [OF_OLD_PYTHON] if target.python == "3.11" else []
    command = [
        *(sys.executable, "-m", "pip", "download", "--disable-pip-version-check", "--quiet"),
        *("--only-binary", ":all:", "--dest", str(folder)),
        *("--constraint", str(pinned / target.constraints), *target.options()),
        *(f"{wheel}[{target.extras}]", *more),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        lacking = NO_MATCH.search(done.stderr)
        last = (done.stderr.strip().splitlines() or ["pip says nothing"])[-1]
        found = f"no wheel of {lacking[1]}" if lacking else last
        raise ServiceError(f"{name}: {found}; what was downloaded stays in {folder}")


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--platform",
    "names",
    type=click.Choice(list(TARGETS)),
    multiple=True,
    default=USUAL,
    show_default=True,
    help="May be given several times.",
)
@click.option("--wheel", type=click.Path(path_type=Path, exists=True), help="Of pifleet.")
@click.option(
    "--constraints",
    "pinned",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Folder with the constraints files; default the checkout.",
)
def wheelhouse(
    folder: Path, names: tuple[str, ...], wheel: Path | None, pinned: Path | None
) -> None:
    """Collect all that a machine of the fleet installs, for the systems that it may have.

    \b
    Example: pifleet wheelhouse wheelhouse --platform bookworm-arm64
    """
    origin = find_origin()
    pinned = pinned or (origin if origin is not None and origin.is_dir() else None)
    if pinned is None:
        raise UserError("which versions? name the folder of constraints.txt by --constraints")
    wheels = fill(folder, wheel or find_wheel(origin), names, pinned=pinned)
    size_mb = sum(path.stat().st_size for path in wheels) / 1e6
    click.echo(f"{folder}: {len(wheels)} wheels, {size_mb:.0f} MB, for {', '.join(names)}")

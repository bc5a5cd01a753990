"""Test sets that a release of the captcha library has drawn itself, in an environment of its own.

Environments and sets are kept in the cache, and found again by what was asked for. Each is made
once, beside its final place, and renamed when it is whole: whatever interrupts that, a folder of
the right name is one that works. Release 0.7.1 draws from the system's entropy, which cannot be
seeded without changing the library: its texts follow from the seed, and its images are the same
again only as long as the set is kept; without the cache they are others, as good.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from pathlib import Path

from contract.errors import FleetError, OutputError, ServiceError, SettingsError, UserError
from recognition.card import ModelCard
from recognition.decoding import make_decoder
from training.progress_bar import progress_bar

PARTIAL = ".partial-"
SCRIPT = Path(__file__).parent / "draw_with_library.py"
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
    """Find the Python of a release's environment, which is made if it is not there.

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


@dataclass(frozen=True, slots=True)
class LibrarySet:
    """What the library is to draw; texts are uniform in length and in symbols.

    Attributes:
        release: of the library.
        n: images.
        seed: of the texts, and of the images where the release can be seeded.
        symbols: that texts are made of.
        min_length: of a text, in symbols.
        max_length: of a text.
        width: of an image, in px.
        height: of an image, in px.
    """

    release: str
    n: int
    seed: int
    symbols: str
    min_length: int = 1
    max_length: int = 6
    width: int = 128
    height: int = 64

    @property
    def name(self) -> str:
        """Name the set's folder: legible, and different for everything that differs."""
        digest = hashlib.sha256(repr((astuple(self), find_release(self.release))).encode())
        return f"{self.release}-n{self.n}-seed{self.seed}-{digest.hexdigest()[:8]}"


def set_for(card: ModelCard, *, release: str, n: int, seed: int, allowed: str | None) -> LibrarySet:
    """Describe the images that measure a model: of its size, and of the symbols it may write.

    Raises:
        UserError: the model reads single characters, or lacks an allowed symbol.
        SettingsError: the release is unknown.
    """
    if card.reads_one_symbol:
        raise UserError(f"{card.name} reads single characters, and the captcha library draws texts")
    find_release(release)
    make_decoder(card, allowed)  # refuses what the model cannot write
    size = card.input
    symbols = allowed or card.symbols
    return LibrarySet(release, n, seed, symbols, width=size.width, height=size.height)


def drawn_set(wanted: LibrarySet, cache_dir: Path, *, workers: int) -> Path:
    """Find the folder of a set, which is drawn if it is not there.

    Args:
        wanted: the set.
        cache_dir: where environments and sets are kept.
        workers: processes.

    Raises:
        UserError: this machine has no Python that is old enough.
        ServiceError: the library cannot be fetched.
        OutputError: the cache cannot be written.
    """
    home = cache_dir / "captcha-library"
    final = home / "sets" / wanted.name
    if not final.is_dir():
        python = release_python(find_release(wanted.release), home)
        try:
            final.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=final.parent, prefix=PARTIAL) as scratch:
                _draw(wanted, python, Path(scratch) / "set", workers=workers)
                publish(Path(scratch) / "set", final)
        except OSError as error:
            raise OutputError(f"{final} cannot be drawn: {error}") from error
    return final


def _draw(wanted: LibrarySet, python: Path, out: Path, *, workers: int) -> None:
    options = {
        "-n": wanted.n,
        "--out": out,
        "--seed": wanted.seed,
        "--min-length": wanted.min_length,
        "--max-length": wanted.max_length,
        "--width": wanted.width,
        "--height": wanted.height,
        "--workers": workers,
    }
    command: list[str | Path] = [python, "-I", SCRIPT, "--progress", f"--symbols={wanted.symbols}"]
    command += [str(part) for option in options.items() for part in option]
    with (
        progress_bar(f"drawing with captcha {wanted.release}", wanted.n) as advance,
        tempfile.TemporaryFile("w+") as said,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=said, text=True) as drawing,
    ):
        try:
            for line in drawing.stdout or ():
                advance(int(line))
        except BaseException:
            drawing.terminate()  # and its pool with it: it must not draw into a removed folder
            raise
        if drawing.wait():
            said.seek(0)
            last = (said.read().strip() or "it said nothing").splitlines()[-1]
            raise FleetError(f"captcha {wanted.release} does not draw: {last}")

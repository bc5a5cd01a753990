"""Test sets that a release of the captcha library has drawn itself, kept in the cache.

A set is found again by what was asked for. Release 0.7.1 draws from the system's entropy, which
cannot be seeded without changing the library: its texts follow from the seed, and its images are
the same again only as long as the set is kept; without the cache they are others, as good.
"""

from __future__ import annotations

import hashlib
import subprocess
import tempfile
from dataclasses import astuple, dataclass
from pathlib import Path

from contract.errors import FleetError, OutputError, UserError
from recognition.card import ModelCard
from recognition.decoding import make_decoder
from training.measuring.library_release import PARTIAL, find_release, publish, release_python
from training.progress_bar import progress_bar

SCRIPT = Path(__file__).parent / "draw_with_library.py"


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
    """Give the folder of a set, which is drawn if it is not there.

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

"""Read images that a person tries: here, with what stands behind each reading, or by the fleet."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from contract.errors import ImageError, ModelError, ServiceError, UserError
from contract.exit_codes import DONE, SOME_FAILED
from contract.reasons import Reason
from contract.settings import Settings
from pifleet.local.children import last_line
from pifleet.page.uploads import MOST_BYTES, UploadedFile
from producer.job.store import Ledger
from producer.submission import ledger_path
from recognition.alternatives import Guess, explain
from recognition.card import ModelCard
from recognition.charset import parse_symbols
from recognition.constraint import Demand, make_constraint
from recognition.decoding import Decoder, make_decoder
from recognition.images import load_tensor, open_image
from recognition.model_file import load_model, shipped_models
from recognition.recogniser import Recogniser

MOST_LOADED = 4  # models in memory, of some 5 MB each
FLEET_S = 60.0  # that a person waits for the fleet

NEXT_STEPS = {
    Reason.EMPTY: "the file is empty: choose another",
    Reason.NOT_AN_IMAGE: "this is no image: give a PNG, JPEG, GIF, BMP, WebP, PPM or TIFF",
    Reason.TRUNCATED: "the file ends in the middle: copy it again",
    Reason.DAMAGED: "the file is damaged: open and save it with another program",
    Reason.TOO_MANY_PIXELS: "it has too many pixels: scale it down to 16 megapixels",
    Reason.TOO_COMPLEX: "to decode it would cost too much: save it as a plain PNG",
    Reason.ANIMATED: "it is animated: save one frame of it",
    Reason.BLANK: "nothing is drawn on it: crop it to the character",
    Reason.TOO_LARGE: f"it is larger than {MOST_BYTES // 2**20} MB: scale it down",
    Reason.MODEL: "the model cannot read it: try another model",
}


class ReadImage(msgspec.Struct, frozen=True):
    """What was read in one image.

    Attributes:
        name: of the file, as it was sent.
        text: None where nothing could be read.
        confidence: that the text is right, in [0, 1].
        symbols: of the text, each with its confidence; empty where the fleet read it.
        alternatives: other texts, the likeliest first; likewise.
        took_ms: to decode and to read it.
        seen: what the network saw, a PNG as a ``data:`` URL.
        reason: why there is no text, a word of ``Reason``.
        problem: the same as a sentence, with the next step.
        worker: that read it; None here.
    """

    name: str
    text: str | None = None
    confidence: float | None = None
    symbols: tuple[Guess, ...] = ()
    alternatives: tuple[Guess, ...] = ()
    took_ms: float | None = None
    seen: str | None = None
    reason: str | None = None
    problem: str | None = None
    worker: str | None = None


class ModelChoice(msgspec.Struct, frozen=True):
    """A model that a person can choose.

    Attributes:
        name: by which it is asked for.
        symbols: that it reads.
        is_default: whether it is meant where none is named.
    """

    name: str
    symbols: str
    is_default: bool = False


class Models:
    """The models that the page offers, by name: a browser never names a path."""

    def __init__(self, folder: Path, *, default: str) -> None:
        """Offer the shipped models, those in a folder, and the default one.

        Raises:
            ModelError: the default cannot be used.
        """
        self._folder = folder
        load_model(default)
        self.default = default

    def paths(self) -> dict[str, str]:
        """Map names to what ``load_model`` takes; models come and go while the page is open."""
        shipped = {name: name for name in shipped_models()}
        own = {path.name: str(path) for path in sorted(self._folder.glob("*.tflite"))}
        default = {} if self.default in shipped else {Path(self.default).name: self.default}
        return shipped | own | default

    def choices(self) -> list[ModelChoice]:
        """List the models that can be used."""
        found = []
        for name, path in self.paths().items():
            try:
                card = load_model(path).card
            except ModelError:
                continue  # a file that somebody is writing, or of another kind
            is_default = path == self.default
            found.append(ModelChoice(name, card.symbols, is_default))
        return found

    def path(self, name: str) -> str:
        """Find a model; empty for the default.

        Raises:
            UserError: there is none of this name.
        """
        known = self.paths()
        if not name:
            return self.default
        if name not in known:
            raise UserError(f"no model {name[:80]!r}: choose one of {', '.join(known)}")
        return known[name]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a person wants read, and how.

    Attributes:
        model: what ``load_model`` takes.
        symbols: those allowed, or a preset's name; empty allows all.
        pattern: that each text matches; empty for any.
        lexicon: a list of words, a line each; None for any.
    """

    model: str
    symbols: str = ""
    pattern: str = ""
    lexicon: bytes | None = None

    def options(self, lexicon: Path | None) -> list[str]:
        """Spell it for ``pifleet submit``; the words lie in a file there."""
        told = {"--symbols": self.symbols, "--pattern": self.pattern, "--lexicon": lexicon or ""}
        given = [f"{option}={value}" for option, value in told.items() if value]
        return [f"--model={self.model}", *given]


class HereReader:
    """Reads in this process; for one thread."""

    def __init__(self) -> None:
        self._loaded: OrderedDict[str, Recogniser] = OrderedDict()
        self._decoder: tuple[Wanted, Decoder] | None = None

    def read(self, wanted: Wanted, files: Sequence[UploadedFile]) -> list[ReadImage]:
        """Read files.

        Raises:
            UserError: the model cannot be used, or cannot write what is wanted.
        """
        recogniser = self._recogniser(wanted.model)
        if self._decoder is None or self._decoder[0] != wanted:  # a lexicon takes a while
            self._decoder = (wanted, _make_decoder(recogniser.card, wanted))
        return [_read(file, recogniser, self._decoder[1]) for file in files]

    def _recogniser(self, model: str) -> Recogniser:
        found = load_model(model)
        if found.digest not in self._loaded:
            self._loaded[found.digest] = _warm(Recogniser(found.data))
        self._loaded.move_to_end(found.digest)
        while len(self._loaded) > MOST_LOADED:
            self._loaded.popitem(last=False)
        return self._loaded[found.digest]


def _warm(recogniser: Recogniser) -> Recogniser:
    """Run a network once: its first run sets it up, and must not count as an image's time."""
    blank = BytesIO()
    Image.new("L", (8, 8)).save(blank, "PNG")
    open_image(blank.getvalue())  # the decoder's first run, likewise
    spec = recogniser.card.input
    recogniser.logits(np.zeros((spec.height, spec.width, 1), np.uint8))
    return recogniser


def _make_decoder(card: ModelCard, wanted: Wanted) -> Decoder:
    with TemporaryDirectory(prefix="pifleet-try-") as scratch:
        lexicon = _kept_lexicon(Path(scratch), wanted)
        demand = Demand(parse_symbols(wanted.symbols or None), wanted.pattern or None, lexicon)
        automaton = make_constraint(card, demand).automaton
        return make_decoder(card, demand.symbols, automaton)


def _kept_lexicon(folder: Path, wanted: Wanted) -> Path | None:
    if wanted.lexicon is None:
        return None
    path = folder / "lexicon.txt"
    path.write_bytes(wanted.lexicon)
    return path


def read_by_fleet(
    settings: Settings, wanted: Wanted, files: Sequence[UploadedFile]
) -> list[ReadImage]:
    """Let the fleet read files: a job of its own, that is on no list.

    Raises:
        UserError: the job cannot be run as asked.
        ServiceError: the fleet did not answer in time.
    """
    with TemporaryDirectory(prefix="pifleet-try-") as scratch:
        folder = Path(scratch) / "images"
        folder.mkdir()
        for number, file in enumerate(files):
            (folder / f"{number:04}.png").write_bytes(file.data or b"")
        output = Path(scratch) / "try.csv"
        options = wanted.options(_kept_lexicon(Path(scratch), wanted))
        _submit(settings, [str(folder), "-o", str(output), *options], scratch=Path(scratch))
        with Ledger(ledger_path(output), read_only=True) as ledger:
            rows = list(ledger.rows(("text", "confidence", "reason", "worker")))
    return [_from_row(file, row) for file, row in zip(files, rows, strict=True)]


def _submit(settings: Settings, words: Sequence[str], *, scratch: Path) -> None:
    log = scratch / "log"
    env = os.environ | {
        "PIFLEET_REDIS_URL": settings.redis_url,
        "PIFLEET_STATE_DIR": str(scratch / "state"),
    }
    with log.open("wb") as file:
        try:
            done = subprocess.run(
                [sys.executable, "-m", "pifleet", "submit", *words],
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                timeout=FLEET_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            message = f"the fleet did not answer within {FLEET_S:g} s: is a worker there?"
            raise ServiceError(message) from None
    if done.returncode not in (DONE, SOME_FAILED):
        raise UserError(last_line(log).removeprefix("pifleet: "))


def _from_row(file: UploadedFile, row: Sequence[str]) -> ReadImage:
    text, confidence, reason, worker = row
    if file.data is None:
        return _failed(file.name, Reason.TOO_LARGE)
    if reason:
        return _failed(file.name, Reason(reason))
    return ReadImage(file.name, text, float(confidence), worker=worker)


def _read(file: UploadedFile, recogniser: Recogniser, decoder: Decoder) -> ReadImage:
    started = time.perf_counter()
    try:
        if file.data is None:
            raise ImageError(Reason.TOO_LARGE)
        tensor = load_tensor(file.data, recogniser.card.input)
        logits = recogniser.logits(tensor)
        (reading,) = decoder.read(logits[None])
    except ImageError as error:
        return _failed(file.name, error.reason)
    took_ms = 1000 * (time.perf_counter() - started)
    found = explain(logits, decoder, reading)
    return ReadImage(
        *(file.name, reading.text, round(reading.confidence, 4)),
        symbols=found.symbols,
        alternatives=found.alternatives,
        took_ms=round(took_ms, 2),
        seen=png_url(tensor),
    )


def _failed(name: str, reason: Reason) -> ReadImage:
    problem = NEXT_STEPS.get(reason, f"it could not be read: {reason}")
    return ReadImage(name, reason=reason, problem=problem)


def png_url(tensor: NDArray[np.uint8]) -> str:
    """Write a network's input, (h, w, 1) uint8, as the ``data:`` URL of a PNG."""
    file = BytesIO()
    Image.fromarray(tensor[:, :, 0]).save(file, "PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()

"""Who reads words: our model as a worker runs it, and Tesseract as its command does."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache, partial
from io import BytesIO

from PIL import Image

from benchmarks.words.sets import Answer, Labelled, drawn_images
from contract.processes import spread
from recognition.automaton import Automaton
from recognition.decoding import Reading, make_decoder
from recognition.images import to_tensor
from recognition.lexicon import compile_lexicon
from recognition.model_file import load_model
from recognition.pattern import compile_pattern
from recognition.recogniser import Recogniser
from training.words.samples import WordSet

CHUNK = 100
FORMS = (  # of the codes of training.words.texts; the last is any of them
    r"[A-Z]{4}0[0-9]{6}",
    r"[A-Z]{5}[0-9]{4}[A-Z]",
    r"[A-Z]{2}[0-9]{2}[A-Z]{1,2}[0-9]{4}",
    r"[A-Z]{1,3}[- ]?[0-9]{1,4}",
    r"[0-9]{9,16}",
    r"[0-9A-F]{6,12}",
    r"\+[0-9]{2} [0-9]{5} [0-9]{5}",
    r"[0-9]{3}-[0-9]{3,4}-[0-9]{4}",
    r"[A-Z0-9]{4}-[A-Z0-9]{4}-[A-Z0-9]{4}",
    r"[A-Z0-9]{5,14}",
    r"[ -~]{1,32}",
)
Read = Callable[[Image.Image], Reading]


@lru_cache(maxsize=1)
def our_reader(model: str) -> Read:
    """Load a model, for the process's life."""
    recogniser = Recogniser(load_model(model).data)
    spec = recogniser.card.input
    return lambda image: recogniser.read([to_tensor(image, spec)])[0]


@lru_cache(maxsize=4096)
def form_reader(model: str, pattern: str) -> Read:
    """Read with the pattern of a field."""
    recogniser = Recogniser(load_model(model).data)
    automaton = compile_pattern(pattern, recogniser.card.charset)
    return _accepting(recogniser, automaton)


def lexicon_reader(model: str, words: Iterable[str]) -> Read:
    """Read with a lexicon."""
    recogniser = Recogniser(load_model(model).data)
    return _accepting(recogniser, compile_lexicon(sorted(set(words)), recogniser.card.charset))


def form_of(text: str) -> str:
    """Find the pattern that whoever knows a field of a form would give for it."""
    return next(pattern for pattern in FORMS if re.fullmatch(pattern, text))


def _accepting(recogniser: Recogniser, automaton: Automaton) -> Read:
    spec, decoder = recogniser.card.input, make_decoder(recogniser.card, None, automaton)
    return lambda image: recogniser.read([to_tensor(image, spec)], decoder)[0]


def has_tesseract() -> bool:
    """Tell whether Debian's tesseract-ocr is installed."""
    return shutil.which("tesseract") is not None


def tesseract_version() -> str:
    """Name the release that is installed."""
    told = subprocess.run(["tesseract", "--version"], capture_output=True, text=True, check=True)
    return told.stdout.splitlines()[0]


def read_by_tesseract(image: Image.Image) -> Reading:
    """Let Tesseract read an image as one word, on one thread."""
    data = BytesIO()
    image.save(data, format="PNG")
    command = ["tesseract", "stdin", "stdout", "--psm", "8"]
    env = {**os.environ, "OMP_THREAD_LIMIT": "1"}
    done = subprocess.run(command, input=data.getvalue(), capture_output=True, env=env, check=False)
    return Reading(done.stdout.decode(errors="replace").strip(), 1.0)


def answers_of(read: Read, images: Iterable[Labelled]) -> list[Answer]:
    """Let one reader read images."""
    found = []
    for image in images:
        reading = read(image.image)
        found.append(Answer(image.text, reading.text, reading.confidence, image.kind, image.font))
    return found


def read_drawn(model: str, word_set: WordSet, n: int, *, workers: int) -> list[Answer]:
    """Draw a set and read it, in several processes."""
    task = partial(_read_chunk, model, word_set)
    return [answer for part in spread(task, n, workers, chunk=CHUNK) for answer in part]


def _read_chunk(model: str, word_set: WordSet, places: range) -> list[Answer]:
    return answers_of(our_reader(model), drawn_images(word_set, places))


def read_by_form(model: str, word_set: WordSet, n: int, *, workers: int) -> list[Answer]:
    """Do so, each with the pattern of its form."""
    task = partial(_read_chunk_by_form, model, word_set)
    return [answer for part in spread(task, n, workers, chunk=CHUNK) for answer in part]


def _read_chunk_by_form(model: str, word_set: WordSet, places: range) -> list[Answer]:
    return [
        answer
        for image in drawn_images(word_set, places)
        for answer in answers_of(form_reader(model, form_of(image.text)), [image])
    ]


@dataclass(frozen=True, slots=True)
class Compared:
    """Our answers and Tesseract's on the same images, and the milliseconds that each took."""

    ours: list[Answer]
    tesseract: list[Answer]
    our_ms: float
    tesseract_ms: float


def compare(model: str, images: list[Labelled]) -> Compared:
    """Let both read the same images, one after the other, and time them by the clock."""
    read = our_reader(model)
    started = time.monotonic()
    ours = answers_of(read, images)
    between = time.monotonic()
    theirs = answers_of(read_by_tesseract, images)
    ended = time.monotonic()
    ms = 1000 / len(images)
    return Compared(ours, theirs, ms * (between - started), ms * (ended - between))

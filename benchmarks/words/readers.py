"""Who reads words: our model as a worker runs it, and Tesseract as its command does."""

from __future__ import annotations

import os
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
from recognition.decoding import Reading
from recognition.images import to_tensor
from recognition.model_file import load_model
from recognition.recogniser import Recogniser
from training.words.samples import WordSet

CHUNK = 100
Read = Callable[[Image.Image], Reading]


@lru_cache(maxsize=1)
def our_reader(model: str) -> Read:
    """Load a model, for the process's life."""
    recogniser = Recogniser(load_model(model).data)
    spec = recogniser.card.input
    return lambda image: recogniser.read([to_tensor(image, spec)])[0]


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

"""Measure a model on labelled images of any form, with the very code that workers read with."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from contract.errors import ImageError, UserError
from recognition.card import InputSpec
from recognition.decoding import Reading, make_decoder
from recognition.images import load_tensor, to_tensor
from recognition.recogniser import Recogniser
from training.emnist.characters import Characters
from training.emnist.published_files import load_characters
from training.image_sets import LABELS_FILE, PackedSet, is_packed, open_packed, read_labels
from training.measuring.calibration import Calibration, calibrate
from training.measuring.scores import FoldedScore, Scores, score, score_lookalikes
from training.progress_bar import progress_bar

BLOCK = 100  # images read between two moves of the progress bar


@dataclass(frozen=True, slots=True)
class Mistake:
    """An image, (h, w, 1) uint8, that was read wrong."""

    tensor: NDArray[np.uint8]
    truth: str
    reading: Reading


@dataclass(frozen=True, slots=True)
class Evaluation:
    """All that a data set says about a model.

    Attributes:
        scores: how well it reads.
        calibration: whether its confidence is what it says.
        lookalikes: the same with pairs of lookalikes folded together.
        mistakes: every one, the most confident first.
    """

    scores: Scores
    calibration: Calibration
    lookalikes: tuple[FoldedScore, ...]
    mistakes: tuple[Mistake, ...]


def measure(model: bytes, data: Path, *, allowed: str | None = None) -> Evaluation:
    """Read all images of a data set.

    Args:
        model: a ``.tflite`` file with its card.
        data: anything that ``open_labelled`` takes.
        allowed: the symbols that may be written; None allows all.

    Raises:
        UserError: the data cannot be read, or the model lacks an allowed symbol.
        ModelError: the model cannot be used.
    """
    recogniser = Recogniser(model)
    decoder = make_decoder(recogniser.card, allowed)
    labelled = open_labelled(data, recogniser.card.input)
    truths: list[str] = []
    readings: list[Reading] = []
    mistakes: list[Mistake] = []
    with progress_bar(f"reading {data.name}", labelled.n) as advance:
        for image in labelled.images:
            (reading,) = recogniser.read([image.tensor], decoder)
            truths.append(image.text)
            readings.append(reading)
            if reading.text != image.text:
                mistakes.append(Mistake(image.tensor, image.text, reading))
            if len(truths) % BLOCK == 0:
                advance(BLOCK)
    texts = [reading.text for reading in readings]
    right = [truth == text for truth, text in zip(truths, texts, strict=True)]
    return Evaluation(
        scores=score(truths, texts),
        calibration=calibrate([reading.confidence for reading in readings], right),
        lookalikes=score_lookalikes(truths, texts),
        mistakes=tuple(sorted(mistakes, key=lambda mistake: -mistake.reading.confidence)),
    )


@dataclass(frozen=True, slots=True)
class Labelled:
    """One image, (h, w, 1) uint8, and its text."""

    tensor: NDArray[np.uint8]
    text: str


@dataclass(frozen=True, slots=True)
class LabelledSet:
    """A data set: how many images it holds, and they, one by one."""

    n: int
    images: Iterator[Labelled]


def open_labelled(data: Path, spec: InputSpec) -> LabelledSet:
    """Open a data set of any form.

    Args:
        data: a packed set, a folder with ``labels.tsv``, or EMNIST in a form it is published in.
        spec: the model's input.

    Raises:
        UserError: it is none of these, it is empty, or, later, a file that it names cannot be read.
    """
    if is_packed(data):
        packed = open_packed(data)
        opened = LabelledSet(len(packed), _from_packed(packed, spec))
    elif _may_be_emnist(data):
        characters = load_characters(data)
        opened = LabelledSet(len(characters), _from_characters(characters, spec))
    else:
        texts = read_labels(data)
        opened = LabelledSet(len(texts), _from_files(data, texts, spec))
    if opened.n == 0:
        raise UserError(f"{data} holds no labelled images")
    return opened


def _may_be_emnist(data: Path) -> bool:
    if not data.is_dir():
        return True  # its loader names what it takes
    has_folders = any(path.is_dir() for path in data.iterdir())
    return has_folders and not (data / LABELS_FILE).is_file()


def _from_packed(packed: PackedSet, spec: InputSpec) -> Iterator[Labelled]:
    for index in range(len(packed)):
        image = Image.fromarray(packed.images[index])
        yield Labelled(to_tensor(image, spec), packed.text(index))


def _from_characters(characters: Characters, spec: InputSpec) -> Iterator[Labelled]:
    drawn = replace(spec, fit="stretch")  # they are what `character` makes of a photograph
    for index in range(len(characters)):
        image = Image.fromarray(characters.images[index])
        yield Labelled(to_tensor(image, drawn), characters.text(index))


def _from_files(data: Path, texts: dict[str, str], spec: InputSpec) -> Iterator[Labelled]:
    for name, text in texts.items():
        try:
            tensor = load_tensor((data / name).read_bytes(), spec)
        except (OSError, ImageError) as error:
            raise UserError(f"{data / name} cannot be read: {error}") from error
        yield Labelled(tensor, text)

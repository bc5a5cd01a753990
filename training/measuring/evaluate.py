"""Measure a model file on labelled images, with the very code that workers read with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from recognition.decoding import Reading, make_decoder
from recognition.recogniser import Recogniser
from training.measuring.calibration import Calibration, calibrate
from training.measuring.labelled_images import open_labelled
from training.measuring.lookalikes import FoldedScore, score_lookalikes
from training.measuring.scores import Scores, score
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


def evaluate(model: bytes, data: Path, *, allowed: str | None = None) -> Scores:
    """Read all images of a data set, and score the texts; arguments as ``measure``."""
    return measure(model, data, allowed=allowed).scores


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

"""Measure a model file on labelled images, with the very code that workers read with."""

from __future__ import annotations

from pathlib import Path

from contract.runtime import Recogniser
from training.labelled_images import count_labelled, labelled_images
from training.progress_bar import progress_bar
from training.scores import Scores, score

BLOCK = 100  # images read between two moves of the progress bar


def evaluate(model: bytes, data: Path, *, allowed: str | None = None) -> Scores:
    """Read all images of a data set.

    Args:
        model: a ``.tflite`` file with its card.
        data: a packed set, or a folder with ``labels.tsv``.
        allowed: the symbols that may be written; None allows all.

    Raises:
        UserError: the data cannot be read.
        ModelError: the model cannot be used.
    """
    recogniser = Recogniser(model)
    truths: list[str] = []
    readings: list[str] = []
    with progress_bar(f"reading {data.name}", count_labelled(data)) as advance:
        for labelled in labelled_images(data, recogniser.card.input):
            truths.append(labelled.text)
            readings.append(recogniser.read([labelled.tensor], allowed)[0].text)
            if len(truths) % BLOCK == 0:
                advance(BLOCK)
    return score(truths, readings)

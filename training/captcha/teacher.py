"""A model that a smaller one learns from: its scores go beside the labels (distillation).

Source: Hinton, Vinyals and Dean 2015, "Distilling the knowledge in a neural network"; a score a
frame, as for CTC networks in Kurata and Audhkhasi 2018. Teacher and pupil have the same frames.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from recognition.decoding import FloatArray
from recognition.recogniser import Recogniser


class Teacher:
    """A converted model, asked for its logits image by image."""

    def __init__(self, model: bytes) -> None:
        self._recogniser = Recogniser(model)

    def logits(self, images: NDArray[np.uint8]) -> FloatArray:
        """Score grey images (n, h, w): logits (n, t, k) float32."""
        return np.stack([self._recogniser.logits(image[:, :, None]) for image in images])

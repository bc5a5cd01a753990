"""Find the temperature at which a model's confidence is how often its texts are right."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from recognition.decoding import Decoder, FloatArray

LOWEST, HIGHEST = 0.25, 4.0  # a network that needs more is not worth calibrating
FEWEST = 20  # errors: from fewer, a temperature is chance
STEPS = 16  # each leaves 0.62 of the interval: to a thousandth
GOLDEN_SECTION = (math.sqrt(5.0) - 1.0) / 2.0
SURE = 1e-6  # confidences are kept this far from 0 and 1: one sure error must not weigh all


def fit_temperature(logits: FloatArray, truths: Sequence[str], decoder: Decoder) -> float:
    """Fit the one number that divides a model's logits.

    The loss is that of what the confidence claims: whether the whole text is right. Fit on
    images that were neither trained on nor are reported on.

    Args:
        logits: (n, t, k) float32, of the model as it will be shipped.
        truths: n texts.
        decoder: the model's.

    Returns:
        The temperature, from 0.25 to 4; 1, which leaves the confidences as they are, where less
        than 20 images are read wrong, or right.

    Source: Guo et al. 2017, "On Calibration of Modern Neural Networks", section 4.2 (temperature
    scaling), with the log loss of the whole text's correctness in place of a class's; the search
    is Kiefer's (1953), by the golden section, over the logarithm.
    """
    texts = [reading.text for reading in decoder.read(logits)]
    right = np.array([text == truth for text, truth in zip(texts, truths, strict=True)])
    if min(right.sum(), (~right).sum()) < FEWEST:
        return 1.0

    def loss(log_temperature: float) -> float:
        readings = replace(decoder, temperature=math.exp(log_temperature)).read(logits)
        return log_loss(np.array([reading.confidence for reading in readings]), right)

    low, high = math.log(LOWEST), math.log(HIGHEST)
    for _ in range(STEPS):
        part = GOLDEN_SECTION * (high - low)
        if loss(high - part) < loss(low + part):
            high = low + part
        else:
            low = high - part
    return math.exp((low + high) / 2.0)


def log_loss(confidence: NDArray[np.float64], right: NDArray[np.bool_]) -> float:
    """Give the mean negative log-likelihood, in nats, of what turned out right and what wrong.

    Args:
        confidence: (n,) float in [0, 1].
        right: (n,) bool.
    """
    kept = np.clip(confidence, SURE, 1.0 - SURE)
    return float(-np.mean(np.log(np.where(right, kept, 1.0 - kept))))

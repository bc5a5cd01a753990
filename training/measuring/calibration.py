"""Whether a confidence is how often a text is right, and the temperature that makes it so."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from recognition.decoding import Decoder, FloatArray

BINS = 15  # as in the paper
BY_EYE = (0.0, 0.005, 0.01, 0.02, 0.05, 0.1)
LOWEST, HIGHEST = 0.25, 4.0  # a network that needs more is not worth calibrating
FEWEST = 20  # errors: from fewer, a temperature is chance
STEPS = 16  # each leaves 0.62 of the interval: to a thousandth
GOLDEN_SECTION = (math.sqrt(5.0) - 1.0) / 2.0
SURE = 1e-6  # confidences are kept this far from 0 and 1: one sure error must not weigh all


@dataclass(frozen=True, slots=True)
class ConfidenceBin:
    """Readings of about one confidence.

    Attributes:
        n: how many.
        confidence: their mean, in [0, 1].
        exact_match: the share of them that is right.
    """

    n: int
    confidence: float
    exact_match: float


@dataclass(frozen=True, slots=True)
class ByEye:
    """What becomes of a job when a person reads its least sure images.

    Attributes:
        share: of the images that are read by eye, in [0, 1].
        exact_match: of all images, if a person makes no error.
        errors_among: the share of what the person sees that the model had wrong.
    """

    share: float
    exact_match: float
    errors_among: float


@dataclass(frozen=True, slots=True)
class Calibration:
    """What ``calibrate`` finds.

    Attributes:
        ece: expected calibration error: the mean distance between confidence and exact match
            over the bins, weighed by their readings, in [0, 1].
        bins: of equally many readings each, least sure first.
        by_eye: for several shares read by eye.
    """

    ece: float
    bins: tuple[ConfidenceBin, ...]
    by_eye: tuple[ByEye, ...]


def calibrate(confidences: Sequence[float], right: Sequence[bool]) -> Calibration:
    """Hold confidences against what was right; there must be at least one.

    Bins hold equally many readings: nearly all confidences lie close to 1, where bins of equal
    width would put them all into one, and leave the others to chance.

    Source: Guo et al. 2017, "On Calibration of Modern Neural Networks", section 2 (15 bins); bins
    of equal mass: Nguyen and O'Connor 2015, "Posterior calibration", section 3. The curve of
    what is left when the least sure are set aside: El-Yaniv and Wiener 2010 (risk and coverage).
    """
    confidence, is_right = (
        np.array(confidences, dtype=np.float64),
        np.array(right, dtype=np.float64),
    )
    order = np.argsort(confidence, kind="stable")
    parts = [part for part in np.array_split(order, BINS) if len(part)]
    bins = tuple(
        ConfidenceBin(len(part), float(confidence[part].mean()), float(is_right[part].mean()))
        for part in parts
    )
    ece = sum(b.n * abs(b.confidence - b.exact_match) for b in bins) / len(order)
    by_eye = tuple(_read_by_eye(is_right[order], share) for share in BY_EYE)
    return Calibration(float(ece), bins, by_eye)


def _read_by_eye(right: NDArray[np.float64], share: float) -> ByEye:
    """Correct the first share of readings, that are sorted from the least sure on."""
    seen = round(share * len(right))
    errors = float(seen - right[:seen].sum())
    return ByEye(share, float((right.sum() + errors) / len(right)), errors / max(1, seen))


def fit_temperature(logits: Sequence[FloatArray], truths: Sequence[str], decoder: Decoder) -> float:
    """Fit the one number that divides a model's logits.

    The loss is that of what the confidence claims: whether the whole text is right. Fit on
    images that were neither trained on nor are reported on.

    Args:
        logits: of each image (t, k) float32, of the model as it will be shipped.
        truths: n texts.
        decoder: the model's.

    Returns:
        The temperature, from 0.25 to 4; 1, which leaves the confidences as they are, where less
        than 20 images are read wrong, or right.

    Source: Guo et al. 2017, "On Calibration of Modern Neural Networks", section 4.2 (temperature
    scaling), with the log loss of the whole text's correctness in place of a class's; the search
    is Kiefer's (1953), by the golden section, over the logarithm.
    """
    texts = [decoder.read(one[None])[0].text for one in logits]
    right = np.array([text == truth for text, truth in zip(texts, truths, strict=True)])
    if min(right.sum(), (~right).sum()) < FEWEST:
        return 1.0

    def loss(log_temperature: float) -> float:
        warmer = replace(decoder, temperature=math.exp(log_temperature))
        confidence = [warmer.read(one[None])[0].confidence for one in logits]
        return log_loss(np.array(confidence), right)

    low, high = math.log(LOWEST), math.log(HIGHEST)
    for _ in range(STEPS):
        part = GOLDEN_SECTION * (high - low)
        if loss(high - part) < loss(low + part):
            high = low + part
        else:
            low = high - part
    return math.exp((low + high) / 2.0)


def log_loss(confidence: NDArray[np.float64], right: NDArray[np.bool_]) -> float:
    """Compute the mean negative log-likelihood, in nats, of what turned out right and what wrong.

    Args:
        confidence: (n,) float in [0, 1].
        right: (n,) bool.
    """
    kept = np.clip(confidence, SURE, 1.0 - SURE)
    return float(-np.mean(np.log(np.where(right, kept, 1.0 - kept))))

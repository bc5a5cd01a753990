"""Whether a confidence is what it says, and what reading the least sure by eye is worth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BINS = 15  # as in the paper
BY_EYE = (0.0, 0.005, 0.01, 0.02, 0.05, 0.1)


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

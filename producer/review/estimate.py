"""How many errors a submission still holds, by what the model says and by what a person found.

The model's confidence is calibrated on images that its maker had; a job's own may be harder. So
the confidences give a first guess, and each image that is looked at tells how far to trust them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# Confidences travel with four digits: 1.0000 is anything from 0.99995, and no image is certain.
LEAST_DOUBT = 2.5e-5
# The card's calibration counts as if this many errors had been expected, and found.
TRUST = 5.0
LOW, HIGH = 0.025, 0.975  # 95 %
Z = 1.959964  # the normal quantile of HIGH
FEWEST_SPOTS = 20  # below, an interval says nothing


@dataclass(frozen=True, slots=True)
class Range:
    """A figure, and the interval that holds it with 95 %."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class SpotCheck:
    """What images that were chosen at random say, whatever the model believes of itself.

    Attributes:
        n: of those among which no image is sure to have been looked at.
        wrong: of these.
        share: wrong ones among all such images, in [0, 1].
        errors: that share of the images that nobody looked at.
        agrees: whether what the confidences promise lies within the interval.
    """

    n: int
    wrong: int
    share: Range
    errors: Range
    agrees: bool


@dataclass(frozen=True, slots=True)
class Estimate:
    """How good a submission is by now.

    Attributes:
        images: all of them.
        failed: without a text; each counts as an error.
        looked_at: by a person, and so right by now.
        wrong: of these, as the model had read them.
        promised_wrong: how many of these the confidences promised to be wrong.
        errors_left: among those that were read and that nobody looked at.
        exact_match: of the submission with the corrections, over all images, in [0, 1].
        exact_match_before: likewise, without them.
        spot_check: None where too few were chosen at random.
    """

    images: int
    failed: int
    looked_at: int
    wrong: int
    promised_wrong: float
    errors_left: Range
    exact_match: Range
    exact_match_before: float
    spot_check: SpotCheck | None


@dataclass(frozen=True, slots=True, eq=False)
class Looks:
    """A job as the estimate needs it; the arrays are (n,), one entry for each image that was read.

    Attributes:
        images: of the job, failed ones included.
        failed: without a text.
        confidence: float64 in [0, 1].
        is_looked_at: bool.
        was_wrong: bool; of those looked at, whether the model had read something else.
        is_random: bool; of those looked at, whether chance had chosen them.
    """

    images: int
    failed: int
    confidence: NDArray[np.float64]
    is_looked_at: NDArray[np.bool_]
    was_wrong: NDArray[np.bool_]
    is_random: NDArray[np.bool_]


def estimate(looks: Looks) -> Estimate:
    """Estimate what is left.

    The errors of an image are taken for Poisson with the rate ``m * (1 - confidence)``, and the
    multiplier ``m``, how much harder the job is than what the model was calibrated on, for a Gamma
    with mean 1 before anybody looked. What is found among those looked at updates it; the number
    of errors left is then negative binomial.

    Source: Gelman et al., Bayesian Data Analysis, 3rd edition, section 2.6 (Gamma-Poisson, and the
    negative binomial as its predictive distribution).
    """
    doubt = np.maximum(1.0 - looks.confidence, LEAST_DOUBT)
    left = ~looks.is_looked_at
    promised, wrong = float(doubt[looks.is_looked_at].sum()), int(looks.was_wrong.sum())
    shape = TRUST + wrong
    mean = shape / (TRUST + promised) * float(doubt[left].sum())
    errors = _predicted(mean, shape, most=int(left.sum()))
    read = len(doubt)
    return Estimate(
        images=looks.images,
        failed=looks.failed,
        looked_at=read - int(left.sum()),
        wrong=wrong,
        promised_wrong=promised,
        errors_left=errors,
        exact_match=Range(*(_share(read - e, looks.images) for e in _reversed(errors))),
        exact_match_before=_share(read - errors.value - wrong, looks.images),
        spot_check=_spot_check(looks, doubt, errors.value),
    )


def wilson(wrong: int, n: int) -> Range:
    """Compute a share with the interval that holds it with 95 %, of use where none went wrong, too.

    Source: Wilson 1927, "Probable inference, the law of succession, and statistical inference".
    """
    share = wrong / n
    middle, scale = (share + Z**2 / (2 * n)) / (1 + Z**2 / n), Z / (1 + Z**2 / n)
    half = scale * math.sqrt(share * (1 - share) / n + Z**2 / (4 * n * n))
    return Range(share, max(0.0, middle - half), min(1.0, middle + half))


def _spot_check(looks: Looks, doubt: NDArray[np.float64], promised: float) -> SpotCheck | None:
    """Take the random ones among the surest part, of which images are left.

    Below the least confidence that nobody looked at all is known; above it what chance chose
    stands for the rest.
    """
    left = ~looks.is_looked_at
    if not left.any():
        return None
    chosen = looks.is_random & (looks.confidence >= looks.confidence[left].min())
    n, wrong, rest = int(chosen.sum()), int((chosen & looks.was_wrong).sum()), int(left.sum())
    if n < FEWEST_SPOTS:
        return None
    share = wilson(wrong, n)
    errors = Range(*(rest * part for part in (share.value, share.low, share.high)))
    agrees = errors.low <= promised <= errors.high
    return SpotCheck(n, wrong, share, errors, agrees)


def _predicted(mean: float, shape: float, *, most: int) -> Range:
    """Find the quantiles of a negative binomial, in logarithms: small ones vanish otherwise."""
    if most == 0:
        return Range(0.0, 0.0, 0.0)
    spread = math.sqrt(mean + mean * mean / shape)
    k = np.arange(1, math.ceil(mean + 12 * spread) + 10)
    ratio = mean / (mean + shape)
    start = shape * math.log(shape / (mean + shape))
    steps = np.log((k - 1 + shape) / k * ratio)
    cumulated = np.cumsum(np.exp(start + np.concatenate([[0.0], np.cumsum(steps)])))
    low, high = (float(np.searchsorted(cumulated, q * cumulated[-1])) for q in (LOW, HIGH))
    return Range(*(min(value, float(most)) for value in (mean, low, high)))


def _reversed(errors: Range) -> tuple[float, float, float]:
    return errors.value, errors.high, errors.low


def _share(right: float, images: int) -> float:
    return max(0.0, right) / images if images else 0.0

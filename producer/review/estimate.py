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
# What is believed before anybody looked: the odds of an error may be four times as high or low as
# the model promises, with 95 %, and the confidences spread a third more or less.
SHIFT_SD, SLOPE_SD = 0.7, 0.15
SHIFTS = np.linspace(-4.0, 4.0, 65)
SLOPES = np.exp(np.linspace(-0.45, 0.45, 13))
BIN = 0.05  # of log odds
NEGLIGIBLE = 1e-5  # weight of a pair, against the most probable one
BISECTIONS = 40
LOW, HIGH = 0.025, 0.975  # 95 %
Z = 1.959964  # the normal quantile of HIGH
FEWEST_SPOTS = 20  # below, an interval says nothing


Floats = NDArray[np.float64]


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

    The log odds of an image being wrong are taken for ``shift + slope * logit(1 - confidence)``:
    how much harder the job is than what the model was calibrated on, and how much its confidences
    spread. Both are uncertain, and what is found among the images that were looked at tells more
    of them; the errors left follow from all pairs, each as probable as it is by then.

    Source: Cox 1958, "Two further applications of a model for binary regression" (intercept and
    slope of calibration), with a posterior over a grid.
    """
    doubt = np.clip(1.0 - looks.confidence, LEAST_DOUBT, 1.0 - LEAST_DOUBT)
    left, wrong = ~looks.is_looked_at, int(looks.was_wrong.sum())
    errors = _predicted(_counted(np.log(doubt / (1.0 - doubt)), looks))
    read = len(doubt)
    return Estimate(
        images=looks.images,
        failed=looks.failed,
        looked_at=read - int(left.sum()),
        wrong=wrong,
        promised_wrong=float(doubt[looks.is_looked_at].sum()),
        errors_left=errors,
        exact_match=Range(*(_share(read - e, looks.images) for e in _reversed(errors))),
        exact_match_before=_share(read - errors.value - wrong, looks.images),
        spot_check=_spot_check(looks, errors),
    )


def wilson(wrong: int, n: int) -> Range:
    """Compute a share with the interval that holds it with 95 %, of use where none went wrong, too.

    Source: Wilson 1927, "Probable inference, the law of succession, and statistical inference".
    """
    share = wrong / n
    middle, scale = (share + Z**2 / (2 * n)) / (1 + Z**2 / n), Z / (1 + Z**2 / n)
    half = scale * math.sqrt(share * (1 - share) / n + Z**2 / (4 * n * n))
    return Range(share, max(0.0, middle - half), min(1.0, middle + half))


def _spot_check(looks: Looks, promised: Range) -> SpotCheck | None:
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
    agrees = errors.low <= promised.high and promised.low <= errors.high
    return SpotCheck(n, wrong, share, errors, agrees)


@dataclass(frozen=True, slots=True, eq=False)
class _Counted:
    """Images by the log odds of their doubt, rounded; all arrays are (bins,) float64."""

    log_odds: Floats
    left: Floats
    right: Floats
    wrong: Floats


def _counted(log_odds: Floats, looks: Looks) -> _Counted:
    """Count: a million images are a few hundred bins."""
    bins, place = np.unique(np.round(log_odds / BIN) * BIN, return_inverse=True)
    left = ~looks.is_looked_at
    right = looks.is_looked_at & ~looks.was_wrong
    counts = (
        np.bincount(place[chosen], minlength=len(bins)) for chosen in (left, right, looks.was_wrong)
    )
    return _Counted(bins, *(count.astype(np.float64) for count in counts))


def _predicted(counted: _Counted) -> Range:
    """Find the median and the interval of the errors left: a mixture of nearly normal numbers."""
    most = float(counted.left.sum())
    if most == 0:
        return Range(0.0, 0.0, 0.0)
    shift, slope = (grid.ravel() for grid in np.meshgrid(SHIFTS, SLOPES))
    scores = shift[:, None] + slope[:, None] * counted.log_odds
    wrong = 1.0 / (1.0 + np.exp(-scores))
    log_weights = -0.5 * ((shift / SHIFT_SD) ** 2 + (np.log(slope) / SLOPE_SD) ** 2)
    log_weights -= np.logaddexp(0.0, -scores) @ counted.wrong
    log_weights -= np.logaddexp(0.0, scores) @ counted.right
    weights = np.exp(log_weights - log_weights.max())
    means, variances = wrong @ counted.left, (wrong * (1.0 - wrong)) @ counted.left
    kept = weights > NEGLIGIBLE
    shares, middles = (weights / weights.sum())[kept], means[kept]
    spreads = np.sqrt(variances[kept]) + 1e-9
    return Range(*(_quantile(q, most, (shares, middles, spreads)) for q in (0.5, LOW, HIGH)))


def _quantile(q: float, most: float, mixture: tuple[Floats, Floats, Floats]) -> float:
    """Find a quantile of a mixture of normal numbers (shares, means, spreads) by bisection."""
    shares, means, spreads = mixture
    low, high = 0.0, most
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        scores = (middle - means) / (spreads * math.sqrt(2.0))
        below = sum(w * 0.5 * (1.0 + math.erf(z)) for w, z in zip(shares, scores, strict=True))
        low, high = (middle, high) if below < q else (low, middle)
    return (low + high) / 2


def _reversed(errors: Range) -> tuple[float, float, float]:
    return errors.value, errors.high, errors.low


def _share(right: float, images: int) -> float:
    return max(0.0, right) / images if images else 0.0

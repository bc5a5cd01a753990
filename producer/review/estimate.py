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
# What is believed of shift, slope and leap before anybody looked. Of captcha on six fonts that it
# never saw the shift was 1.3 to 2.0 and the slope 0.54 to 0.73, on releases that it knows 0.1 to
# 0.5 and 0.86 to 1.38; the odds of what is left may be four times as high or low as that says.
BELIEVED = np.array([0.0, 1.0, 0.0])
SDS = np.array([1.5, 0.4, 0.7])
LEAST_SLOPE = 0.05  # a surer image is never more likely to be wrong
BIN = 0.05  # of log odds
MOST_STEPS, MOST_STEP, NEAR = 100, 1.0, 1e-6  # of Newton's way to the most probable values
DRAWS = 4_000  # of what they may be; always the same
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
        agrees: whether the share that their confidences promise lies within the interval.
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
    spread. Beyond the least sure part a ``leap`` is added, for what was found in that part need not
    hold for the rest, as long as nobody looked there. All three are uncertain; what is found among
    the images that were looked at tells more of them, and the errors left follow.

    Source: Cox 1958, "Two further applications of a model for binary regression" (intercept and
    slope of calibration); the leap is a discrepancy as in Kennedy and O'Hagan 2001, "Bayesian
    calibration of computer models"; the posterior is Laplace's approximation, as in MacKay 1992,
    "The evidence framework applied to classification networks".
    """
    doubt = np.clip(1.0 - looks.confidence, LEAST_DOUBT, 1.0 - LEAST_DOUBT)
    left, wrong = ~looks.is_looked_at, int(looks.was_wrong.sum())
    log_odds = np.log(doubt / (1.0 - doubt))
    errors = _predicted(_counted(log_odds, looks)) if left.any() else Range(0.0, 0.0, 0.0)
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
        spot_check=_spot_check(looks, doubt),
    )


def wilson(wrong: int, n: int) -> Range:
    """Compute a share with the interval that holds it with 95 %, of use where none went wrong, too.

    Source: Wilson 1927, "Probable inference, the law of succession, and statistical inference".
    """
    share = wrong / n
    middle, scale = (share + Z**2 / (2 * n)) / (1 + Z**2 / n), Z / (1 + Z**2 / n)
    half = scale * math.sqrt(share * (1 - share) / n + Z**2 / (4 * n * n))
    return Range(share, max(0.0, middle - half), min(1.0, middle + half))


def _spot_check(looks: Looks, doubt: Floats) -> SpotCheck | None:
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
    agrees = share.low <= float(doubt[chosen].mean()) <= share.high
    return SpotCheck(n, wrong, share, errors, agrees)


@dataclass(frozen=True, slots=True, eq=False)
class _Counted:
    """Images by the log odds of their doubt, rounded.

    Attributes:
        terms: (bins, 3) float64, what shift, slope and leap are multiplied by.
        left: (bins,) float64, the images that nobody looked at.
        right: (bins,) float64, those that were right.
        wrong: (bins,) float64, those that were wrong.
    """

    terms: Floats
    left: Floats
    right: Floats
    wrong: Floats


def _counted(log_odds: Floats, looks: Looks) -> _Counted:
    """Count: a million images are a few hundred bins.

    The least sure part is as large as the images that were looked at, but for those that chance
    chose: who works from the least sure on may have passed one over.
    """
    bins, place = np.unique(np.round(log_odds / BIN), return_inverse=True)
    least_sure = int((looks.is_looked_at & ~looks.is_random).sum())
    is_beyond = np.arange(len(bins)) <= np.sort(place)[::-1][min(least_sure, len(place) - 1)]
    left = ~looks.is_looked_at
    right = looks.is_looked_at & ~looks.was_wrong
    counts = (
        np.bincount(place[chosen], minlength=len(bins)) for chosen in (left, right, looks.was_wrong)
    )
    terms = np.stack([np.ones(len(bins)), bins * BIN, is_beyond], axis=1)
    return _Counted(terms, *(count.astype(np.float64) for count in counts))


def _predicted(counted: _Counted) -> Range:
    """Find the median and the interval of the errors left."""
    rng = np.random.default_rng(0)
    mean, covariance = _posterior(counted)
    drawn = rng.multivariate_normal(mean, covariance, size=DRAWS)
    drawn[:, 1] = drawn[:, 1].clip(LEAST_SLOPE)
    is_left = counted.left > 0
    wrong = _sigmoid(drawn @ counted.terms[is_left].T)
    left = counted.left[is_left]
    spread = np.sqrt((wrong * (1.0 - wrong)) @ left)  # of a sum of so many coins
    errors = (wrong @ left + spread * rng.standard_normal(DRAWS)).clip(0.0, left.sum())
    return Range(*(float(q) for q in np.quantile(errors, (0.5, LOW, HIGH))))


def _posterior(counted: _Counted) -> tuple[Floats, Floats]:
    """Find the most probable shift, slope and leap, (3,), and how they vary, (3, 3).

    Newton's method, in steps that are short enough for it.
    """
    terms, looked_at = counted.terms, counted.right + counted.wrong
    precision = np.diag(SDS**-2.0)
    values, hessian = BELIEVED, precision
    for _ in range(MOST_STEPS):
        wrong = _sigmoid(terms @ values)
        gradient = terms.T @ (counted.wrong - looked_at * wrong) - precision @ (values - BELIEVED)
        hessian = (terms.T * (looked_at * wrong * (1.0 - wrong))) @ terms + precision
        step = np.linalg.solve(hessian, gradient)
        size = float(np.abs(step).max())
        values = values + step * min(1.0, MOST_STEP / max(size, NEAR))
        if size < NEAR:
            break
    return values, np.linalg.inv(hessian).astype(np.float64)


def _sigmoid(scores: Floats) -> Floats:
    return 1.0 / (1.0 + np.exp(-scores))


def _reversed(errors: Range) -> tuple[float, float, float]:
    return errors.value, errors.high, errors.low


def _share(right: float, images: int) -> float:
    return max(0.0, right) / images if images else 0.0

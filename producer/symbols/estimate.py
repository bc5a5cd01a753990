"""Which symbols a set of images holds, from how often each was read.

A reader that may write every symbol also writes some that the images do not hold: a few per cent
of the X are read as x. So a count by itself says little. Two explanations of it are compared,
symbol by symbol:

- **absent**: all its readings are misreadings of its lookalikes. Their number has a gamma prior
  around what was measured of the reader, or a broad one; the count is then negative binomial.
- **present**: it occurs like the other symbols, whose counts say how common a symbol is here and
  how much that varies; or, with the share that this set shows, it is rarer or more common than any.

What the counts (and the reader's own certainty, if it is known) make of even odds is the posterior
probability that the symbol is present. Nobody has to be right about the exact rates: a rate enters
as a mean with a wide spread, and what stays open is called doubtful.

Source: negative binomial as gamma mixture of Poissons, e.g. Gelman et al., Bayesian Data Analysis,
3rd edition, section 2.6; empirical Bayes as in Efron, Large-Scale Inference, 2010.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from math import exp, inf, lgamma, log, log1p

from producer.symbols.misreadings import UNMEASURED_SHAPE, Misreadings, true_counts

SURE = 0.99  # odds of 99 to 1; no verdict was wrong in tests/producer/test_symbols_drawn.py
LOG_ODDS_SURE = log(SURE / (1 - SURE))
MOST_ROUNDS = 100
SETTLED = 1e-6  # no posterior moves more
WIDE_SHAPE = 1.0  # rarer or more common than the others: exponential, as little as one can say
JEFFREYS = 0.5  # prior count of a share that is estimated


class Presence(StrEnum):
    """What is to be done with a symbol."""

    PRESENT = "present"
    ABSENT = "absent"
    DOUBTFUL = "doubtful"


@dataclass(frozen=True, slots=True)
class SymbolEstimate:
    """What is known of one symbol.

    Attributes:
        symbol: which.
        readings: how often it was read.
        if_present: the readings to expect if it occurs like the others.
        if_absent: the readings to expect if all are misreadings of others.
        log_odds: natural logarithm of the posterior odds of present to absent, from even ones.
    """

    symbol: str
    readings: int
    if_present: float
    if_absent: float
    log_odds: float

    @property
    def p_present(self) -> float:
        """Posterior probability that the images hold it, in [0, 1]."""
        return _logistic(self.log_odds)

    @property
    def verdict(self) -> Presence:
        """Present, absent, or neither for sure."""
        if abs(self.log_odds) < LOG_ODDS_SURE:
            return Presence.DOUBTFUL
        return Presence.PRESENT if self.log_odds > 0 else Presence.ABSENT

    @property
    def confidence(self) -> float:
        """Probability of the likelier of present and absent, in [0.5, 1]."""
        return _logistic(abs(self.log_odds))


@dataclass(frozen=True, slots=True)
class _Population:
    """The other symbols: how common one is, how much that varies, how many fall out of line."""

    mean: float
    shape: float
    wide_share: float


def estimate_symbols(
    counts: Mapping[str, int],
    misreadings: Misreadings,
    *,
    log_evidence: Mapping[str, float] | None = None,
) -> list[SymbolEstimate]:
    """Judge every symbol that could have been read, in the order given.

    Args:
        counts: readings of each symbol that the reader was allowed to write, zeros included.
        misreadings: what is known of the reader.
        log_evidence: what else speaks for a symbol's presence: natural logarithm of the likelihood
            ratio of present to absent; 0 where there is none.
    """
    extra = log_evidence or {}
    true = {s: true_counts(counts, misreadings, without=s) for s in counts}
    p_present = {symbol: float(count > 0) for symbol, count in counts.items()}
    wide = dict.fromkeys(counts, 0.0)
    for _ in range(MOST_ROUNDS):
        before = p_present
        others = {s: _population(s, counts, before, wide) for s in counts}
        judged = {s: _judge(s, counts[s], others[s], misreadings, true[s]) for s in counts}
        log_odds = {s: one.log_odds + extra.get(s, 0.0) for s, one in judged.items()}
        p_present = {s: _logistic(value) for s, value in log_odds.items()}
        wide = {s: p_present[s] * one.p_wide for s, one in judged.items()}
        if max(abs(p_present[s] - before[s]) for s in counts) < SETTLED:
            break
    return [
        SymbolEstimate(s, counts[s], one.if_present, one.if_absent, log_odds[s])
        for s, one in judged.items()
    ]


@dataclass(frozen=True, slots=True)
class _Judgement:
    log_odds: float
    p_wide: float
    if_present: float
    if_absent: float


def _judge(
    symbol: str,
    count: int,
    others: _Population,
    misreadings: Misreadings,
    true: Mapping[str, float],
) -> _Judgement:
    """Compare the two explanations of one symbol's count, all other symbols taken as known."""
    absent = misreadings.into(symbol, true, others.mean)
    mean = others.mean * misreadings.share_read_right(symbol)
    log_alike = log1p(-others.wide_share) + _log_sum_of_two(count, mean, others.shape, absent)
    log_wide = log(others.wide_share) + _log_sum_of_two(count, mean, WIDE_SHAPE, absent)
    log_absent = log_negative_binomial(count, mean=absent, shape=misreadings.shape)
    log_present = _log_add(log_alike, log_wide)
    return _Judgement(log_present - log_absent, exp(log_wide - log_present), mean, absent)


def log_negative_binomial(count: int, *, mean: float, shape: float) -> float:
    """Compute the log probability of a Poisson count whose mean is gamma distributed.

    Args:
        count: 0 or more.
        mean: of the gamma, and so of the count; above 0.
        shape: of the gamma; its coefficient of variation is ``shape ** -0.5``.
    """
    ways = lgamma(count + shape) - lgamma(shape) - lgamma(count + 1)
    return ways - shape * log1p(mean / shape) - count * log1p(shape / mean)


def _log_sum_of_two(count: int, mean: float, shape: float, misread: float) -> float:
    """Compute the log probability of right readings and misreadings together, by their moments."""
    both = mean + misread
    spread = mean * mean / shape + misread * misread / UNMEASURED_SHAPE
    return log_negative_binomial(count, mean=both, shape=both * both / spread)


def _population(
    symbol: str,
    counts: Mapping[str, int],
    p_present: Mapping[str, float],
    wide: Mapping[str, float],
) -> _Population:
    """Describe the other symbols, each weighed with the probability that it is one of them.

    One more, imagined, symbol keeps the figures sane where there are few: as common as an average
    one, and half of that off.
    """
    others = [s for s in counts if s != symbol]
    alike = {s: p_present[s] - wide[s] for s in others}
    weight = sum(alike.values())
    average = max(sum(counts.values()), 1) / len(counts)
    mean = (sum(w * counts[s] for s, w in alike.items()) + average) / (weight + 1)
    squares = sum(w * (counts[s] - mean) ** 2 for s, w in alike.items())
    beyond_chance = max(0.0, squares / (weight + 1) - mean) / mean**2
    seen = sum(wide[s] for s in others)
    return _Population(
        mean=mean,
        shape=1 / (beyond_chance + 0.5 / (weight + 1)),
        wide_share=(seen + JEFFREYS) / (weight + seen + 2 * JEFFREYS),
    )


def _log_add(a: float, b: float) -> float:
    high = max(a, b)
    return high if high == -inf else high + log(exp(a - high) + exp(b - high))


def _logistic(log_odds: float) -> float:
    return 1 / (1 + exp(-log_odds)) if log_odds > -500 else 0.0

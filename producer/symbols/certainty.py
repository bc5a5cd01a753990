"""What the reader's own certainty says: is a symbol read as surely as others are?

A reader whose confidences are calibrated errs in a share ``1 - q`` of what it is sure of by ``q``.
So by Bayes' rule a reading of certainty ``q`` speaks for a right reading, against a misreading, by
the odds of ``q`` over the odds of all readings together.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import log

from producer.symbols.texts import NamedText

LEAST_DOUBT = 0.01  # no reader's word is taken beyond one in a hundred
# A symbol may be hard to read, or look other here than in training, and all its readings be unsure
# for that: they are no independent witnesses. With a cap of 100, six of 5,000 symbols of release
# 0.5.0 were dropped that were there (the dash, which half disappears), with 10 three.
MOST_LOG_EVIDENCE = log(10)


def log_evidence(
    certainties: Mapping[str, Sequence[float]], usual: Sequence[float]
) -> dict[str, float]:
    """Weigh the certainties of each symbol's readings.

    Args:
        certainties: symbol to the certainty of each of its readings, in [0, 1].
        usual: the certainties of readings of all kinds, one or more.

    Returns:
        Symbol to the log of the likelihood ratio of right readings to misreadings.
    """
    expected = _log_odds(sum(map(_held, usual)) / len(usual))
    summed = {
        symbol: sum(_log_odds(_held(one)) - expected for one in values)
        for symbol, values in certainties.items()
    }
    return {
        symbol: max(-MOST_LOG_EVIDENCE, min(MOST_LOG_EVIDENCE, total))
        for symbol, total in summed.items()
    }


def evidence_of_texts(texts: Iterable[NamedText]) -> dict[str, float]:
    """Weigh each symbol by the confidences of the texts that hold it, where they are known.

    A text's confidence is at most that of its least sure symbol. That holds for every symbol, so
    that it blurs the comparison without favouring a side.
    """
    certainties: dict[str, list[float]] = {}
    for one in texts:
        if one.confidence is not None:
            for symbol in one.text:
                certainties.setdefault(symbol, []).append(one.confidence)
    usual = [value for values in certainties.values() for value in values]
    return log_evidence(certainties, usual) if usual else {}


def _held(certainty: float) -> float:
    return max(LEAST_DOUBT, min(1 - LEAST_DOUBT, certainty))


def _log_odds(certainty: float) -> float:
    return log(certainty / (1 - certainty))

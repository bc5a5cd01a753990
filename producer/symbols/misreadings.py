"""How a reader misreads: measured rates if there are any, and what one may expect if not.

``pifleet evaluate MODEL DATA --json`` measures which symbol was read for which, and how often.
Images of another kind are misread at other rates, so a rate is a mean with a wide spread.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from contract.errors import SourceError

# Of the shipped reader, on three kinds of drawn images, at most 9 % of a symbol was read as one
# other; into most symbols nearly nothing is misread. A gamma of shape 1/2 around 2 % says that:
# half of the symbols get under 1 % of a glyph's readings, one in twenty over 8 %.
UNMEASURED_SHARE = 0.02
UNMEASURED_SHAPE = 0.5
# Measured, the rates of one kind of images were up to 4 times those of another: an exponential.
# What was not seen happens too.
MEASURED_REST = 0.003
MEASURED_SHAPE = 1.0
EM_ROUNDS = 20  # misreadings are few, so the counts settle at once


@dataclass(frozen=True, slots=True)
class Misreadings:
    """What is known of a reader's mistakes.

    Attributes:
        rates: (truth, read) to the share of ``truth`` that is read so, in [0, 1]; without the right
            ones. ``read`` is empty for what is left out. No rates: nothing was measured.
    """

    rates: Mapping[tuple[str, str], float] = field(default_factory=dict)

    @property
    def shape(self) -> float:
        """Of the gamma distribution of the expected number of misreadings as one symbol."""
        return MEASURED_SHAPE if self.rates else UNMEASURED_SHAPE

    def share_read_right(self, symbol: str) -> float:
        """Sum up the share of a symbol that is read as it is, in (0, 1]."""
        wrong = sum(rate for (truth, _), rate in self.rates.items() if truth == symbol)
        return max(1 - wrong, 0.01)

    def sources(self, symbol: str, true: Mapping[str, float]) -> dict[str, float]:
        """Name the symbols that are read as this one, with the number of such readings expected."""
        return {
            truth: true[truth] * rate
            for (truth, read), rate in self.rates.items()
            if read == symbol and true.get(truth)
        }

    def into(self, symbol: str, true: Mapping[str, float], typical: float) -> float:
        """Estimate the number of other symbols that one expects to be read as this one.

        Args:
            symbol: the one that is read.
            true: how often each symbol stands in the images.
            typical: how often a common symbol stands there.
        """
        rest = MEASURED_REST if self.rates else UNMEASURED_SHARE
        return sum(self.sources(symbol, true).values()) + rest * typical


def true_counts(
    counts: Mapping[str, int], misreadings: Misreadings, *, without: str
) -> dict[str, float]:
    """Estimate how often each symbol stands there, by maximum likelihood, if one does not.

    Each round shares the readings out among the symbols that may have caused them.

    Args:
        counts: how often each symbol was read.
        misreadings: what is known of the reader.
        without: the symbol that is taken to be absent.

    Source: EM for a multinomial mixture of known components, Dempster et al. 1977; the same as
    Richardson 1972 and Lucy 1974.
    """
    true = {symbol: float(count) for symbol, count in counts.items()}
    true[without] = 0.0
    pairs = {
        (truth, read): rate
        for (truth, read), rate in misreadings.rates.items()
        if truth in counts and read in counts and truth != without
    }
    right = {symbol: misreadings.share_read_right(symbol) for symbol in counts}
    for _ in range(EM_ROUNDS if pairs else 0):
        expected = {symbol: true[symbol] * right[symbol] for symbol in counts}
        for (truth, read), rate in pairs.items():
            expected[read] += true[truth] * rate
        ratio = {s: counts[s] / expected[s] if expected[s] else 0.0 for s in counts}
        gain = {s: right[s] * ratio[s] for s in counts}
        seen = dict(right)
        for (truth, read), rate in pairs.items():
            gain[truth] += rate * ratio[read]
            seen[truth] += rate
        true = {s: true[s] * gain[s] / seen[s] for s in counts}
    return true


def load_misreadings(path: Path) -> Misreadings:
    """Read the rates from what ``pifleet evaluate --json`` printed.

    Raises:
        SourceError: it cannot be read, or is something else.
    """
    try:
        found = json.loads(path.read_text("utf-8"))["confusions"]
        rates = {
            (str(one["truth"]), str(one["read"])): float(one["share"])
            for one in found
            if one["truth"]  # what was put in belongs to no symbol
        }
        if not all(0 <= rate <= 1 for rate in rates.values()):  # NaN is not either
            raise ValueError("a share outside 0 to 1")
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, TypeError, LookupError) as error:
        message = f"{path} holds no scores: write them with `pifleet evaluate MODEL DATA --json`"
        raise SourceError(message) from error
    return Misreadings(rates)

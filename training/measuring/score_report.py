"""What an evaluation found, as a table for people and as JSON for machines."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

from training.measuring.calibration import Calibration
from training.measuring.evaluate import Evaluation
from training.measuring.lookalikes import FoldedScore
from training.measuring.scores import Confusion, LengthScore, Scores

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

SHOWN_CONFUSIONS = 15


def to_json(found: Evaluation) -> str:
    """Write all figures; shares are in [0, 1]."""
    figures = {
        **asdict(found.scores),
        "calibration": asdict(found.calibration),
        "lookalikes": [asdict(row) for row in found.lookalikes],
    }
    return json.dumps(figures, indent=1, ensure_ascii=False)


def to_table(found: Evaluation) -> RenderableType:
    """Lay the figures out for a terminal."""
    from rich.console import Group

    tables = [
        _lengths(found.scores.by_length),
        _confusions(found.scores.confusions),
        *([_lookalikes(found.lookalikes)] if found.lookalikes else []),
        _by_eye(found.calibration),
    ]
    return Group(_headline(found.scores, found.calibration), *tables)


def _headline(scores: Scores, calibration: Calibration) -> str:
    parts = [
        f"{scores.n} images: exact match {percent(scores.exact_match)}",
        f"character accuracy {percent(scores.character_accuracy)}",
    ]
    if scores.balanced_accuracy is not None:
        parts.append(f"balanced accuracy {percent(scores.balanced_accuracy)}")
    return ", ".join([*parts, f"calibration error {percent(calibration.ece)}"])


def _lengths(rows: tuple[LengthScore, ...]) -> Table:
    from rich.table import Table

    table = Table("length", "images", "exact match", title="By length")
    for row in rows:
        table.add_row(str(row.length), str(row.n), percent(row.exact_match))
    return table


def _confusions(pairs: tuple[Confusion, ...]) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table("truth", "read", "times", "of truth", title="Confusions")
    for pair in pairs[:SHOWN_CONFUSIONS]:
        names = (Text(shown(pair.truth)), Text(shown(pair.read)))  # `[` is no markup here
        table.add_row(*names, str(pair.n), percent(pair.share))
    return table


def _lookalikes(rows: tuple[FoldedScore, ...]) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table("taken for one", "exact match", "without them", "images", title="Lookalikes")
    for row in rows:
        without = "" if row.without is None else percent(row.without)
        table.add_row(Text(row.pair), percent(row.folded), without, str(row.n_without))
    return table


def _by_eye(calibration: Calibration) -> Table:
    from rich.table import Table

    table = Table("least sure", "exact match then", "errors among them", title="Read by eye")
    for row in calibration.by_eye:
        seen = f"{100 * row.share:g} %"
        table.add_row(seen, percent(row.exact_match), percent(row.errors_among))
    return table


def shown(symbol: str) -> str:
    """Give a symbol as people see it: a missing one in words."""
    return symbol or "(nothing)"


def percent(share: float) -> str:
    """Write a share of 1 in percent."""
    return f"{100 * share:.2f} %"

"""Scores as a table for people, JSON for machines, and a picture for documents."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from training.scores import Confusion, Scores

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from rich.console import RenderableType

SHOWN_CONFUSIONS = 15


def to_json(scores: Scores) -> str:
    """Write all figures; shares are in [0, 1]."""
    return json.dumps(asdict(scores), indent=1, ensure_ascii=False)


def to_table(scores: Scores) -> RenderableType:
    """Lay the figures out for a terminal."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    lengths = Table("length", "images", "exact match", title="By length")
    for row in scores.by_length:
        lengths.add_row(str(row.length), str(row.n), _percent(row.exact_match))
    confusions = Table("truth", "read", "times", "of truth", title="Confusions")
    for pair in scores.confusions[:SHOWN_CONFUSIONS]:
        shown = (Text(_shown(pair.truth)), Text(_shown(pair.read)))  # `[` is no markup here
        confusions.add_row(*shown, str(pair.n), _percent(pair.share))
    head = f"{scores.n} images: exact match {_percent(scores.exact_match)}, "
    return Group(
        head + f"character accuracy {_percent(scores.character_accuracy)}", lengths, confusions
    )


def write_plot(scores: Scores, path: Path) -> None:
    """Draw accuracy by length and the most frequent confusions into a PNG."""
    from matplotlib.figure import Figure  # pyplot would look for a display

    figure = Figure(figsize=(9, 4), layout="constrained")
    lengths, confusions = figure.subplots(1, 2)
    _plot_lengths(lengths, scores)
    _plot_confusions(confusions, scores.confusions[:SHOWN_CONFUSIONS])
    figure.suptitle(f"{scores.n} images, exact match {_percent(scores.exact_match)}")
    figure.savefig(path, dpi=120, format="png")


def _plot_lengths(axes: Axes, scores: Scores) -> None:
    names = [str(row.length) for row in scores.by_length]
    bars = axes.bar(names, [100 * row.exact_match for row in scores.by_length])
    axes.bar_label(bars, fmt="%.1f")
    axes.set(xlabel="length in symbols", ylabel="exact match, %")


def _plot_confusions(axes: Axes, confusions: tuple[Confusion, ...]) -> None:
    names = [f"{_shown(c.truth)} as {_shown(c.read)}".replace("$", r"\$") for c in confusions]
    axes.barh(range(len(names)), [c.n for c in confusions])
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set(xlabel="times")


def _shown(symbol: str) -> str:
    return symbol or "(nothing)"


def _percent(share: float) -> str:
    return f"{100 * share:.2f} %"

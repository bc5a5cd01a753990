"""What an evaluation found: a table for people, JSON for machines, and images."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

from training.measuring.calibration import Calibration
from training.measuring.evaluation import Evaluation
from training.measuring.scores import Confusion, FoldedScore, LengthScore, Scores

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table
from collections import Counter
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from training.measuring.evaluation import Mistake
from training.measuring.scores import NOTHING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SHOWN_CONFUSIONS = 15
DARK, WARM, PALE = "#2b5d8a", "#c8553d", "#d9dee4"
SHEET_ROWS = 5  # of the sheet of mistakes
SHEET_INCHES = 13.6
LEAST_CELL_INCHES = 1.7
CAPTION_PT = 8
MONOSPACE_EM = 0.61  # a symbol's width: of the font's size
STYLE: Any = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.edgecolor": "#8a939c",
    "text.parse_math": False,  # `$` is a symbol like others
}


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
        f"{scores.n} images: exact match {as_percent(scores.exact_match)}",
        f"character accuracy {as_percent(scores.character_accuracy)}",
    ]
    if scores.balanced_accuracy is not None:
        parts.append(f"balanced accuracy {as_percent(scores.balanced_accuracy)}")
    return ", ".join([*parts, f"calibration error {as_percent(calibration.ece)}"])


def _lengths(rows: tuple[LengthScore, ...]) -> Table:
    from rich.table import Table

    table = Table("length", "images", "exact match", title="By length")
    for row in rows:
        table.add_row(str(row.length), str(row.n), as_percent(row.exact_match))
    return table


def _confusions(pairs: tuple[Confusion, ...]) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table("truth", "read", "times", "of truth", title="Confusions")
    for pair in pairs[:SHOWN_CONFUSIONS]:
        names = (
            Text(shown_symbol(pair.truth)),
            Text(shown_symbol(pair.read)),
        )  # `[` is no markup here
        table.add_row(*names, str(pair.n), as_percent(pair.share))
    return table


def _lookalikes(rows: tuple[FoldedScore, ...]) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table("taken for one", "exact match", "without them", "images", title="Lookalikes")
    for row in rows:
        without = "" if row.without is None else as_percent(row.without)
        table.add_row(Text(row.pair), as_percent(row.folded), without, str(row.n_without))
    return table


def _by_eye(calibration: Calibration) -> Table:
    from rich.table import Table

    table = Table("least sure", "exact match then", "errors among them", title="Read by eye")
    for row in calibration.by_eye:
        seen = f"{100 * row.share:g} %"
        table.add_row(seen, as_percent(row.exact_match), as_percent(row.errors_among))
    return table


def shown_symbol(symbol: str) -> str:
    """Write a symbol as people see it: a missing one in words."""
    return symbol or "(nothing)"


def as_percent(share: float) -> str:
    """Write a share of 1 in percent."""
    return f"{100 * share:.2f} %"


def write_scores(found: Evaluation, path: Path) -> None:
    """Draw lengths, confusions, reliability and what reading by eye is worth, into a PNG."""
    scores = found.scores
    title = f"{scores.n:,} images, exact match {as_percent(scores.exact_match)}"
    with _styled():
        figure = _figure(10, 7.5, title)
        axes = figure.subplots(2, 2)
        if scores.balanced_accuracy is None:
            _plot_lengths(axes[0, 0], scores.by_length)
        else:
            _plot_worst_symbols(axes[0, 0], scores.confusions)
        _plot_confusions(axes[0, 1], scores.confusions[:SHOWN_CONFUSIONS])
        _plot_reliability(axes[1, 0], found.calibration)
        _plot_by_eye(axes[1, 1], found.calibration)
        figure.savefig(path, dpi=120, format="png")


def write_confusions(found: Evaluation, path: Path) -> None:
    """Draw the table of confusions, symbol by symbol, into a PNG."""
    confusions = found.scores.confusions
    names = sorted({symbol for c in confusions for symbol in (c.truth, c.read)} - {NOTHING})
    names.append(NOTHING)
    counts = np.zeros((len(names), len(names)))
    for c in confusions:
        counts[names.index(c.truth), names.index(c.read)] = c.n
    side = 2.0 + 0.2 * len(names)  # inches
    with _styled():
        figure = _figure(side, side, f"{int(counts.sum()):,} errors; ∅: no symbol")
        _plot_table(figure.subplots(), counts, [symbol or "∅" for symbol in names])
        figure.savefig(path, dpi=120, format="png", bbox_inches="tight")


def write_mistakes(found: Evaluation, path: Path) -> None:
    """Draw a sheet of the most confident mistakes, enlarged, into a PNG."""
    columns = _columns(found.mistakes)
    worst = found.mistakes[: columns * SHEET_ROWS]
    rows = max(1, -(-len(worst) // columns))
    with _styled():
        title = f"the {len(worst)} most confident of {len(found.mistakes):,} mistakes"
        figure = _figure(SHEET_INCHES, 0.6 + 1.35 * rows, f"{title}: truth, reading, confidence")
        for axes in figure.subplots(rows, columns, squeeze=False).flat:
            axes.axis("off")
        for axes, mistake in zip(figure.axes, worst, strict=False):
            _plot_mistake(axes, mistake)
        figure.savefig(path, dpi=120, format="png")


def _columns(mistakes: Sequence[Mistake]) -> int:
    """Count the columns of a sheet beside each other in which every caption has room."""
    longest = max((len(line) for one in mistakes for line in _caption(one).split("\n")), default=0)
    cell = max(LEAST_CELL_INCHES, (longest + 2) * MONOSPACE_EM * CAPTION_PT / 72)
    return max(1, int(SHEET_INCHES / cell))


def _styled() -> AbstractContextManager[None]:
    from matplotlib import rc_context

    return rc_context(STYLE)


def _figure(width: float, height: float, title: str) -> Figure:
    from matplotlib.figure import Figure  # pyplot would look for a display

    figure = Figure(figsize=(width, height), layout="constrained")
    figure.suptitle(title, fontsize=12)
    return figure


def _plot_lengths(axes: Axes, rows: Sequence[LengthScore]) -> None:
    values = [100 * row.exact_match for row in rows]
    bars = axes.bar([str(row.length) for row in rows], values, color=DARK, width=0.7)
    axes.bar_label(bars, fmt="%.1f", padding=-14, color="white")
    floor = max(0.0, min(values) - 0.5 * (100 - min(values)) - 0.5)
    axes.set(title="By length", xlabel="symbols", ylabel="exact match, %", ylim=(floor, 100))


def _plot_worst_symbols(axes: Axes, confusions: Sequence[Confusion]) -> None:
    """Draw the share of errors of the symbols read worst: characters have no lengths."""
    shares: Counter[str] = Counter()
    for c in confusions:
        shares[c.truth] += round(1e4 * c.share)  # a Counter sorts; in hundredths of a percent
    worst = shares.most_common(SHOWN_CONFUSIONS)
    names = [shown_symbol(symbol) for symbol, _ in worst]
    bars = axes.bar(names, [share / 100 for _, share in worst], color=DARK, width=0.7)
    axes.bar_label(bars, fmt="%.0f", padding=2)
    axes.set(title="Symbols read worst", xlabel="symbol", ylabel="read wrong, %")


def _plot_confusions(axes: Axes, confusions: Sequence[Confusion]) -> None:
    names = [f"{shown_symbol(c.truth)} as {shown_symbol(c.read)}" for c in confusions]
    bars = axes.barh(range(len(names)), [c.n for c in confusions], color=DARK, height=0.7)
    axes.bar_label(bars, padding=2)
    axes.set_yticks(range(len(names)), names, family="monospace")
    axes.invert_yaxis()
    axes.set(title="Most frequent confusions", xlabel="times")


def _plot_reliability(axes: Axes, calibration: Calibration) -> None:
    """Draw the bins on logarithmic axes of doubt and error: nearly all lie within a percent."""
    least = min(1 / sum(b.n for b in calibration.bins), 1e-3)
    doubt = [max(least, 1 - b.confidence) for b in calibration.bins]
    error = [max(least, 1 - b.exact_match) for b in calibration.bins]
    spans = [_wilson(b.exact_match, b.n) for b in calibration.bins]
    low = [max(0.0, e - max(least / 2, 1 - span[1])) for e, span in zip(error, spans, strict=True)]
    high = [max(0.0, 1 - span[0] - e) for e, span in zip(error, spans, strict=True)]
    axes.plot((least / 2, 1), (least / 2, 1), color=PALE, linewidth=6, solid_capstyle="butt")
    axes.errorbar(doubt, error, yerr=(low, high), fmt="none", ecolor=DARK, elinewidth=1)
    fill = [DARK if b.exact_match < 1 else "white" for b in calibration.bins]  # hollow: no error
    axes.scatter(doubt, error, s=30, c=fill, edgecolors=DARK, zorder=3, clip_on=False)
    axes.set(xscale="log", yscale="log", xlim=(least / 2, 1), ylim=(least / 2, 1))
    bins = f"{len(calibration.bins)} bins"
    title = f"Reliability: calibration error {as_percent(calibration.ece)}, {bins}"
    axes.set(title=title, xlabel="doubt (1 - confidence), %", ylabel="read wrong, %")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(lambda share, _: f"{100 * share:g}")


def _wilson(share: float, n: int) -> tuple[float, float]:
    """Compute the interval that holds a share with 95 %, of use where none of n went wrong, too.

    Source: Wilson 1927, "Probable inference, the law of succession, and statistical inference".
    """
    z2 = 1.96**2
    middle, scale = (share + z2 / (2 * n)) / (1 + z2 / n), 1.96 / (1 + z2 / n)
    half = scale * (share * (1 - share) / n + z2 / (4 * n * n)) ** 0.5
    return middle - half, middle + half


def _plot_by_eye(axes: Axes, calibration: Calibration) -> None:
    shares = [100 * row.share for row in calibration.by_eye]
    values = [100 * row.exact_match for row in calibration.by_eye]
    axes.plot(shares, values, marker="o", color=WARM)
    for share, value in zip(shares, values, strict=True):
        axes.annotate(f"{value:.2f}", (share, value), (4, -11), textcoords="offset points")
    axes.set(
        title="The least sure, read by eye", xlabel="of the images, %", ylabel="exact match, %"
    )
    axes.margins(0.12)


def _plot_table(axes: Axes, counts: NDArray[np.float64], names: list[str]) -> None:
    from matplotlib.colors import LogNorm

    ticks = range(len(names))
    most = max(2.0, float(counts.max()))
    seen = np.ma.masked_equal(counts, 0)
    image = axes.imshow(seen, cmap="YlOrRd", norm=LogNorm(1, most))
    for truth, read in zip(*np.nonzero(counts >= most / 10), strict=True):
        n = int(counts[truth, read])
        shade = "white" if n > most / 2 else "black"
        axes.text(read, truth, str(n), ha="center", va="center", fontsize=6, color=shade)
    axes.set_xticks(ticks, names, family="monospace", fontsize=8)
    axes.set_yticks(ticks, names, family="monospace", fontsize=8)
    axes.set_xticks([tick - 0.5 for tick in ticks], minor=True)
    axes.set_yticks([tick - 0.5 for tick in ticks], minor=True)
    axes.grid(which="minor", color=PALE, linewidth=0.4)
    axes.tick_params(which="both", length=0, labeltop=True)
    axes.set(xlabel="read", ylabel="truth")
    bar = axes.figure.colorbar(image, ax=axes, shrink=0.5, pad=0.02, format="%d")
    bar.outline.set_visible(False)
    bar.set_label("times")
    bar.ax.minorticks_off()


def _plot_mistake(axes: Axes, mistake: Mistake) -> None:
    axes.imshow(mistake.tensor[:, :, 0], cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    axes.set_title(
        _caption(mistake), family="monospace", fontsize=CAPTION_PT, loc="center", color=WARM
    )


def _caption(mistake: Mistake) -> str:
    read = mistake.reading.text or "(nothing)"
    texts = f"{mistake.truth} → {read}"
    if len(texts) * MONOSPACE_EM * CAPTION_PT / 72 > LEAST_CELL_INCHES:
        texts = f"{mistake.truth}\n→ {read}"
    return f"{texts}\n{100 * mistake.reading.confidence:.1f} %"

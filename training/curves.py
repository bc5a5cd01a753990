"""The curves of a run: loss and exact match an epoch, as JSON and as an image."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from training.run_state import Epoch


def write_curves(run: Path, epochs: list[Epoch]) -> None:
    """Write ``curves.json`` and ``curves.png`` into a run's folder."""
    text = json.dumps([asdict(epoch) for epoch in epochs], indent=1) + "\n"
    (run / "curves.json").write_text(text, encoding="utf-8")
    _plot(epochs).savefig(run / "curves.png", dpi=120)


def _plot(epochs: list[Epoch]):  # type: ignore[no-untyped-def]
    from matplotlib.figure import Figure  # pyplot would look for a display
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(8, 3.5), layout="constrained")
    loss, match = figure.subplots(1, 2)
    numbers = [epoch.epoch for epoch in epochs]
    loss.plot(numbers, [epoch.loss for epoch in epochs], marker="o")
    loss.set(xlabel="epoch", ylabel="loss (training)", yscale="log")
    match.plot(numbers, [100 * epoch.exact_match for epoch in epochs], marker="o")
    match.set(xlabel="epoch", ylabel="exact match (not trained on), %")
    for axes in (loss, match):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))  # a tick an epoch overlaps at 20
        axes.grid(visible=True, alpha=0.3)
    return figure

"""The shipped models as a table, or as JSON."""

from __future__ import annotations

from typing import Any

from rich.console import RenderableType
from rich.table import Table

from recognition.card import ModelCard
from recognition.model_file import ModelFile, load_model, shipped_models

EXACT = "exact_match_"


def models_table() -> RenderableType:
    """Draw the shipped models."""
    found = _shipped()
    if not found:
        return "no models are shipped with this installation"
    table = Table(header_style="bold")
    for name in ("model", "input", "symbols", "exact match", "sha256"):
        table.add_column(name, no_wrap=True)
    table.add_column("kB", justify="right")
    for name, model in found.items():
        card = model.card
        table.add_row(
            name,
            f"{card.input.height}x{card.input.width}",
            str(len(card.symbols)),
            "\n".join(exact_matches(card)),
            model.digest[:8],
            f"{len(model.data) / 1000:.0f}",
        )
    return table


def exact_matches(card: ModelCard) -> list[str]:
    """Give a line for each set that the card has an exact match of; `models show` has the rest."""
    figures = {
        name.removeprefix(EXACT): value
        for name, value in sorted(card.metrics.items())
        if name.startswith(EXACT)
    }
    return [f"{100 * value:.2f} %  {name}" for name, value in figures.items()]


def models_json() -> list[dict[str, Any]]:
    """Give the shipped models as JSON objects."""
    return [
        {
            "name": name,
            "sha256": model.digest,
            "bytes": len(model.data),
            "symbols": model.card.symbols,
            "metrics": model.card.metrics,
        }
        for name, model in _shipped().items()
    ]


def _shipped() -> dict[str, ModelFile]:
    return {name: load_model(name) for name in shipped_models()}

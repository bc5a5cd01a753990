"""How well a captcha model reads each charset that other captchas use: by release, by length.

Each release of the library draws its own images, unmodified, and the model may write the charset's
symbols only. Last come texts with a symbol that it never learned: how often it is sure of them.

Example:
    python -m benchmarks.recognition.charsets captcha-wide --beside captcha --json figures.json
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import click
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from benchmarks.machine import circumstances, write_figures
from contract.settings import Settings
from recognition.charset import CAPTCHA_SYMBOLS, PRESETS
from recognition.model_file import load_model
from recognition.recogniser import Recogniser
from training.measuring.evaluation import measure, open_labelled
from training.measuring.library import RELEASES, drawn_set, set_for

NEVER_LEARNED = "@&$?!"
SURE = 0.9
PACKAGES = ("ai-edge-litert", "numpy", "pillow")

Figures = dict[str, dict[str, dict[str, float]]]  # by charset, release; "all", then by length


class Measured:
    """One model on sets that are drawn once and kept."""

    def __init__(self, model: str, n: int, seed: int) -> None:
        self._file = load_model(model)
        self._n, self._seed = n, seed
        self._cache = Settings.from_env(os.environ).cache_dir

    @property
    def charsets(self) -> dict[str, str]:
        """The charsets that it can be held to."""
        own = self._file.card.symbols
        every = {**PRESETS, "the 49": CAPTCHA_SYMBOLS}
        if own not in every.values():
            every["its own"] = own
        return {name: symbols for name, symbols in every.items() if set(symbols) <= set(own)}

    def exact_match(self, release: str, symbols: str) -> dict[str, float]:
        """Measure the exact match in per cent, of all and by length."""
        wanted = set_for(
            self._file.card, release=release, n=self._n, seed=self._seed, allowed=symbols
        )
        folder = drawn_set(wanted, self._cache, workers=os.cpu_count() or 1)
        scores = measure(self._file.data, folder, allowed=symbols).scores
        by_length = {str(row.length): row.exact_match for row in scores.by_length}
        shares = {"all": scores.exact_match, **by_length}
        return {name: round(100 * share, 2) for name, share in shares.items()}

    def surely_wrong(self, release: str) -> float:
        """Count, in per cent, the texts with a symbol it never learned of which it is sure."""
        card, own = self._file.card, self._file.card.symbols
        wanted = set_for(card, release=release, n=self._n, seed=self._seed, allowed=own)
        wanted = replace(wanted, symbols=own + NEVER_LEARNED, min_length=3)
        folder = drawn_set(wanted, self._cache, workers=os.cpu_count() or 1)
        recogniser = Recogniser(self._file.data)
        confidences = [
            recogniser.read([image.tensor])[0].confidence
            for image in open_labelled(folder, card.input).images
            if set(image.text) & set(NEVER_LEARNED)
        ]
        return round(100 * sum(sure > SURE for sure in confidences) / len(confidences), 1)


def measure_all(model: Measured) -> Figures:
    """Measure every charset that a model can write, on each release."""
    return {
        name: {release: model.exact_match(release, symbols) for release in RELEASES}
        for name, symbols in model.charsets.items()
    }


def show(figures: Figures, title: str) -> Table:
    """Build the table: each release, then each length, the mean of all releases."""
    lengths = [length for length in next(iter(figures["digits"].values())) if length != "all"]
    headings = ("allowed", *RELEASES, *lengths)
    table = Table(
        *headings,
        title=f"{title}: % of texts, by release and by length",
        box=SIMPLE_HEAD,
        padding=(0, 0, 0, 1),
    )
    for name, found in figures.items():
        means = [sum(one[length] for one in found.values()) / len(found) for length in lengths]
        row = [*(one["all"] for one in found.values()), *means]
        table.add_row(name, *(f"{value:.1f}" for value in row))
    return table


@click.command()
@click.argument("model")
@click.option("--beside", help="Another model, on the same images.")
@click.option("-n", "n", type=click.IntRange(100), default=2000, show_default=True)
@click.option("--seed", type=click.IntRange(0), default=101, show_default=True)
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write figures there.")
def main(model: str, beside: str | None, n: int, seed: int, json_path: Path | None) -> None:
    """Measure MODEL charset by charset."""
    told: dict[str, object] = {}
    for name in filter(None, (model, beside)):
        measured = Measured(name, n, seed)
        figures = measure_all(measured)
        sure = measured.surely_wrong("0.7.1")
        Console().print(show(figures, name))
        Console().print(f"sure of a text with one of {NEVER_LEARNED}, 0.7.1: {sure} %")
        told[Path(name).stem] = {"exact_match": figures, "sure_of_never_learned": sure}
    if json_path is not None:
        about = circumstances("benchmarks.recognition.charsets", PACKAGES)
        write_figures(json_path, {**about, "plan": {"n": n, "seed": seed}, "models": told})


if __name__ == "__main__":
    main()

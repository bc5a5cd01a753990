"""The card of an exported run, and the golden images that go with it."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path

from recognition.card import Golden, ModelCard
from training.conversion_check import Checked
from training.experiment import CheckSet, Experiment

GOLDEN_IMAGES = 5


@dataclass(frozen=True, slots=True)
class GoldenFiles:
    """Golden images: the card's entries, and the PNG files by name."""

    entries: tuple[Golden, ...]
    files: dict[str, bytes]


def choose_golden(experiment: Experiment, checked: Checked, check: CheckSet) -> GoldenFiles:
    """Take some of the surest check images, of several lengths, as files."""
    longest_first = sorted(checked.golden, key=lambda index: -len(check.texts[index]))
    step = max(1, len(longest_first) // GOLDEN_IMAGES)
    entries, files = [], {}
    for number, index in enumerate(longest_first[::step][:GOLDEN_IMAGES]):
        data = BytesIO()
        experiment.check_image(index).save(data, format="PNG", optimize=True)
        entries.append(Golden(f"{number}.png", check.texts[index]))
        files[f"{number}.png"] = data.getvalue()
    return GoldenFiles(tuple(entries), files)


def make_card(
    run: Path, blank: ModelCard, checked: Checked, golden: GoldenFiles, check_name: str
) -> ModelCard:
    """Say how well the model reads, and where it comes from."""
    return replace(
        blank,
        metrics={
            f"exact_match_{check_name}_float": round(checked.exact_match_float, 5),
            f"exact_match_{check_name}": round(checked.exact_match_int8, 5),
        },
        provenance=_provenance(run),
        golden=golden.entries,
        temperature=round(checked.temperature, 3),
    )


def _provenance(run: Path) -> dict[str, str]:
    """Add to what the run wrote down how far it came."""
    epochs = _read_json(run / "curves.json")
    return {
        **_read_json(run / "provenance.json"),
        "epochs": str(epochs[-1]["epoch"]),
        "training_minutes": f"{epochs[-1]['elapsed_s'] / 60:.1f}",
    }


def _read_json(path: Path):  # type: ignore[no-untyped-def]
    return json.loads(path.read_text("utf-8"))

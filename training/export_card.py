"""The card of an exported run, and the golden pictures that go with it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from contract.card import Golden, InputSpec, ModelCard
from training.captcha.config import CaptchaConfig
from training.captcha.samples import CaptchaSet, draw_sample
from training.conversion_check import Checked

GOLDEN_PICTURES = 5


@dataclass(frozen=True, slots=True)
class GoldenFiles:
    """Golden pictures: the card's entries, and the PNG files by name."""

    entries: tuple[Golden, ...]
    files: dict[str, bytes]


def draw_golden(check_set: CaptchaSet, indices: tuple[int, ...]) -> GoldenFiles:
    """Draw check pictures again as files: of several lengths."""
    samples = [draw_sample(check_set, index) for index in indices]
    samples.sort(key=lambda sample: -len(sample.text))
    chosen = samples[:: max(1, len(samples) // GOLDEN_PICTURES)][:GOLDEN_PICTURES]
    entries, files = [], {}
    for number, sample in enumerate(chosen):
        data = BytesIO()
        sample.drawn.image.save(data, format="PNG", optimize=True)
        entries.append(Golden(f"{number}.png", sample.text))
        files[f"{number}.png"] = data.getvalue()
    return GoldenFiles(tuple(entries), files)


def make_card(run: Path, config: CaptchaConfig, checked: Checked, golden: GoldenFiles) -> ModelCard:
    """Say what the model reads, and where it comes from."""
    return ModelCard(
        name=config.name,
        symbols=config.data.symbols,
        decoder="ctc",
        input=InputSpec(height=config.data.height, width=config.data.width),
        metrics={
            "exact_match_own_drawing_float": round(checked.exact_match_float, 5),
            "exact_match_own_drawing": round(checked.exact_match_int8, 5),
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

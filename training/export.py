"""Turn a finished run into a model file: convert, check, measure, add the card."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from contract.errors import OutputError, SettingsError
from contract.files import atomic_write
from contract.processes import ProcessPool
from recognition.card import Golden, ModelCard, append_card
from training.conversion import MOST_LOST, Checked, convert_and_check, refuse_loss
from training.experiment import (
    RECOGNISERS,
    CheckSet,
    Experiment,
    add_recognisers,
    load_experiment,
)
from training.measuring.evaluation import measure
from training.run_folder import read_json

log = logging.getLogger(__name__)

CALIBRATION_IMAGES = 512
GOLDEN_IMAGES = 5


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """What an export measures.

    Attributes:
        check_images: read in float and in int8, to see what quantising costs.
        tests: name to data set; each is measured with the finished model, for its card.
        most_lost: of exact match, that int8 may cost, in [0, 1].
    """

    check_images: int = 10_000
    tests: Mapping[str, Path] = field(default_factory=dict)
    most_lost: float = MOST_LOST

    def __post_init__(self) -> None:
        """Refuse a limit that would let anything pass, as NaN does."""
        if not 0 <= self.most_lost <= 1:
            raise SettingsError("most-lost", 100 * self.most_lost, "points from 0 to 100")


@dataclass(frozen=True, slots=True)
class GoldenFiles:
    """Golden images: the card's entries, and the PNG files by name."""

    entries: tuple[Golden, ...]
    files: dict[str, bytes]


def export_run(run: Path, out: Path, options: ExportOptions) -> ModelCard:
    """Write the model of a run to ``out``.

    Returns:
        The card that the file carries.

    Raises:
        UserError: the run or a test set cannot be used.
        ModelError: the converted model reads otherwise than the network.
        OutputError: the file cannot be written.
    """
    experiment = load_experiment(run / "config.yaml")
    if not out.absolute().parent.is_dir():
        raise OutputError(f"{out} cannot be written: its folder does not exist")
    check = experiment.check_set(options.check_images)
    checked = _convert(run, experiment.calibration_images(CALIBRATION_IMAGES), check)
    doubt = refuse_loss(checked, options.most_lost)
    if doubt:
        log.warning("%s; --check-images or --test NAME=FOLDER with more tell", doubt)
    golden = choose_golden(experiment, checked, check)
    card = make_card(run, experiment.blank_card(), checked, golden, check.name)
    card = _measured(card, checked.int8, golden, options.tests)
    _write(out, append_card(checked.int8, card, golden.files))
    return card


def _convert(run: Path, representative: NDArray[np.uint8], check: CheckSet) -> Checked:
    """Convert in a process of its own: Keras takes one backend a process."""
    with ProcessPool(1, add_recognisers, (RECOGNISERS,)) as pool:
        checked = pool.submit(convert_and_check, run, representative, check).result()
    log.info(
        "converted run=%s exact_match_float=%.4f exact_match_int8=%.4f logits_difference=%.2g",
        run,
        checked.exact_match_float,
        checked.exact_match_int8,
        checked.logits_difference,
    )
    return checked


def _measured(
    card: ModelCard, int8: bytes, golden: GoldenFiles, tests: Mapping[str, Path]
) -> ModelCard:
    """Read each test set with the model as it will be shipped, and write that on the card."""
    model = append_card(int8, card, golden.files)
    metrics = dict(card.metrics)
    for name, data in tests.items():
        scores = measure(model, data).scores
        metrics[f"exact_match_{name}"] = round(scores.exact_match, 5)
        metrics[f"character_accuracy_{name}"] = round(scores.character_accuracy, 5)
        log.info("measured test=%s n=%d exact_match=%.4f", name, scores.n, scores.exact_match)
    return replace(card, metrics=metrics)


def _write(out: Path, model: bytes) -> None:
    try:
        with atomic_write(out) as file:
            file.write(model)
    except OSError as error:
        raise OutputError(f"{out} cannot be written: {error.strerror}") from error


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
    epochs = read_json(run / "curves.json")
    return {
        **read_json(run / "provenance.json"),
        "epochs": str(epochs[-1]["epoch"]),
        "training_minutes": f"{epochs[-1]['elapsed_s'] / 60:.1f}",
    }


def parse_tests(values: Iterable[str]) -> dict[str, Path]:
    """Read ``NAME=FOLDER`` options.

    Raises:
        SettingsError: one is of another form.
    """
    tests = {}
    for value in values:
        name, equals, folder = value.partition("=")
        if not (name and equals and folder):
            raise SettingsError("--test", value, "NAME=FOLDER")
        tests[name] = Path(folder)
    return tests

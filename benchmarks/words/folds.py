"""Fine-tune on labelled words by cross-validation: each is read by a model that never saw it."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click
from PIL import Image
from rich.console import Console
from rich.table import Table

from benchmarks.machine import circumstances, write_figures
from benchmarks.words.readers import answers_of, our_reader
from benchmarks.words.sets import Answer, Labelled, score_answers
from contract.errors import FleetError, UserError
from training.config import dump_config
from training.experiment import CheckSet, Experiment, load_experiment
from training.export import ExportOptions, export_run
from training.run_folder import STATE_FILE
from training.train import TrainingOptions, run_training

CONFIG = Path(__file__).parents[2] / "training" / "configs" / "words-folds.yaml"
PACKAGES = ("ai-edge-litert", "keras", "tensorflow", "numpy", "pillow")
ANSWERS_FILE = "answers.json"
ALL = 1_000_000  # images: more than anybody labels
PATHS = click.Path(path_type=Path, exists=True)


@dataclass(frozen=True, slots=True)
class Fold:
    """What was held out of one training, read before by the model and after by what it became."""

    before: list[Answer]
    after: list[Answer]


@click.command()
@click.option("--data", type=PATHS, required=True, help="A folder of words, with labels.tsv.")
@click.option("--model", default="words", show_default=True, help="A shipped name or a file.")
@click.option("--config", type=PATHS, default=CONFIG, help="YAML of each training.")
@click.option("--folds", default=5, show_default=True, type=click.IntRange(2, 50))
@click.option("--fonts", type=PATHS, multiple=True, help="Folders of fonts [the system's].")
@click.option("--hand", type=PATHS, help="EMNIST; without it no handwriting is drawn.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("runs/folds"))
@click.option("--workers", default=os.cpu_count() or 1, help="Processes [default: cores].")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write figures there.")
def main(
    data: Path,
    model: str,
    config: Path,
    folds: int,
    fonts: tuple[Path, ...],
    hand: Path | None,
    out: Path,
    workers: int,
    json_path: Path | None,
) -> None:
    """Train as often as there are folds, each time without one of them, and read that one.

    What was interrupted goes on when the same command is given again.

    \b
    Example:  python -m benchmarks.words.folds --data iiit5k --folds 5 --out runs/folds
    """
    drawn = {"fonts": fonts, "hand": (hand,) if hand else ()}
    joined = {key: ":".join(str(path.absolute()) for path in paths) for key, paths in drawn.items()}
    changed: dict[str, Any] = {"data": {key: paths for key, paths in joined.items() if paths}}
    own = {"folder": str(data.absolute()), "labels": str(data.absolute() / "labels.tsv")}
    done = []
    try:
        for fold in range(folds):
            changed["own"] = {**own, "held_out": 1 / folds, "fold": fold}
            experiment = load_experiment(config, changed)
            if experiment.config.task != "words":
                raise UserError(f"{config} is of the task {experiment.config.task}: give words")
            run = out / f"{Path(model).stem}-{fold}"
            done.append(read_fold(experiment, run, model=model, workers=workers))
    except FleetError as error:
        raise click.ClickException(str(error)) from error
    figures = figures_of(done)
    Console(width=80).print(table_of(figures, model))
    if json_path is not None:
        told = {"model": model, "config": config.name, "folds": figures}
        write_figures(json_path, circumstances("benchmarks.words.folds", PACKAGES) | told)


def read_fold(experiment: Experiment, run: Path, *, model: str, workers: int) -> Fold:
    """Train without a fold and read it, or take what an earlier run of the command left.

    Raises:
        UserError: the folder holds a fold of another recipe, or the images cannot be used.
    """
    written = run / "config.yaml"
    if written.exists() and written.read_text("utf-8") != dump_config(experiment.config):
        raise UserError(f"{run} holds a fold of another configuration: give another --out")
    if (run / ANSWERS_FILE).exists():
        kept = json.loads((run / ANSWERS_FILE).read_text("utf-8"))
        return Fold(**{part: [Answer(**one) for one in answers] for part, answers in kept.items()})
    options = TrainingOptions(
        "python -m benchmarks.words.folds",
        is_resumed=(run / STATE_FILE).exists(),
        workers=workers,
        report=lambda epoch: click.echo(f"{run.name}: {epoch.exact_match:.4f}", err=True),
        start=Path(model),
    )
    run_training(experiment, run, options)
    held, trained = experiment.check_set(ALL), run / "model.tflite"
    export_run(run, trained, ExportOptions(ALL, most_lost=1.0))  # what int8 costs is measured here
    fold = Fold(read_held_out(held, model), read_held_out(held, str(trained)))
    (run / ANSWERS_FILE).write_text(json.dumps(asdict(fold)), encoding="utf-8")
    return fold


def read_held_out(held: CheckSet, model: str) -> list[Answer]:
    """Read what was held out as a worker does."""
    images = [
        Labelled(Image.fromarray(image), text)
        for image, text in zip(held.images, held.texts, strict=True)
    ]
    return answers_of(our_reader(model), images)


def figures_of(folds: Sequence[Fold]) -> dict[str, dict[str, float]]:
    """Find the shares of each fold and of all images together, each read once."""
    whole = Fold(
        [answer for fold in folds for answer in fold.before],
        [answer for fold in folds for answer in fold.after],
    )
    named = {str(number): fold for number, fold in enumerate(folds, start=1)} | {"all": whole}
    return {
        name: {
            "n": len(fold.before),
            "before": _exact(fold.before),
            "after": _exact(fold.after),
            "before_folded": _exact(fold.before, is_folded=True),
            "after_folded": _exact(fold.after, is_folded=True),
        }
        for name, fold in named.items()
    }


def _exact(answers: Sequence[Answer], *, is_folded: bool = False) -> float:
    return round(score_answers(answers, is_folded=is_folded).exact_match, 4)


def table_of(figures: dict[str, dict[str, float]], model: str) -> Table:
    """Lay the figures out for a terminal."""
    table = Table(title=f"Exact match of {model}, fine-tuned without the fold, %")
    for head in ("fold", "images", "before", "after", "before, folded", "after, folded"):
        table.add_column(head, justify="right")
    for name, shares in figures.items():
        n, *cells = shares.values()
        table.add_row(name, f"{n:,.0f}", *(f"{100 * share:.1f}" for share in cells))
    return table


if __name__ == "__main__":
    main()

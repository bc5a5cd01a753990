"""``pifleet train``: the options of each recogniser, and what all of them say."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from contract.errors import UserError
from training.cli import FILE, FOLDER, HOW_ON, READS_NOTHING, WORKERS, cores

if TYPE_CHECKING:
    from training.run_folder import Epoch

START = click.Path(path_type=Path)  # a run's folder, a model's file, or a shipped model's name
CONFIGS = Path(__file__).parent / "configs"


@dataclass(frozen=True, slots=True)
class RunFlags:
    """What the command line of a training says, beside the experiment."""

    resume: bool
    start: Path | None
    workers: int | None
    changed: dict[str, Any] = field(default_factory=dict)
    """What the command line puts in place of the configuration's values."""


@click.group()
def train() -> None:
    """Train a recogniser.

    Example: pifleet train captcha --out runs/captcha
    """


@train.command("captcha")
@click.option("--config", type=FILE, help="YAML of the experiment [default: the shipped model's].")
@click.option("--out", type=FOLDER, default=Path("runs/captcha"), show_default=True)
@click.option("--resume", is_flag=True, help="Go on from where the run in --out stopped.")
@click.option("--start", type=START, help="Begin with the weights of this run or model.")
@click.option("--until", type=click.IntRange(1), help="Stop at this step, to be resumed.")
@click.option("--data", type=FOLDER, help="A folder of images of your own.")
@click.option("--labels", type=FILE, help="Their texts [default: labels.tsv in --data].")
@click.option("--mix", type=click.FloatRange(0, 1, max_open=True), help="Share drawn [0.3].")
@WORKERS
def train_captcha(
    config: Path | None,
    out: Path,
    resume: bool,
    start: Path | None,
    until: int | None,
    data: Path | None,
    labels: Path | None,
    mix: float | None,
    workers: int | None,
) -> None:
    """Train a reader of captcha images.

    Draws its images into OUT/data, then learns them; KERAS_BACKEND chooses the backend.

    With --data it learns labelled images of your own, mixed with drawn ones: LABELS holds a file
    name, a tab and a text a line, or is a CSV of name,text, such as a submission that you have
    corrected. A fifth of them is held out, to measure with before and after.

    \b
    Examples:
      pifleet train captcha --config training/configs/captcha.yaml --out runs/captcha
      pifleet train captcha --data images --labels submission.csv --start captcha --out runs/mine
    """
    changed: dict[str, Any] = {"schedule": {"stop_step": until}} if until else {}
    config = config or CONFIGS / ("captcha.yaml" if data is None else "captcha-own.yaml")
    if data is not None:
        changed |= _own_images(config, data, labels or data / "labels.tsv", start)
        changed["own"] |= {} if mix is None else {"mix": mix}
    elif labels is not None or mix is not None:
        raise click.UsageError("--labels and --mix belong to --data, a folder of your own images")
    _train("captcha", config, out, RunFlags(resume, start, workers, changed))


def _own_images(config: Path, data: Path, labels: Path, start: Path | None) -> dict[str, Any]:
    """Say what learning labelled images changes: the symbols of the start, and those of the labels.

    Raises:
        UserError: the labels cannot be used.
        ModelError: there is no such model to begin with.
    """
    from training.captcha.own_images import new_symbols
    from training.experiment import load_experiment
    from training.run_folder import card_of

    card = load_experiment(config).blank_card() if start is None else card_of(start)
    new = new_symbols(labels, card.symbols)
    if new:
        named = ", ".join(f"{symbol} ({name})" for symbol, name in new.items())
        symbols = f"{len(new)} symbol{'s' if len(new) > 1 else ''}"
        click.echo(f"{labels}: {symbols} that {card.name} does not read yet: {named}", err=True)
    return {
        "own": {"folder": str(data.absolute()), "labels": str(labels.absolute())},
        "data": {
            "symbols": card.symbols + "".join(new),
            "width": card.input.width,
            "height": card.input.height,
        },
    }


@train.command("emnist")
@click.option("--config", type=FILE, help="YAML of the experiment [default: without teachers].")
@click.option("--data", type=click.Path(path_type=Path), help="EMNIST's training part.")
@click.option("--teacher", "teachers", multiple=True, help="A model to learn from; repeatable.")
@click.option("--seed", type=click.IntRange(0), help="In place of the configuration's.")
@click.option("--out", type=FOLDER, default=Path("runs/emnist"), show_default=True)
@click.option("--resume", is_flag=True, help="Go on from where the run in --out stopped.")
@click.option("--start", type=START, help="Begin with the weights of this run or model.")
@WORKERS
def train_emnist(
    config: Path | None,
    data: Path | None,
    teachers: tuple[str, ...],
    seed: int | None,
    out: Path,
    resume: bool,
    start: Path | None,
    workers: int | None,
) -> None:
    """Train a reader of handwritten characters.

    DATA is EMNIST as it is published: the train-images-idx3-ubyte.gz file beside its labels, a CSV
    of Kaggle, an .npz with train_x and train_y, or a folder with a subfolder a character.

    Example: pifleet train emnist --data emnist-balanced-train-images-idx3-ubyte.gz --out runs/1
    """
    changed: dict[str, Any] = {} if seed is None else {"seed": seed}
    if data:
        changed["data"] = {"file": str(data.absolute())}
    if teachers:
        changed["teacher"] = {"models": ", ".join(teachers)}
    flags = RunFlags(resume, start, workers, changed)
    _train("emnist", config or CONFIGS / "emnist-teacher.yaml", out, flags)


@train.command("words")
@click.option("--config", type=FILE, help="YAML of the experiment [default: the shipped model's].")
@click.option("--fonts", type=FOLDER, multiple=True, help="Of fonts; repeatable [the system's].")
@click.option("--words", type=FILE, multiple=True, help="A word list; repeatable [Debian's].")
@click.option("--hand", type=click.Path(path_type=Path), help="EMNIST, for handwriting.")
@click.option("--out", type=FOLDER, default=Path("runs/words"), show_default=True)
@click.option("--resume", is_flag=True, help="Go on from where the run in --out stopped.")
@click.option("--start", type=START, help="Begin with the weights of this run or model.")
@click.option("--data", type=FOLDER, help="A folder of images of your own.")
@click.option("--labels", type=FILE, help="Their texts [default: labels.tsv in --data].")
@click.option("--mix", type=click.FloatRange(0, 1, max_open=True), help="Share drawn [0.3].")
@WORKERS
def train_words(
    config: Path | None,
    fonts: tuple[Path, ...],
    words: tuple[Path, ...],
    hand: Path | None,
    out: Path,
    resume: bool,
    start: Path | None,
    data: Path | None,
    labels: Path | None,
    mix: float | None,
    workers: int | None,
) -> None:
    """Train a reader of words of any length.

    Draws its images into OUT/data, then learns them. With --data it learns labelled images of your
    own, mixed with drawn ones; a fifth of yours is held out, to measure with before and after.

    \b
    Examples:
      pifleet train words --config training/configs/words.yaml --out runs/words
      pifleet train words --start words --data photos --labels labels.tsv --mix 0.3 --out runs/mine
    """
    if data is None and (labels is not None or mix is not None):
        raise click.UsageError("--labels and --mix belong to --data, a folder of your own images")
    drawn = {"fonts": fonts, "words": words, "hand": (hand,) if hand else ()}
    joined = {key: ":".join(str(path.absolute()) for path in paths) for key, paths in drawn.items()}
    changed: dict[str, Any] = {"data": {key: paths for key, paths in joined.items() if paths}}
    if data is not None:
        labels = labels or data / "labels.tsv"
        changed["own"] = {"folder": str(data.absolute()), "labels": str(labels.absolute())}
        changed["own"] |= {} if mix is None else {"mix": mix}
    config = config or CONFIGS / ("words.yaml" if data is None else "words-own.yaml")
    _train("words", config, out, RunFlags(resume, start, workers, changed))


def _train(task: str, config: Path, out: Path, flags: RunFlags) -> None:
    from contract.installing import require
    from training.experiment import load_experiment

    require("keras")  # which is needed after the images were drawn
    from training.train import TrainingOptions, run_training

    command = f"pifleet train {task} --config {config}{_told(flags)}"
    options = TrainingOptions(
        command, flags.resume, flags.workers or cores(), _report_epoch, flags.start
    )
    experiment = load_experiment(config, flags.changed)
    if experiment.config.task != task:
        found = experiment.config.task
        raise UserError(f"{config} is of the task {found}: pifleet train {found}")
    position = run_training(experiment, out, options)
    if position.match_at_start is not None and position.epochs:
        before, after = position.match_at_start, position.epochs[-1].exact_match
        told = f"{100 * before:.2f} % before, {100 * after:.2f} % after"
        click.echo(f"{out}: exact match on images that it was not trained on: {told}")
    if position.epochs and position.epochs[-1].exact_match < READS_NOTHING:
        click.echo(f"{out}: trained, but it reads 0.00 % of what it was not trained on; {HOW_ON}")
        return
    click.echo(f"{out}: trained; next: pifleet export {out} -o {experiment.config.name}.tflite")


def _told(flags: RunFlags) -> str:
    """Repeat the flags that a run depends on, files by their names alone."""
    changed = flags.changed
    told = f" --seed {changed['seed']}" if "seed" in changed else ""
    data = changed.get("data", {})
    told += f" --data {Path(data['file']).name}" if "file" in data else ""
    for key in ("fonts", "words", "hand"):
        told += "".join(
            f" --{key} {Path(part).name}" for part in data.get(key, "").split(":") if part
        )
    teachers = changed.get("teacher", {"models": ""})["models"].split(", ")
    told += "".join(f" --teacher {Path(name).name}" for name in teachers if name)
    told += f" --until {changed['schedule']['stop_step']}" if "schedule" in changed else ""
    if "own" in changed:
        own = changed["own"]
        told += f" --data {Path(own['folder']).name} --labels {Path(own['labels']).name}"
        told += f" --mix {own['mix']:g}" if "mix" in own else ""
    return told + (f" --start {flags.start.name}" if flags.start else "")


def _report_epoch(epoch: Epoch) -> None:
    figures = f"loss {epoch.loss:.4f}, exact match {100 * epoch.exact_match:.2f} %"
    pace = f"reads {epoch.reading_per_s:,.0f} and learns {epoch.learning_per_s:,.0f} images/s"
    minutes = epoch.elapsed_s / 60
    click.echo(f"epoch {epoch.epoch}: {figures}, {pace}, {minutes:.1f} min", err=True)

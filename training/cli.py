"""The commands of training: generate, train, evaluate, export. ``pifleet`` loads them lazily."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from contract.errors import UserError
from recognition.charset import CAPTCHA_SYMBOLS, parse_symbols

if TYPE_CHECKING:
    from training.run_folder import Epoch


@dataclass(frozen=True, slots=True)
class RunFlags:
    """What the command line of a training says, beside the experiment."""

    resume: bool
    start: Path | None
    workers: int | None
    changed: dict[str, Any] = field(default_factory=dict)
    """What the command line puts in place of the configuration's values."""


FOLDER = click.Path(path_type=Path, file_okay=False)
FILE = click.Path(path_type=Path, dir_okay=False)
START = click.Path(path_type=Path)  # a run's folder, a model's file, or a shipped model's name
CONFIGS = Path(__file__).parent / "configs"
READS_NOTHING = 0.00005  # of exact match: what is written as 0.00 %
HOW_ON = "train it longer (epochs, budget_minutes), or begin with a model that reads: --start"
WORKERS = click.option("--workers", type=click.IntRange(1), help="Processes [default: cores].")


@click.group()
def generate() -> None:
    """Draw a data set.

    Example: pifleet generate captcha -n 1000 -o images --seed 1
    """


@generate.command("captcha")
@click.option("-n", "n", type=click.IntRange(1), required=True, help="Images to draw.")
@click.option("-o", "--out", type=FOLDER, required=True, help="A new or empty folder.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option("--preset", default="0.7.1", show_default=True, help="Release to draw like.")
@click.option("--symbols", default=CAPTCHA_SYMBOLS, show_default=True, help="Or a preset.")
@click.option("--min-length", type=int, default=1, show_default=True)
@click.option("--max-length", type=int, default=6, show_default=True)
@click.option("--size", default="128x64", show_default=True, help="WIDTHxHEIGHT in pixels.")
@click.option("--fonts", type=FOLDER, help="Draw with the fonts in this folder.")
@click.option("--font-size", "font_sizes", type=int, multiple=True, help="Px; may be repeated.")
@click.option("--packed", is_flag=True, help="Grey images in .npy arrays, not PNG files.")
@WORKERS
def generate_captcha(
    n: int,
    out: Path,
    seed: int,
    preset: str,
    symbols: str,
    min_length: int,
    max_length: int,
    size: str,
    fonts: Path | None,
    font_sizes: tuple[int, ...],
    packed: bool,
    workers: int | None,
) -> None:
    """Draw images as a release of the captcha library does, and labels.tsv (file, text).

    The same seed gives the same images, whatever the number of workers.

    Example: pifleet generate captcha -n 192000 -o images --seed 1 --preset 0.3
    """
    from training.captcha.drawer import parse_size
    from training.captcha.glyphs import FONT_SIZES, find_fonts
    from training.captcha.samples import CaptchaSet, draw_new_set

    captcha_set = CaptchaSet(
        seed=seed,
        presets={preset: 1.0},
        symbols=parse_symbols(symbols) or "",
        min_length=min_length,
        max_length=max_length,
        size=parse_size(size),
        fonts=find_fonts(fonts) if fonts else (),
        font_sizes=font_sizes or FONT_SIZES,
    )
    seconds = draw_new_set(captcha_set, out, n=n, is_packed=packed, workers=workers or _cores())
    click.echo(f"{out}: {n} images, {n / seconds:.0f} images/s")


@generate.command("words")
@click.option("-n", "n", type=click.IntRange(1), required=True, help="Images to draw.")
@click.option("-o", "--out", type=FOLDER, required=True, help="A new or empty folder.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option("--fonts", type=FOLDER, multiple=True, help="Of fonts; repeatable [the system's].")
@click.option("--words", type=FILE, multiple=True, help="A word list; repeatable [Debian's].")
@click.option("--texts", type=FILE, help="Write these texts, one a line, and no others.")
@click.option("--hand", type=click.Path(path_type=Path), help="EMNIST, for handwriting.")
@click.option("--kind", "kinds", multiple=True, help="Draw texts of this kind only; repeatable.")
@click.option("--cells", type=click.FloatRange(0, 1), help="Share of codes in boxes [0.3].")
@click.option("--hardness", type=click.FloatRange(0, 1), default=1.0, show_default=True)
@click.option("--held-out", is_flag=True, help="With fonts and texts that training never sees.")
@click.option("--sheet", type=FILE, help="Draw a contact sheet of the first 144 into this PNG.")
@click.option("--packed", is_flag=True, help="Grey images in arrays, not PNG files.")
@WORKERS
def generate_words(
    n: int,
    out: Path,
    fonts: tuple[Path, ...],
    words: tuple[Path, ...],
    sheet: Path | None,
    workers: int | None,
    packed: bool,
    **described: Any,
) -> None:
    """Draw images of words, labels.tsv (file, text) and annotations.jsonl.

    A line of the annotations holds file, text, kind, font, what is drawn around the letters, and
    the box of each: left, top, right, bottom in px. An image without text stands in them alone. The
    same seed, fonts and word lists give the same images, whatever the number of workers.

    \b
    Examples:
      pifleet generate words -n 1000 -o words --seed 1 --sheet words.png
      pifleet generate words -n 5000 -o forms --kind code --cells 1 --held-out
    """
    from contract.settings import Settings
    from training.words.draw_set import Wanted, draw_new_set, word_set_of
    from training.words.samples import draw_sample
    from training.words.sheet import write_sheet

    _check_outputs(sheet, reads=[])
    workers, kept = workers or _cores(), Settings.from_env(os.environ).cache_dir
    wanted = Wanted(fonts=fonts, words=words, **described)
    word_set = word_set_of(wanted, workers=workers, kept=kept)
    seconds = draw_new_set(word_set, out, n=n, is_packed=packed, workers=workers)
    click.echo(f"{out}: {n} images, {n / seconds:.0f} images/s, {word_set.told}")
    if sheet:
        write_sheet((draw_sample(word_set, index).image for index in range(n)), sheet)


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


@click.command()
@click.argument("run", type=FOLDER)
@click.option("-o", "--out", type=FILE, required=True, help="The .tflite file to write.")
@click.option("--test", "tests", multiple=True, metavar="NAME=FOLDER", help="Measure for the card.")
@click.option("--check-images", type=click.IntRange(1), default=10_000, show_default=True)
@click.option("--most-lost", default=0.3, show_default=True, help="Points that int8 may cost.")
def export(
    run: Path, out: Path, tests: tuple[str, ...], check_images: int, most_lost: float
) -> None:
    """Turn RUN, a folder that `train` wrote, into a model file with its card.

    Example: pifleet export runs/captcha -o captcha.tflite --test 0.7.1=test-0.7.1
    """
    from training.export import ExportOptions, export_run, parse_tests

    _check_outputs(out, reads=[run])
    options = ExportOptions(check_images, parse_tests(tests), most_lost / 100)
    card = export_run(run, out, options)
    for name, value in card.metrics.items():
        click.echo(f"{name}\t{value}")
        if name.startswith("exact_match_") and value < READS_NOTHING:
            click.echo(f"warning: {name} is 0.00 %: this model reads nothing; {HOW_ON}", err=True)
    click.echo(f"{out}: {out.stat().st_size} bytes; next: pifleet models verify {out}")


@click.command()
@click.argument("model")
@click.argument("data", type=click.Path(path_type=Path), required=False)
@click.option("--library", metavar="RELEASE", help="Let this release of captcha draw the images.")
@click.option("-n", "n", type=click.IntRange(1), default=10_000, help="With --library [10000].")
@click.option("--seed", type=click.IntRange(0), default=0, help="With --library [0].")
@click.option("--symbols", help="Allow these only, or a preset [default: all the model's].")
@click.option("--json", "as_json", is_flag=True, help="All figures as JSON.")
@click.option("--plot", type=FILE, help="Draw the figures into this PNG.")
@click.option("--confusions", type=FILE, help="Draw who is taken for whom into this PNG.")
@click.option("--mistakes", type=FILE, help="Draw the most confident mistakes into this PNG.")
def evaluate(
    model: str,
    data: Path | None,
    library: str | None,
    n: int,
    seed: int,
    symbols: str | None,
    as_json: bool,
    plot: Path | None,
    confusions: Path | None,
    mistakes: Path | None,
) -> None:
    """Measure MODEL on DATA, or on images that the captcha library draws.

    MODEL is the name of a shipped model, or a .tflite file. DATA is a folder with labels.tsv, a
    packed set, or EMNIST in a form that it is published in. With --library, the unmodified release
    0.3, 0.5.0, 0.7.0 or 0.7.1 draws N images in an environment of its own; both are kept in the
    cache. Release 0.7.1 cannot be seeded: there the seed stands for the texts alone.

    \b
    Examples:
      pifleet evaluate captcha --library 0.7.1 -n 10000 --seed 1 --plot figures.png
      pifleet evaluate emnist validation.npz
    """
    from rich.console import Console

    from contract.settings import Settings
    from recognition.model_file import load_model
    from training.measuring import report
    from training.measuring.evaluation import measure
    from training.measuring.library import drawn_set, set_for

    _check_outputs(plot, confusions, mistakes, reads=[Path(model), data])
    file, symbols = load_model(model), parse_symbols(symbols)
    if library is not None:
        if data is not None:
            raise UserError(f"--library draws its own images: leave {data} out")
        wanted = set_for(file.card, release=library, n=n, seed=seed, allowed=symbols)
        settings = Settings.from_env(os.environ)
        data = drawn_set(wanted, settings.cache_dir, workers=os.cpu_count() or 1)
    if data is None:
        raise UserError("nothing to measure on: give DATA, or --library RELEASE")
    found = measure(file.data, data, allowed=symbols)
    for path, write in (
        (plot, report.write_scores),
        (confusions, report.write_confusions),
        (mistakes, report.write_mistakes),
    ):
        if path is not None:
            write(found, path)
    if as_json:
        click.echo(report.to_json(found))
    else:
        Console().print(report.to_table(found))


def _check_outputs(*outputs: Path | None, reads: list[Path | None]) -> None:
    from contract.files import check_output

    for output in outputs:
        if output is not None:
            check_output(output, reads=[path for path in reads if path is not None])


def _train(task: str, config: Path, out: Path, flags: RunFlags) -> None:
    from contract.installing import require
    from training.experiment import load_experiment

    require("keras")  # which is needed after the images were drawn
    from training.train import TrainingOptions, run_training

    command = f"pifleet train {task} --config {config}{_told(flags)}"
    options = TrainingOptions(
        command, flags.resume, flags.workers or _cores(), _report_epoch, flags.start
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


def _cores() -> int:
    return os.cpu_count() or 1

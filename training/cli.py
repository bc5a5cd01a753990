"""The commands around a training: generate, evaluate, export. ``pifleet`` loads them lazily."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from contract.errors import UserError
from recognition.charset import CAPTCHA_SYMBOLS, parse_symbols

if TYPE_CHECKING:
    from training.words.wanted import Form


FOLDER = click.Path(path_type=Path, file_okay=False)
FILE = click.Path(path_type=Path, dir_okay=False)
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
    seconds = draw_new_set(captcha_set, out, n=n, is_packed=packed, workers=workers or cores())
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
@click.option("--tfrecord", is_flag=True, help="Images and annotations in words.tfrecord.")
@WORKERS
def generate_words(
    n: int,
    out: Path,
    fonts: tuple[Path, ...],
    words: tuple[Path, ...],
    sheet: Path | None,
    workers: int | None,
    packed: bool,
    tfrecord: bool,
    **described: Any,
) -> None:
    """Draw images of words, labels.tsv (file, text) and annotations.jsonl.

    A line of the annotations holds file, text, kind, font, what is drawn around the letters, and
    the box of each: left, top, right, bottom in px. An image without text stands in them alone.
    With --tfrecord all of it is in words.tfrecord, an Example each. The same seed, fonts and word
    lists give the same images, whatever the number of workers.

    \b
    Examples:
      pifleet generate words -n 1000 -o words --seed 1 --sheet words.png
      pifleet generate words -n 5000 -o forms --kind code --cells 1 --held-out
    """
    from contract.installing import require
    from contract.settings import Settings
    from training.words.samples import draw_sample
    from training.words.sheet import write_sheet
    from training.words.wanted import Wanted, draw_new_set, word_set_of

    if packed and tfrecord:
        raise click.UsageError("--packed and --tfrecord are two forms of a set: give one")
    if tfrecord:
        require("tensorflow")  # before half a minute of looking at fonts
    _check_outputs(sheet, reads=[])
    form: Form = "packed" if packed else "tfrecord" if tfrecord else "files"
    workers, kept = workers or cores(), Settings.from_env(os.environ).cache_dir
    wanted = Wanted(fonts=fonts, words=words, **described)
    word_set = word_set_of(wanted, workers=workers, kept=kept)
    seconds = draw_new_set(word_set, out, n=n, form=form, workers=workers)
    click.echo(f"{out}: {n} images, {n / seconds:.0f} images/s, {word_set.told}")
    if sheet:
        write_sheet((draw_sample(word_set, index).image for index in range(n)), sheet)


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


def cores() -> int:
    """Count the cores of this machine."""
    return os.cpu_count() or 1

"""Commands of the worker: worker, classify."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from contract.exit_codes import SOME_FAILED
from contract.settings import Settings

if TYPE_CHECKING:
    from workers.classify import Answer, AnswerFormat, AnswerStyle


@click.command()
@click.option(
    "--concurrency",
    type=click.IntRange(1, 256),
    help="Chunks read at once; default three a core, fewer where memory is small.",
)
@click.option("--name", help="Default PIFLEET_WORKER_NAME, then the host's name.")
@click.option("--redis-url", help="Broker; default PIFLEET_REDIS_URL, then 127.0.0.1:6379.")
@click.option("-v", "--verbose", count=True, help="Log each step.")
@click.option("-q", "--quiet", count=True, help="Log trouble only.")
def worker(
    concurrency: int | None, name: str | None, redis_url: str | None, verbose: int, quiet: int
) -> None:
    """Read chunks of images for the fleet, until SIGTERM or Ctrl-C.

    What is in hand is finished first; a second Ctrl-C drops it, and the fleet reads it elsewhere.

    \b
    Example:  pifleet worker --redis-url redis://:secret@192.168.1.10:6379/0
    """
    from workers.worker import configure_logging, run_worker

    configure_logging(verbose - quiet)
    settings = Settings.from_env(os.environ, redis_url=redis_url)
    if name:
        settings = replace(settings, worker_name=name)
    sys.exit(run_worker(settings, processes=concurrency))


@click.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--model", default="captcha", show_default=True, help="Shipped name, or a path.")
@click.option("--symbols", help="All that may be written, or a preset; default all the model's.")
@click.option("--pattern", help="That each text matches as a whole: '[A-Z]{4}[0-9]{2}'.")
@click.option(
    "--lexicon",
    type=click.Path(path_type=Path, dir_okay=False),
    help="A file of words, one a line: each text is one of them.",
)
@click.option("--capitalise", is_flag=True, help="Write letters in upper case.")
@click.option(
    "--code-points/--no-code-points",
    default=None,
    help="Name each text's code points, U+0041; default with models of single characters.",
)
@click.option("--confidence", is_flag=True, help="Write it behind each text, too.")
@click.option(
    "--csv",
    "csv_path",
    type=click.Path(path_type=Path),
    help="Write name,text there, and what failed beside it: out.csv, out.failures.csv.",
)
@click.option(
    "--format",
    "how",
    type=click.Choice(["text", "csv", "json"]),
    default="text",
    show_default=True,
    help="Of what is printed; json is one object an image.",
)
@click.option("--json", "how", flag_value="json", help="Short for --format json.")
def classify(
    paths: tuple[Path, ...],
    model: str,
    symbols: str | None,
    pattern: str | None,
    lexicon: Path | None,
    capitalise: bool,
    code_points: bool | None,
    confidence: bool,
    csv_path: Path | None,
    how: AnswerFormat,
) -> None:
    """Read files and folders here, without any queue: name, tab, text.

    With a model of single characters each image holds one, photographed or drawn, dark on light
    or light on dark, of any size; its code point follows.

    Images that cannot be read have no text, and their reason on stderr; the exit code is 1 then.

    \b
    Example:  pifleet classify images/ --csv out.csv
              pifleet classify letters/ --model emnist --capitalise
              pifleet classify codes/ --pattern '[A-Z]{2}[0-9]{4}' --csv out.csv --confidence
    """
    from recognition.charset import parse_symbols
    from recognition.constraint import Demand, make_constraint
    from recognition.model_file import load_model
    from workers.classify import AnswerStyle, classify_files, find_images

    _check_outputs(csv_path, reads=[*paths, Path(model), *([lexicon] if lexicon else [])])
    found = load_model(model)
    images, symbols = find_images(paths), parse_symbols(symbols)
    accepted = make_constraint(found.card, Demand(symbols, pattern, lexicon))
    if accepted.told:
        click.echo(accepted.told, err=True)
    reading = classify_files(images, found.data, symbols=symbols, automaton=accepted.automaton)
    answers = list(_shown(reading, total=len(images)))
    if code_points is None:
        code_points = found.card.reads_one_symbol
    style = AnswerStyle(capitalise=capitalise, code_points=code_points, confidence=confidence)
    _write(answers, csv_path, how, style)
    _end_with_failures(answers)


def _check_outputs(csv_path: Path | None, *, reads: list[Path]) -> None:
    from contract.files import check_output, failures_path

    if csv_path is not None:
        check_output(csv_path, reads=reads)
        check_output(failures_path(csv_path), reads=reads)


def _shown(answers: Iterable[Answer], *, total: int) -> Iterable[Answer]:
    """Show progress on a terminal, and nothing elsewhere."""
    hidden = not sys.stderr.isatty()
    with click.progressbar(answers, length=total, file=sys.stderr, hidden=hidden) as shown:
        yield from shown


def _write(
    answers: list[Answer], csv_path: Path | None, how: AnswerFormat, style: AnswerStyle
) -> None:
    from contract.files import failures_path, write_rows
    from workers.classify import FAILURE_COLUMNS, answer_fields, failure_fields, format_answers

    if csv_path is not None:
        failed = [failure_fields(answer) for answer in answers if answer.row.reason is not None]
        write_rows(csv_path, (answer_fields(answer, style) for answer in answers))
        write_rows(failures_path(csv_path), failed, header=FAILURE_COLUMNS)
        return
    for line in format_answers(answers, how, style):
        click.echo(line, nl=False)


def _end_with_failures(answers: list[Answer]) -> None:
    failed = [answer for answer in answers if answer.row.reason is not None]
    for answer in failed:
        detail = f" ({answer.row.detail})" if answer.row.detail else ""
        click.echo(f"{answer.name}: {answer.row.reason}{detail}", err=True)
    if failed:
        click.echo(f"{len(failed)} of {len(answers)} images could not be read", err=True)
        sys.exit(SOME_FAILED)

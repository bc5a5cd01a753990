"""The command symbols: which symbols a set of images really holds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from producer.symbols.table import Findings


@click.command()
@click.argument("source", type=click.Path(path_type=Path))
@click.option("--images", type=click.Path(path_type=Path), help="The folder that was read.")
@click.option("--sheet", type=click.Path(path_type=Path), help="A PNG of the images that decide.")
@click.option("--model", help="It was read with; default the ledger's own, else captcha.")
@click.option("--symbols", "allowed", help="It was read with; default the ledger's, else all.")
@click.option(
    "--scores",
    type=click.Path(path_type=Path),
    help="How the model misreads, of `pifleet evaluate --json`; default a broad guess.",
)
@click.option("--json", "as_json", is_flag=True, help="For machines.")
def symbols(
    source: Path,
    images: Path | None,
    sheet: Path | None,
    model: str | None,
    allowed: str | None,
    scores: Path | None,
    as_json: bool,
) -> None:
    """Say which symbols the images of a submission or a ledger hold, and which are misread.

    Ends with the --symbols for the next job. Doubtful symbols stay in it.

    \b
    Example:  pifleet symbols submission.csv --images images/ --sheet sheet.png
    """
    from contract.files import check_output
    from producer.symbols.discovery import find_symbols
    from producer.symbols.texts import read_submission
    from recognition.charset import parse_symbols

    if sheet is not None and images is None:
        raise click.UsageError("--sheet shows images: give their folder with --images")
    if sheet is not None:
        check_output(sheet, reads=[path for path in (source, images, scores) if path is not None])
    read = read_submission(source, model=model, allowed=parse_symbols(allowed))
    findings = find_symbols(read, scores=scores, images=images, sheet=sheet)
    _print(findings, as_json=as_json)
    if sheet is not None:
        click.echo(f"sheet: {sheet}", err=True)


def _print(findings: Findings, *, as_json: bool) -> None:
    from rich.console import Console

    from producer.symbols.table import symbols_flag, symbols_json, symbols_table

    if as_json:
        click.echo(json.dumps(symbols_json(findings), indent=1, ensure_ascii=False))
        return
    Console().print(symbols_table(findings))
    click.echo(symbols_flag(findings))

"""The end of a job: one submission CSV, and beside it the failures with their reasons."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from contract.errors import LedgerError, OutputError, SettingsError
from contract.files import check_output, failures_path, write_rows
from producer.job.store import Ledger
from recognition.charset import capitalise

COLUMNS = {
    "name": "name",
    "text": "text",
    "confidence": "confidence",
    "reason": "reason",
    "worker": "worker",
    "attempts": "attempts",
    "url": "url",
    "index": "idx",
}
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
SOURCE_FILE_KEY = "source_file"  # where the source was, so that it is never overwritten
OUTPUT_KEY = "output"  # the submission's file name
FAILURE_COLUMNS = ("name", "url", "reason", "detail", "attempts")


@dataclass(frozen=True, slots=True)
class Layout:
    """What the submission looks like.

    Attributes:
        columns: some of ``COLUMNS``; with the default two, a job that is run again gives the same
            bytes, whatever happened on the way.
        header: whether the first row names the columns.
        first_line: a line before everything else, such as a user name; None for none.
        is_spreadsheet_safe: whether a copy is written beside it that a spreadsheet may open.
        capitalise: whether letters of the texts are folded to upper case; the ledger keeps them.
    """

    columns: tuple[str, ...] = ("name", "text")
    header: bool = False
    first_line: str | None = None
    is_spreadsheet_safe: bool = False
    capitalise: bool = False


def parse_columns(value: str) -> tuple[str, ...]:
    """Parse ``--columns``.

    Raises:
        SettingsError: a column is unknown, named twice, or there is none.
    """
    columns = tuple(part.strip() for part in value.split(",") if part.strip())
    if not columns or len(set(columns)) < len(columns) or not set(columns) <= COLUMNS.keys():
        raise SettingsError("--columns", value, "some of " + ", ".join(COLUMNS) + ", each once")
    return columns


def check_line(value: str | None) -> str | None:
    """Check ``--first-line``.

    Raises:
        SettingsError: it is more than one line, which whoever reads the CSV takes for rows.
    """
    if value is not None and "".join(value.splitlines()) != value:
        raise SettingsError("--first-line", value, "one line, without a line break")
    return value


def keep_layout(ledger: Ledger, layout: Layout) -> None:
    """Note the layout in the ledger, for whoever ends the job."""
    ledger.put("layout", json.dumps(asdict(layout)))


def load_layout(ledger: Ledger) -> Layout:
    """Read the layout that a job was submitted with.

    Raises:
        LedgerError: the note is damaged.
    """
    try:
        fields = json.loads(ledger.get("layout") or "{}")
        if "columns" in fields:
            fields["columns"] = tuple(fields["columns"])
        return Layout(**fields)
    except (ValueError, TypeError) as error:
        raise LedgerError(f"ledger {ledger.path} is damaged: layout: {error}") from error


def ledger_path(output: Path) -> Path:
    """Name the ledger of a submission: ``submission.ledger``."""
    return output.with_name(output.stem + ".ledger")


def spreadsheet_path(output: Path) -> Path:
    """Name the copy that a spreadsheet may open: ``submission.spreadsheet.csv``."""
    return output.with_name(output.stem + ".spreadsheet.csv")


def corrections_path(output: Path) -> Path:
    """Name what a person said of a submission's images: ``submission.corrections.jsonl``."""
    return output.with_name(output.stem + ".corrections.jsonl")


def corrected_path(output: Path) -> Path:
    """Name the submission with these corrections: ``submission.corrected.csv``."""
    return output.with_name(output.stem + ".corrected.csv")


def check_outputs(output: Path, *, reads: Iterable[Path] = ()) -> None:
    """Refuse a submission that would overwrite its source, its model or a ledger.

    Args:
        output: the submission's CSV; failures and ledger lie beside it.
        reads: files and folders that the job is made of.

    Raises:
        OutputError: as ``contract.files.check_output``; or it has a ledger's suffix.
    """
    known = list(reads)
    check_output(output, reads=known)
    if output == ledger_path(output):
        raise OutputError(f"{output} would be the ledger: name a CSV")
    failures = failures_path(output)
    for path in (failures, spreadsheet_path(output), spreadsheet_path(failures)):
        check_output(path, reads=known)


def source_files(ledger: Ledger) -> list[Path]:
    """Name the file or folder that a job's source was, if it was one."""
    noted = ledger.get(SOURCE_FILE_KEY)
    return [Path(noted)] if noted else []


def spreadsheet_safe(cell: str) -> str:
    """Keep a spreadsheet from taking a text for a formula, which may send data away.

    Source: OWASP, CSV injection.
    """
    return "'" + cell if cell.startswith(FORMULA) else cell


def write_submission(ledger: Ledger, output: Path, layout: Layout) -> None:
    """Write the submission and the failures, each under a temporary name first.

    The submission is exactly what was read. What a spreadsheet may open is another file.

    Raises:
        OutputError: one of them cannot be written, or would overwrite the source.
    """
    write_texts(ledger, output, layout, {})
    write_rows(failures_path(output), _failures(ledger), header=FAILURE_COLUMNS)
    if layout.is_spreadsheet_safe:
        copy = spreadsheet_path(failures_path(output))
        write_rows(copy, _safe(_failures(ledger)), header=FAILURE_COLUMNS)


def write_texts(ledger: Ledger, output: Path, layout: Layout, corrected: Mapping[str, str]) -> None:
    """Write the submission alone.

    Args:
        ledger: of the job.
        output: the file.
        layout: of it.
        corrected: text by name of what a person looked at; its confidence is 1.

    Raises:
        OutputError: it cannot be written, or would overwrite the source.
    """
    check_outputs(output, reads=source_files(ledger))
    header = layout.columns if layout.header else None
    rows = partial(_rows, ledger, layout, corrected)
    write_rows(output, rows(), first_line=layout.first_line, header=header)
    if layout.is_spreadsheet_safe:
        first = None if layout.first_line is None else spreadsheet_safe(layout.first_line)
        write_rows(spreadsheet_path(output), _safe(rows()), first_line=first, header=header)


def _failures(ledger: Ledger) -> Iterator[list[str]]:
    return ledger.rows(FAILURE_COLUMNS, only_failed=True)


def _safe(rows: Iterator[list[str]]) -> Iterator[list[str]]:
    return ([spreadsheet_safe(cell) for cell in row] for row in rows)


def _rows(ledger: Ledger, layout: Layout, corrected: Mapping[str, str]) -> Iterator[list[str]]:
    columns = layout.columns
    if not corrected and not layout.capitalise:
        yield from ledger.rows([COLUMNS[column] for column in columns])
        return
    for name, *row in ledger.rows(["name", *(COLUMNS[column] for column in columns)]):
        cells = dict(zip(columns, row, strict=True))
        if name in corrected:
            cells |= {"text": corrected[name], "confidence": "1.0"}
        if layout.capitalise and "text" in cells:
            cells["text"] = capitalise(cells["text"])
        yield [cells[column] for column in columns]

"""The texts that a submission or a ledger holds, with their confidences if it says them."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from contract.errors import SourceError
from producer.job.store import Ledger
from recognition.decoding import make_decoder
from recognition.model_file import ModelFile, load_model, parse_model

SQLITE = b"SQLite format 3\0"  # how a ledger begins
DEFAULT_COLUMNS = ("name", "text", "confidence")  # of a submission without a header


@dataclass(frozen=True, slots=True)
class NamedText:
    """What was read in one image; the confidence is None where the file does not say it."""

    name: str
    text: str
    confidence: float | None = None


@dataclass(frozen=True, slots=True)
class ReadTexts:
    """All that was read, and with what.

    Attributes:
        source: the file.
        texts: those that are not empty.
        unread: images without a text.
        model: that they were read with.
        allowed: the symbols that could be written.
    """

    source: Path
    texts: tuple[NamedText, ...]
    unread: int
    model: ModelFile
    allowed: str

    @property
    def counts(self) -> dict[str, int]:
        """How often each symbol was read that could be, zeros included."""
        found = Counter("".join([one.text for one in self.texts]))
        return {symbol: found[symbol] for symbol in self.allowed}


def read_submission(path: Path, *, model: str | None, allowed: str | None) -> ReadTexts:
    """Read a submission, or a ledger, which knows itself what it was read with.

    Args:
        path: of either.
        model: that a submission was read with, a shipped name or a path; None for ``captcha``.
        allowed: the symbols that it was read with; None for all of the model's.

    Raises:
        SourceError: it is neither, holds no text, or has a symbol that could not be written.
    """
    try:
        with path.open("rb") as file:
            is_ledger = file.read(len(SQLITE)) == SQLITE
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror}") from error
    if is_ledger:
        with Ledger(path, read_only=True) as ledger:
            rows = list(ledger.rows(DEFAULT_COLUMNS))
            allowed = allowed or ledger.spec.symbols
            found = load_model(model) if model else parse_model(ledger.model)
    else:
        rows = _csv_rows(path)
        found = load_model(model or "captcha")
    make_decoder(found.card, allowed)  # refuses what the model cannot write
    return _checked(path, rows, found, allowed or found.card.symbols)


def _checked(
    path: Path, rows: Sequence[Sequence[str]], model: ModelFile, allowed: str
) -> ReadTexts:
    texts = tuple(_named(row) for row in rows if row[1])
    if not texts:
        raise SourceError(f"{path} holds no text: nothing was read, or it is no submission")
    for one in texts:
        unknown = set(one.text).difference(allowed)
        if unknown:
            raise SourceError(
                f"{path} has {min(unknown)!r} in the text of {one.name}, which {model.card.name}"
                " could not write: give the model with --model, or its symbols with --symbols"
            )
    return ReadTexts(path, texts, len(rows) - len(texts), model, allowed)


def _named(row: Sequence[str]) -> NamedText:
    confidence = row[2] if len(row) > 2 else ""
    return NamedText(row[0], row[1], float(confidence) if confidence else None)


def _csv_rows(path: Path) -> list[list[str]]:
    """Take name, text and, if there is one, confidence of each row."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = [row for row in csv.reader(file) if row]
    except (UnicodeDecodeError, csv.Error) as error:
        raise SourceError(f"{path} is no submission: it is no CSV in UTF-8") from error
    if len(rows) > 1 and len(rows[0]) == 1 < len(rows[1]):
        del rows[0]  # --first-line, a user's name say
    if not rows:
        raise SourceError(f"{path} is empty: give a submission, name,text")
    columns = _columns(path, rows)
    width = max(columns.values()) + 1
    for number, row in enumerate(rows, start=1):
        if len(row) < width:
            raise SourceError(f"{path} is no submission: row {number} has no name,text: {row}")
    chosen = [columns[name] for name in DEFAULT_COLUMNS if name in columns]
    return [[row[column] for column in chosen] for row in rows]


def _columns(path: Path, rows: list[list[str]]) -> Mapping[str, int]:
    """Find the columns by the header, which is taken off, or by the default order."""
    first = rows[0]
    if "name" in first and "text" in first:
        del rows[0]
        return {
            name: first.index(name)
            for name in DEFAULT_COLUMNS
            if name in first and (name != "confidence" or _are_shares(rows, first.index(name)))
        }
    if len(first) < 2:
        raise SourceError(f"{path} is no submission: row 1 has no name,text: {first}")
    if len(first) == 3 and _are_shares(rows, 2):
        return {"name": 0, "text": 1, "confidence": 2}
    if len(first) > 2:
        raise SourceError(
            f"{path} has {len(first)} columns and no header: write it with --header, or name,text"
        )
    return {"name": 0, "text": 1}


def _are_shares(rows: Sequence[Sequence[str]], column: int) -> bool:
    """Return whether a column holds confidences: numbers from 0 to 1, or nothing."""
    try:
        return all(0 <= float(row[column] or 0) <= 1 for row in rows)
    except (ValueError, IndexError):
        return False

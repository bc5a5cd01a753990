"""Write the CSV that a person takes away: whole or not at all, the same bytes every time."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import IO

from contract.errors import OutputError

QUOTED = frozenset(',"\r\n')  # all that RFC 4180 wants quoted


def write_rows(
    path: Path,
    rows: Iterable[Sequence[str]],
    *,
    first_line: str | None = None,
    header: Sequence[str] | None = None,
) -> int:
    """Write rows under a temporary name in the same folder, then rename.

    Args:
        path: where the file shall stand; an older one is replaced in one step.
        rows: the fields of each row, in the order in which they shall stand.
        first_line: a line of its own before everything else, such as a user's name.
        header: the names of the columns; None writes none.

    Returns:
        The number of rows written, the first line and the header not among them.

    Raises:
        OutputError: the folder is missing or not writable, or the disk is full.

    Source: RFC 4180, except that lines end with LF and fields are quoted only where they must be.
    """
    try:
        with NamedTemporaryFile(
            "w",
            encoding="utf-8",
            newline="",
            dir=path.parent,
            prefix=f".{path.name}.",
            delete=False,
        ) as file:
            return _fill(file, path, rows, first_line, header)
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror or error}") from error


def format_row(fields: Sequence[str]) -> str:
    """Give one line of CSV, with its LF."""
    return ",".join([_field(field) for field in fields]) + "\n"


def _fill(
    file: IO[str],
    path: Path,
    rows: Iterable[Sequence[str]],
    first_line: str | None,
    header: Sequence[str] | None,
) -> int:
    """Write the open temporary file and rename it; it is gone whatever happens."""
    temporary = Path(file.name)
    count = 0
    try:
        if first_line is not None:
            file.write(first_line + "\n")
        if header is not None:
            file.write(format_row(header))
        for row in rows:
            file.write(format_row(row))
            count += 1
        file.flush()
        os.fsync(file.fileno())  # a power cut after the rename must not leave an empty file
        temporary.chmod(0o666 & ~_umask())  # NamedTemporaryFile gives 0600
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return count


def _field(text: str) -> str:
    if QUOTED.isdisjoint(text):
        return text
    return '"' + text.replace('"', '""') + '"'


def _umask() -> int:
    """Give the process's umask; the only way to read it is to set it."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask

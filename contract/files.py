"""Files that appear whole or not at all: any file, and the CSV that a person takes away."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import IO

from contract.errors import OutputError

QUOTED = frozenset(',"\r\n')  # all that RFC 4180 wants quoted
SECRET_MODE = 0o600
SPECIAL = "is a device or a pipe"
SQLITE = b"SQLite format 3\0"  # how a ledger begins


@contextmanager
def atomic_write(path: Path, *, is_secret: bool = False) -> Iterator[IO[bytes]]:
    """Open a temporary file in the same folder, which takes the path's place at the end.

    Args:
        path: where the file shall stand; an older one is replaced in one step.
        is_secret: whether nobody else may read it.

    Raises:
        OSError: it cannot be written, or there is a device or a pipe, which root would replace;
            nothing is left behind then, whatever was raised.
    """
    if _is_special(path):
        raise OSError(errno.EINVAL, SPECIAL, str(path))
    with NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
        temporary = Path(file.name)
        try:
            yield file
            file.flush()
            os.fsync(file.fileno())  # a power cut after the rename must not leave an empty file
            temporary.chmod(SECRET_MODE if is_secret else 0o666 & ~_umask())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def check_output(output: Path, *, reads: Iterable[Path] = ()) -> None:
    """Refuse an output that could not be written, or would overwrite what must stay.

    Every command asks before it begins: a slip of the finger costs no list and no finished job.

    Args:
        output: the file to write.
        reads: files and folders that the command reads, or has read.

    Raises:
        OutputError: its folder is missing; it is a folder, a device, a ledger, one of ``reads``,
            or another file than a CSV in one of those folders.
    """
    if output.is_dir():
        raise OutputError(f"{output} is a folder: name the file to write in it")
    if not output.parent.is_dir():
        raise OutputError(
            f"{output} cannot be written: folder {output.parent} does not exist: make it first"
        )
    if not output.exists():
        return
    if _is_special(output):
        raise OutputError(f"{output} {SPECIAL}, which is not replaced: name a file")
    if is_database(output):
        raise OutputError(f"{output} is a ledger, which is not overwritten: name another file")
    for read in reads:
        if _is_at(output, read):
            raise OutputError(f"{output} is what is read here, or part of it: name another file")


def failures_path(output: Path) -> Path:
    """Name the failures CSV that lies beside a CSV of texts: ``submission.failures.csv``."""
    return output.with_name(output.stem + ".failures.csv")


def is_database(path: Path) -> bool:
    """Tell whether a file is an SQLite database, as every ledger is."""
    try:
        with path.open("rb") as file:
            return file.read(len(SQLITE)) == SQLITE
    except OSError:
        return False


def _is_special(path: Path) -> bool:
    return path.exists() and not (path.is_file() or path.is_dir())


def _is_at(output: Path, read: Path) -> bool:
    if not read.exists():
        return False
    if read.is_dir():
        is_inside = output.resolve().is_relative_to(read.resolve())
        return is_inside and output.suffix.lower() != ".csv"
    return output.samefile(read)


def write_rows(
    path: Path,
    rows: Iterable[Sequence[str]],
    *,
    first_line: str | None = None,
    header: Sequence[str] | None = None,
) -> int:
    """Write a CSV, whole or not at all, the same bytes every time.

    Args:
        path: where the file shall stand.
        rows: the fields of each row, in the order in which they shall stand.
        first_line: a line of its own before everything else, such as a user's name.
        header: the names of the columns; None writes none.

    Returns:
        The number of rows written, the first line and the header not among them.

    Raises:
        OutputError: the folder is missing or not writable, or the disk is full.

    Source: RFC 4180, except that lines end with LF and fields are quoted only where they must be.
    """
    count = 0
    try:
        with atomic_write(path) as file:
            if first_line is not None:
                file.write(f"{first_line}\n".encode())
            if header is not None:
                file.write(format_row(header).encode())
            for count, row in enumerate(rows, start=1):  # noqa: B007  # the last one is returned
                file.write(format_row(row).encode())
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror or error}") from error
    return count


def format_row(fields: Sequence[str]) -> str:
    """Write one line of CSV, with its LF."""
    line = ",".join(fields)
    if line.count(",") >= len(fields) or '"' in line or "\n" in line or "\r" in line:
        line = ",".join([_field(field) for field in fields])
    return line + "\n"


def _field(text: str) -> str:
    if QUOTED.isdisjoint(text):
        return text
    return '"' + text.replace('"', '""') + '"'


def _umask() -> int:
    """Read the process's umask; the only way to read it is to set it."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask

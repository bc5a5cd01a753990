"""What a person said of a job's images, beside its ledger: a line an image, none ever changed.

The ledger keeps what the model read, and no line is taken out: to take something back is a line,
too. Who reads the file by eye sees who said what, and when.
"""

from __future__ import annotations

import fcntl
import os
import unicodedata
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from contract.errors import LedgerError, OutputError, UserError

MOST_SYMBOLS = 256  # of a text; no model reads as many
MOST_WHO = 80
How = Literal["least sure", "random", "file"]


class Correction(msgspec.Struct, frozen=True):
    """What a person said of one image.

    Attributes:
        job: whose image it is; a ledger that is begun anew has another, and other images.
        index: of the image in its job.
        name: of the image, for whoever reads the file.
        read: what the model had read.
        text: what stands there, the same where the model is right; None takes the last word back.
        who: a person.
        at: when, UTC, ISO 8601.
        how: what brought the image before the person: its confidence, chance, or a list.
    """

    job: str
    index: int
    name: str
    read: str
    text: Annotated[str, Meta(max_length=MOST_SYMBOLS)] | None
    who: str
    at: str
    how: How = "least sure"

    @property
    def was_wrong(self) -> bool:
        """Whether the model had read something else."""
        return self.text is not None and self.text != self.read


class Corrections:
    """The corrections of one job; several programs may add to them at once."""

    def __init__(self, path: Path, job: str) -> None:
        """Open the file, which need not exist.

        Args:
            path: of the file, see ``producer.submission.corrections_path``.
            job: lines of another one are passed over.
        """
        self.path = path
        self._job = job
        self._position = 0
        self._latest: dict[int, Correction] = {}

    def current(self) -> dict[int, Correction]:
        """Read what is new, and give the last word on each image that has one, by index.

        They come in the order of these words in the file, whatever the clocks said.

        Raises:
            LedgerError: the file is damaged.
        """
        try:
            with self.path.open("rb") as file:
                if os.fstat(file.fileno()).st_size < self._position:  # another file by now
                    self._position, self._latest = 0, {}
                file.seek(self._position)
                self._take(file.read())
        except FileNotFoundError:
            self._position, self._latest = 0, {}
        except OSError as error:
            raise LedgerError(f"{self.path} cannot be read: {error.strerror}") from error
        return self._latest

    def add(self, new: Iterable[Correction]) -> None:
        """Write lines, all or none, and make sure that a power cut does not take them.

        Raises:
            OutputError: they cannot be written.
        """
        lines = b"".join(msgspec.json.encode(one) + b"\n" for one in new)
        if not lines:
            return
        try:
            with self.path.open("ab+") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                size = file.seek(0, os.SEEK_END)
                try:
                    file.write(_line_end(file.fileno(), size) + lines)
                    file.flush()
                    os.fsync(file.fileno())
                except OSError:
                    file.truncate(size)
                    raise
        except OSError as error:
            raise OutputError(f"{self.path} cannot be written: {error.strerror}") from error

    def _take(self, data: bytes) -> None:
        whole = data[: data.rfind(b"\n") + 1]  # a power cut may have left half a line
        for line in whole.splitlines():
            try:
                one = msgspec.json.decode(line, type=Correction)
            except msgspec.DecodeError as error:
                if _is_torn(line):
                    continue
                message = f"{self.path} is damaged: {error}; move it away, or mend the line"
                raise LedgerError(message) from error
            if one.job != self._job:
                continue
            self._latest.pop(one.index, None)
            if one.text is not None:
                self._latest[one.index] = one
        self._position += len(whole)


def checked(text: str) -> str:
    """Check what a person typed, and write it as everybody else does.

    Raises:
        UserError: it is too long, or holds what no image shows: a line end, a control character.

    Source: Unicode Standard Annex #15, form C: a Mac writes ``é`` as two symbols.
    """
    normal = unicodedata.normalize("NFC", text).strip()
    if len(normal) > MOST_SYMBOLS or not normal.isprintable():
        raise UserError(
            f"{text[:40]!r} is no text of an image: one line of {MOST_SYMBOLS} symbols at most"
        )
    return normal


def now() -> str:
    """Tell the time as it stands in a correction."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _is_torn(line: bytes) -> bool:
    """Tell a line that a power cut ended from one that somebody spoilt."""
    return not line.rstrip().endswith(b"}")


def _line_end(file: int, size: int) -> bytes:
    """End a line that a power cut left open, so that the next one stands alone."""
    return b"" if size == 0 or os.pread(file, 1, size - 1) == b"\n" else b"\n"

"""The review of one job: which images come before a person, what was said, what it came to."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from contract.errors import UserError
from producer.job.spec import State
from producer.job.store import Ledger
from producer.review.corrections import Correction, Corrections, How, checked, now
from producer.review.estimate import Estimate, Looks, estimate
from producer.submission import (
    corrected_path,
    corrections_path,
    ledger_path,
    load_layout,
    write_texts,
)

Order = Literal["least sure", "random", "looked at"]
MOST_A_SCREEN = 200


class ReviewImage(msgspec.Struct, frozen=True):
    """One image before a person.

    Attributes:
        index: in its job.
        name: of the image.
        url: where it is.
        read: what the model read.
        confidence: that it is right, in [0, 1].
        text: what a person said; None where nobody did.
        who: that person.
        at: when.
    """

    index: int
    name: str
    url: str
    read: str
    confidence: float
    text: str | None = None
    who: str | None = None
    at: str | None = None


@dataclass(frozen=True, slots=True)
class Said:
    """What a person says of one image; None takes the last word back."""

    index: int
    text: str | None


class Review:
    """One job's review; its ledger is only looked at, and may be at work.

    It keeps 20 bytes an image. ``refresh`` takes in what was read since.
    """

    def __init__(self, output: Path) -> None:
        """Open the review of a submission.

        Raises:
            LedgerError: there is no ledger of a whole job beside it.
        """
        self.output = output
        self._path = ledger_path(output)
        with Ledger(self._path, read_only=True) as ledger:
            self.spec = ledger.spec
        self.corrections = Corrections(corrections_path(output), self.spec.job)
        self._stamp: tuple[float, ...] = ()
        self.refresh()

    def refresh(self) -> None:
        """Take in what was read since; where the file is as it was, that costs nothing."""
        stamp = _stamp(self._path)
        if stamp == self._stamp:
            return
        with Ledger(self._path, read_only=True) as ledger:
            if ledger.spec.job != self.spec.job:
                raise UserError(f"{self.output} is of another job by now: open it again")
            query = "SELECT idx, confidence FROM image WHERE state = ? ORDER BY confidence, idx"
            rows = ledger.db.execute(query, (State.READ,)).fetchall()
            counts = ledger.counts()
        self._stamp = stamp
        self._images, self._failed, self.is_open = counts.total, counts.failed, counts.open > 0
        found = np.array(rows, dtype=np.float64).reshape(-1, 2)
        self._indices: NDArray[np.int64] = found[:, 0].astype(np.int64)
        self._confidence: NDArray[np.float64] = found[:, 1]
        rng = np.random.default_rng(int(self.spec.job, 16))  # the same images for everybody
        self._shuffled = self._indices[rng.permutation(len(self._indices))]

    def screen(self, order: Order, *, after: int = 0, most: int = 12) -> list[ReviewImage]:
        """Take the next images of an order.

        Args:
            order: ``least sure`` and ``random`` give what nobody looked at, ``looked at`` the rest,
                the last word first.
            after: how many of these to pass over.
            most: of them.
        """
        seen = self.corrections.current()
        if order == "looked at":
            chosen = list(reversed(seen))
        else:
            indices = self._shuffled if order == "random" else self._indices
            chosen = _unseen(indices, seen, after + min(most, MOST_A_SCREEN))
        return self.images(chosen[after : after + min(most, MOST_A_SCREEN)])

    def images(self, indices: Sequence[int]) -> list[ReviewImage]:
        """Read some images, in the order given; those without a text are left out."""
        seen = self.corrections.current()
        marks = ",".join("?" * len(indices))
        query = f"SELECT idx, name, url, text, confidence FROM image WHERE idx IN ({marks})"
        with Ledger(self._path, read_only=True) as ledger:
            rows = ledger.db.execute(f"{query} AND state = {State.READ:d}", list(indices))
            found = {row[0]: ReviewImage(*row) for row in rows}
        return [_with_word(found[i], seen.get(i)) for i in indices if i in found]

    def model(self) -> bytes:
        """Read the model file that the job was read with."""
        with Ledger(self._path, read_only=True) as ledger:
            return ledger.model

    def say(self, words: Sequence[Said], *, who: str, how: How) -> None:
        """Note what a person says.

        Raises:
            UserError: an image is not of this job or has no text, or a text cannot stand.
            OutputError: it cannot be written.
        """
        asked = {said.index: None if said.text is None else checked(said.text) for said in words}
        known = {image.index: image for image in self.images(list(asked))}
        if unknown := asked.keys() - known.keys():
            raise UserError(f"image {min(unknown)} of job {self.spec.job} has no reading")
        seen = self.corrections.current()
        brought = {i: seen[i].how if i in seen else how for i in asked}
        self.corrections.add(
            Correction(self.spec.job, i, known[i].name, known[i].read, text, who, now(), brought[i])
            for i, text in asked.items()
        )

    def take_list(self, path: Path, *, who: str) -> int:
        """Take a list of names and texts as a person's words, and count them.

        Raises:
            UserError: a name is not of this job, or the file is no list.
        """
        texts = _read_list(path)
        with Ledger(self._path, read_only=True) as ledger:
            query = "SELECT idx FROM image WHERE name = ? AND state = ?"
            found = {n: ledger.db.execute(query, (n, State.READ)).fetchone() for n in texts}
        if missing := [name for name, row in found.items() if row is None]:
            raise UserError(f"{path}: job {self.spec.job} has no reading of {missing[0]!r}")
        words = [Said(found[name][0], text) for name, text in texts.items()]
        for start in range(0, len(words), MOST_A_SCREEN):
            self.say(words[start : start + MOST_A_SCREEN], who=who, how="file")
        return len(words)

    def estimate(self) -> Estimate:
        """Estimate what is left."""
        seen = self.corrections.current()
        return estimate(
            Looks(
                self._images,
                self._failed,
                self._confidence,
                is_looked_at=self._mark(seen),
                was_wrong=self._mark(i for i, word in seen.items() if word.was_wrong),
                is_random=self._mark(i for i, word in seen.items() if word.how == "random"),
            )
        )

    def _mark(self, indices: Iterable[int]) -> NDArray[np.bool_]:
        """Mark some images among all that were read, in the order of their confidence."""
        return np.isin(self._indices, np.fromiter(indices, dtype=np.int64))

    def write_corrected(self) -> Path:
        """Write the submission with the corrections, beside the first one: the same bytes always.

        Raises:
            OutputError: it cannot be written.
        """
        path = corrected_path(self.output)
        seen = self.corrections.current()
        texts = {word.name: word.text for word in seen.values() if word.text is not None}
        with Ledger(self._path, read_only=True) as ledger:
            write_texts(ledger, path, load_layout(ledger), texts)
        return path


def _with_word(image: ReviewImage, word: Correction | None) -> ReviewImage:
    if word is None:
        return image
    return msgspec.structs.replace(image, text=word.text, who=word.who, at=word.at)


def _unseen(indices: NDArray[np.int64], seen: Iterable[int], most: int) -> list[int]:
    """Take the first of those that nobody looked at; as many more are looked through as need be."""
    known = np.fromiter(seen, dtype=np.int64)
    found: NDArray[np.int64] = indices[: most + len(known)]
    found = found[~np.isin(found, known)]
    return [int(index) for index in found[:most]]


def _stamp(ledger: Path) -> tuple[float, ...]:
    """Tell a ledger that was written to from one that was not, without opening it."""
    stamps = []
    for path in (ledger, ledger.with_name(ledger.name + "-wal")):
        try:
            found = path.stat()
            stamps += [float(found.st_mtime_ns), float(found.st_size), float(found.st_ino)]
        except FileNotFoundError:
            stamps += [0.0]
    return tuple(stamps)


def _read_list(path: Path) -> dict[str, str]:
    try:
        content = path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read: {error}") from error
    rows = [row for row in csv.reader(content.splitlines(keepends=True)) if row]
    if rows and rows[0][:2] == ["name", "text"]:
        del rows[0]
    if bad := next((row for row in rows if len(row) < 2), None):
        raise UserError(f"{path}: {bad} is not a name and a text")
    return {row[0]: row[1] for row in rows}

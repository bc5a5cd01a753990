"""Look at a job from outside while it runs: how far it is, and how long each fault held it up."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.chaos.plan import Kind

LOOK_EVERY_S = 0.5


@dataclass(slots=True)
class Wound:
    """A fault, and the images that were out when it struck and still have no answer."""

    kind: Kind
    at: float
    images: set[int]


@dataclass(slots=True)
class Watch:
    """Reads a running job's ledger; every look is a short read that holds nobody up.

    Attributes:
        path: of the ledger, which may not be there yet.
        images: answered so far.
        healed_s: by kind, how long it took until all that was out at a fault was answered.
        stalled_s: the longest time in which no row came.
    """

    path: Path
    images: int = 0
    healed_s: dict[Kind, list[float]] = field(default_factory=dict)
    stalled_s: float = 0.0
    _wounds: list[Wound] = field(default_factory=list)
    _looked_at: float = 0.0
    _moved_at: float | None = None

    def tick(self) -> None:
        """Look, unless that was done a moment ago."""
        now = time.monotonic()
        if now - self._looked_at < LOOK_EVERY_S:
            return
        self._looked_at = now
        with _reading(self.path) as database:
            if database is not None:
                self._note_images(_answered(database), now)
                self._heal(database, now)

    def struck(self, kind: Kind) -> None:
        """Note a fault, and what was out at that moment."""
        with _reading(self.path) as database:
            if database is None:
                return
            out = {index for (index,) in database.execute("SELECT idx FROM image WHERE state = 1")}
            self._wounds.append(Wound(kind, time.monotonic(), out))

    def close(self) -> None:
        """Take the end of the job for the end of all wounds."""
        self._looked_at = 0.0
        self.tick()

    def _note_images(self, images: int, now: float) -> None:
        if self._moved_at is None or images > self.images:
            self._moved_at = now
        self.stalled_s = max(self.stalled_s, now - self._moved_at)
        self.images = images

    def _heal(self, database: sqlite3.Connection, now: float) -> None:
        unread = _unread(database, set().union(*(wound.images for wound in self._wounds)))
        for wound in self._wounds:
            wound.images &= unread
            if not wound.images:
                self.healed_s.setdefault(wound.kind, []).append(now - wound.at)
        self._wounds = [wound for wound in self._wounds if wound.images]


def _answered(database: sqlite3.Connection) -> int:
    """Count by delivery: counting a million images twice a second would itself be a load."""
    row = database.execute("SELECT sum(images) FROM chunk WHERE ended = 'answered'").fetchone()
    return int(row[0] or 0)


def _unread(database: sqlite3.Connection, images: set[int]) -> set[int]:
    rows = database.execute(
        "SELECT idx FROM image WHERE idx IN (SELECT value FROM json_each(?)) AND state IN (0, 1)",
        (json.dumps(sorted(images)),),
    )
    return {index for (index,) in rows}


@contextmanager
def _reading(path: Path) -> Iterator[sqlite3.Connection | None]:
    """Open the ledger for one look; None while it cannot be read."""
    database = _open(path)
    try:
        yield database
    finally:
        if database is not None:
            database.close()


def _open(path: Path) -> sqlite3.Connection | None:
    try:
        database = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=2)
    except sqlite3.OperationalError:
        return None
    try:
        if database.execute("SELECT 1 FROM meta WHERE key = 'spec'").fetchone():
            return database
    except sqlite3.OperationalError:  # not there yet, or its producer was killed just now
        pass
    database.close()
    return None

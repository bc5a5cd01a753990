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
    """A fault, and the images that were out when it struck.

    Attributes:
        kind: of the fault.
        at: monotonic time, seconds.
        held: those that are still where they were, and in which delivery.
        unread: those that have no answer yet.
    """

    kind: Kind
    at: float
    held: dict[int, int]
    unread: set[int]


@dataclass(slots=True)
class Watch:
    """Reads a running job's ledger; every look is a short read that holds nobody up.

    Attributes:
        path: of the ledger, which may not be there yet.
        images: answered so far.
        elsewhere_s: by kind, how long it took until all that was out at a fault was answered, or
            on its way to another worker.
        healed_s: how long it took until all of it was answered, whatever else struck meanwhile.
        stalled_s: the longest time in which no row came.
    """

    path: Path
    images: int = 0
    elsewhere_s: dict[Kind, float] = field(default_factory=dict)
    healed_s: float = 0.0
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
            held = dict(database.execute("SELECT idx, chunk FROM image WHERE state = 1"))
            self._wounds.append(Wound(kind, time.monotonic(), held, set(held)))

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
        where = _unread(database, set().union(*(wound.unread for wound in self._wounds)))
        for wound in self._wounds:
            age_s = now - wound.at
            if wound.held:
                self.elsewhere_s[wound.kind] = max(self.elsewhere_s.get(wound.kind, 0.0), age_s)
            # One that waits for its turn is in no delivery, and so nowhere yet.
            wound.held = {i: c for i, c in wound.held.items() if where.get(i, -1) in (c, None)}
            wound.unread &= where.keys()
            if wound.unread:
                self.healed_s = max(self.healed_s, age_s)
        self._wounds = [wound for wound in self._wounds if wound.unread]


def _answered(database: sqlite3.Connection) -> int:
    """Count by delivery: counting a million images twice a second would itself be a load."""
    row = database.execute("SELECT sum(images) FROM chunk WHERE ended = 'answered'").fetchone()
    return int(row[0] or 0)


def _unread(database: sqlite3.Connection, images: set[int]) -> dict[int, int | None]:
    """Give those without an answer, and the delivery each is in; None while it waits."""
    rows = database.execute(
        "SELECT idx, CASE state WHEN 1 THEN chunk END FROM image"
        " WHERE idx IN (SELECT value FROM json_each(?)) AND state IN (0, 1)",
        (json.dumps(sorted(images)),),
    )
    return dict(rows.fetchall())


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

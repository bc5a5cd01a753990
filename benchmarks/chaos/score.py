"""What is seen of a job while it runs, and what became of its images in the end.

``Watch`` looks at its ledger, ``Meter`` at the broker; ``Score`` holds all that is counted.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from redis.exceptions import RedisError
from rich.table import Table

from benchmarks.chaos.faults import Kind
from benchmarks.chaos.stack import Broker

ANSWERED = "answered"
LOOK_EVERY_S = 0.5
MEASURE_EVERY_S = 1.0


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
        with reading(self.path) as database:
            if database is not None:
                self._note_images(answered(database), now)
                self._heal(database, now)

    def struck(self, kind: Kind) -> None:
        """Note a fault, and what was out at that moment."""
        with reading(self.path) as database:
            if database is None:
                return
            held = dict(database.execute("SELECT idx, delivery FROM image WHERE state = 1"))
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


def answered(database: sqlite3.Connection) -> int:
    """Count by delivery: counting a million images twice a second would itself be a load."""
    row = database.execute("SELECT sum(size) FROM delivery WHERE ended = 'answered'").fetchone()
    return int(row[0] or 0)


def _unread(database: sqlite3.Connection, images: set[int]) -> dict[int, int | None]:
    """Find those without an answer, and the delivery each is in; None while it waits."""
    rows = database.execute(
        "SELECT idx, CASE state WHEN 1 THEN delivery END FROM image"
        " WHERE idx IN (SELECT value FROM json_each(?)) AND state IN (0, 1)",
        (json.dumps(sorted(images)),),
    )
    return dict(rows.fetchall())


@contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection | None]:
    """Open the ledger for one look; None while it cannot be read."""
    database = _open(path)
    try:
        yield database
    finally:
        if database is not None:
            database.close()


def _open(path: Path) -> sqlite3.Connection | None:
    try:
        database = _read_only(path)
    except sqlite3.OperationalError:
        return None
    try:
        if database.execute("SELECT 1 FROM meta WHERE key = 'spec'").fetchone():
            return database
    except sqlite3.OperationalError:  # not there yet, or its producer was killed just now
        pass
    database.close()
    return None


@dataclass(frozen=True, slots=True)
class Holding:
    """What Redis holds at one moment: bytes, its keys, and how many entries they have."""

    used_bytes: int
    keys: tuple[str, ...]
    entries: int

    def summed(self) -> dict[str, int]:
        """Sum it up in numbers."""
        return {"keys": len(self.keys), "entries": self.entries, "kb": self.used_bytes // 1000}


@dataclass(slots=True)
class Meter:
    """Measures a broker once a second."""

    broker: Broker
    peak_bytes: int = 0
    _at: float = 0.0

    def tick(self) -> None:
        """Measure, unless that was done a moment ago or Redis is away."""
        now = time.monotonic()
        if now - self._at >= MEASURE_EVERY_S:
            self._at = now
            with suppress(RedisError):
                self.peak_bytes = max(self.peak_bytes, used_bytes(self.broker))


def used_bytes(broker: Broker) -> int:
    """Ask for the memory that Redis uses."""
    return int(broker.client.info("memory")["used_memory"])


def holding(broker: Broker) -> Holding:
    """List what Redis holds; it is our own, so it may be asked for all its keys."""
    client: Any = broker.client
    keys = sorted(client.keys("*"))
    counters: dict[bytes, Callable[[bytes], int]] = {
        b"list": client.llen,
        b"hash": client.hlen,
        b"set": client.scard,
        b"zset": client.zcard,
        b"stream": client.xlen,
    }
    entries = 0
    for key in keys:
        count = counters.get(client.type(key))
        entries += count(key) if count else 1
    return Holding(used_bytes(broker), tuple(key.decode() for key in keys), entries)


@dataclass(frozen=True, slots=True)
class Score:
    """What faults did to a job.

    Attributes:
        system: whose score it is.
        images: of the job.
        faults: how many of each kind struck.
        missed: faults that the job ended too early for.
        rows: in the submission.
        lost: images without a row.
        twice: rows beyond the first of an image.
        is_same: the submission is, byte for byte, the one without faults.
        read_twice: answers for images that had one.
        peak_mb: of the broker's memory.
        before: what the broker held before, after a small job: bytes, keys, entries.
        after: what it held after.
        left: keys that were not there before.
        orphans: processes that outlived their worker.
        wall_s: seconds.
        failed: images without a text, by reason.
        sent_again: images that were sent again, by the reason.
        elsewhere_s: by fault, the longest time until all that was out when it struck was answered,
            or on its way to another worker.
        healed_s: the longest time until all of that was answered, whatever else struck meanwhile.
        stalled_s: the longest time without a new row.
    """

    system: str
    images: int
    faults: Mapping[str, int]
    missed: int
    rows: int
    lost: int
    twice: int
    is_same: bool
    read_twice: int
    peak_mb: float
    before: Mapping[str, int]
    after: Mapping[str, int]
    left: tuple[str, ...]
    orphans: int
    wall_s: float
    failed: Mapping[str, int] = field(default_factory=dict)
    sent_again: Mapping[str, int] = field(default_factory=dict)
    elsewhere_s: Mapping[str, float] = field(default_factory=dict)
    healed_s: float = 0.0
    stalled_s: float = 0.0

    @property
    def is_whole(self) -> bool:
        """Whether every image has its one right row."""
        return self.is_same and not (self.lost or self.twice or self.failed)


@dataclass(frozen=True, slots=True)
class Tally:
    """Rows as they stand in a submission, by name."""

    rows: int
    lost: int
    twice: int


@dataclass(frozen=True, slots=True)
class LedgerTally:
    """What a job's ledger says of it."""

    failed: Mapping[str, int]
    sent_again: Mapping[str, int]
    read_twice: int


def tally(names: Iterable[str | bytes], expected: int) -> Tally:
    """Count rows by the names of their images."""
    counts = Counter(names)
    rows = sum(counts.values())
    return Tally(rows=rows, lost=expected - len(counts), twice=rows - len(counts))


def tally_ledger(path: Path) -> LedgerTally:
    """Read a finished ledger."""
    with closing(_read_only(path)) as database:
        failed = database.execute("SELECT reason, count(*) FROM image WHERE state = 3 GROUP BY 1")
        ended = database.execute("SELECT ended, sum(size) FROM delivery GROUP BY 1")
        again = {str(why): int(images) for why, images in ended if why != ANSWERED}
        note = database.execute("SELECT value FROM meta WHERE key = 'repeats'").fetchone()
        return LedgerTally(dict(failed), again, int(note[0]) if note else 0)


def score_table(scores: Iterable[Score]) -> Table:
    """Draw scores beside each other."""
    found = list(scores)
    table = Table(title="What the faults did")
    table.add_column("")
    for score in found:
        table.add_column(score.system, justify="right")
    lines = [_lines(score) for score in found]
    for name in dict.fromkeys(name for line in lines for name in line):
        table.add_row(name, *(line.get(name, "") for line in lines))
    return table


def _lines(score: Score) -> dict[str, str]:
    share = max(1, score.images) / 100
    again = sum(score.sent_again.values())
    return {
        "images": f"{score.images:,}",
        **{kind: str(count) for kind, count in score.faults.items()},
        "faults that came too late": str(score.missed),
        "rows": f"{score.rows:,}",
        "lost": f"{score.lost:,}",
        "twice in the CSV": f"{score.twice:,}",
        "same bytes as without faults": "yes" if score.is_same else "NO",
        "failed": ", ".join(f"{n} {why}" for why, n in score.failed.items()) or "0",
        "failed as poison": str(score.failed.get("poison", 0)),
        **({"sent again": f"{again / share:.2f} %"} if again else {}),
        **{f"  {why}": f"{images:,}" for why, images in sorted(score.sent_again.items())},
        "read twice": f"{score.read_twice / share:.3f} %",
        **{f"elsewhere: {kind}": f"{s:.1f} s" for kind, s in sorted(score.elsewhere_s.items())},
        **({"all answered": f"{score.healed_s:.1f} s"} if score.healed_s else {}),
        **({"longest time without a row": f"{score.stalled_s:.1f} s"} if score.healed_s else {}),
        "Redis memory, peak": f"{score.peak_mb:.1f} MB",
        "Redis keys before, after": _pair(score, "keys"),
        "Redis entries before, after": _pair(score, "entries"),
        "Redis memory before, after": _pair(score, "kb") + " kB",
        "keys left": str(len(score.left)),
        "orphaned processes": str(score.orphans),
        "seconds": f"{score.wall_s:.0f}",
    }


def _pair(score: Score, name: str) -> str:
    return f"{score.before.get(name, 0):,}, {score.after.get(name, 0):,}"


def _read_only(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=2)

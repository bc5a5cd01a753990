"""Count what became of a job's images, and show it."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

ANSWERED = "answered"


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
        failed: images without a text, by reason.
        sent_again: images that were sent again, by the reason.
        read_twice: answers for images that had one.
        elsewhere_s: by fault, the longest time until all that was out when it struck was answered,
            or on its way to another worker.
        healed_s: the longest time until all of that was answered, whatever else struck meanwhile.
        stalled_s: the longest time without a new row.
        peak_mb: of the broker's memory.
        before: what the broker held before, after a small job: bytes, keys, entries.
        after: what it held after.
        left: keys that were not there before.
        orphans: processes that outlived their worker.
        wall_s: seconds.
    """

    system: str
    images: int
    faults: Mapping[str, int]
    missed: int
    rows: int
    lost: int
    twice: int
    is_same: bool
    failed: Mapping[str, int]
    sent_again: Mapping[str, int]
    read_twice: int
    elsewhere_s: Mapping[str, float]
    healed_s: float
    stalled_s: float
    peak_mb: float
    before: Mapping[str, int]
    after: Mapping[str, int]
    left: tuple[str, ...]
    orphans: int
    wall_s: float

    @property
    def is_whole(self) -> bool:
        """Whether every image has its one right row."""
        return self.is_same and not (self.lost or self.twice or self.failed)

    def to_json(self) -> dict[str, Any]:
        """Give it as a JSON object."""
        return asdict(self)


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


def tally(names: Iterable[str], expected: int) -> Tally:
    """Count rows by the names of their images."""
    counts = Counter(names)
    rows = sum(counts.values())
    return Tally(rows=rows, lost=expected - len(counts), twice=rows - len(counts))


def tally_ledger(path: Path) -> LedgerTally:
    """Read a finished ledger."""
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as database:
        failed = database.execute("SELECT reason, count(*) FROM image WHERE state = 3 GROUP BY 1")
        ended = database.execute("SELECT ended, sum(images) FROM chunk GROUP BY 1")
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

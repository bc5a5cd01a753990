"""What must be true of each world, whatever struck it."""

from __future__ import annotations

import sqlite3
from collections import Counter

from broker.claims import make_token
from broker.results import Outcome
from contract.reasons import PASSING, Reason
from producer.job import policy
from producer.job.deliveries import parse_ranges
from producer.job.spec import State
from tests.simulation.broker import Entry
from tests.simulation.images import KILLERS, Images, Kind, text_of
from tests.simulation.workers import Worker
from tests.simulation.world import World

GUARDS = """
CREATE TEMP TRIGGER first_wins BEFORE UPDATE ON image WHEN OLD.state IN (2, 3)
BEGIN SELECT RAISE(ABORT, 'a terminal row was changed'); END;
CREATE TEMP TABLE vanished (images TEXT);
CREATE TEMP TRIGGER note_vanished AFTER UPDATE OF ended ON delivery WHEN NEW.ended = 'vanished'
BEGIN INSERT INTO vanished VALUES (NEW.images); END;
CREATE TEMP TABLE decided_alone (idx INTEGER);
CREATE TEMP TRIGGER note_alone AFTER UPDATE OF state ON image
WHEN NEW.state = 3 AND NOT EXISTS (SELECT 1 FROM meta WHERE key = 'quorum')
BEGIN INSERT INTO decided_alone VALUES (NEW.idx); END;
CREATE TEMP TRIGGER none_lost BEFORE DELETE ON image
BEGIN SELECT RAISE(ABORT, 'a row was deleted'); END;
"""


class Violation(AssertionError):  # it is what was found, not an error of ours
    """An invariant does not hold."""


def guard_rows(db: sqlite3.Connection) -> None:
    """Let the ledger itself refuse what must never be written."""
    db.executescript(GUARDS)


class Invariants:
    """Watches one job, and judges it at its end."""

    def __init__(
        self, db: sqlite3.Connection, images: Images, workers: list[Worker], *, secret: str
    ) -> None:
        self.found: list[str] = []
        self.settled_at = float("inf")
        self._db, self._images, self._secret = db, images, secret
        self._pushed = workers[0].broker.pushed
        self._vanished: Counter[int] = Counter()
        self._most_kills = 0
        self._producer_kills = 0
        self._no_dns = any(not worker.habits.has_dns for worker in workers)
        self._is_all_healthy = all(worker.habits.is_healthy for worker in workers)

    # -- during a run -------------------------------------------------------------------------

    def check_read(self, entries: list[Entry]) -> None:
        """Check what the producer has in its ledger: each text that was honestly read is there.

        Raises:
            Violation: one is not, though its answer was passed over.
        """
        for entry in entries:
            result = entry.result
            if result is None or not entry.is_true or result.outcome is not Outcome.DONE:
                continue
            if result.token != make_token(self._secret, result.delivery):
                continue
            for row in result.rows:
                if row.text is not None and self._state(row.index) not in (2, 3):
                    raise Violation(f"image {row.index} was read, and its answer is lost")

    def note_user_error(self, world: World, error: Exception) -> None:
        """Note that a run ended with a sentence: once all is mended, none may."""
        world.say("the run ends:", error)
        if world.now > self.settled_at:
            raise Violation(f"a run ends though all is mended: {error}")

    def count_open(self) -> int:
        """Count images without an answer."""
        return self._count("SELECT count(*) FROM image WHERE state IN (0, 1)")

    def list_out(self) -> list[int]:
        """List the images that are out."""
        return [index for (index,) in self._db.execute("SELECT idx FROM image WHERE state = 1")]

    def count_sent(self) -> int:
        """Count how often images were sent."""
        return self._count("SELECT coalesce(sum(sent), 0) FROM image")

    def describe_open(self) -> str:
        """Describe what has no answer."""
        rows = self._db.execute(
            "SELECT idx, state, attempts, suspicion, sent FROM image WHERE state IN (0, 1) LIMIT 5"
        )
        return "; ".join(
            f"image {i} ({self._images.kinds[i]}) {State(state).name} attempts={a} suspicion={s}"
            f" sent={n}"
            for i, state, a, s, n in rows
        )

    # -- at its end ---------------------------------------------------------------------------

    def check_end(self, world: World) -> None:
        """Judge the whole job."""
        rows = self._db.execute(
            "SELECT idx, state, text, reason, detail, worker, attempts, suspicion, sent FROM image"
        ).fetchall()
        if [row[0] for row in rows] != list(range(len(self._images.kinds))):
            self.found.append("the images of the ledger are others than those of the job")
        self._count_vanished()
        self._producer_kills = world.faults["producer killed"]
        forgiven = world.faults["Redis wiped"] + world.faults["Redis failed over"]
        self._most_kills = policy.MOST_SENT + 1 + forgiven + world.faults["lie: stream blocked"]
        for row in rows:
            self._check_row(*row)
        self._check_texts_of_deliveries()
        self._check_work(world)

    def _count_vanished(self) -> None:
        """Count deliveries of each image that were claimed, perhaps, and lost: a point each."""
        gone = self._db.execute("SELECT images FROM vanished")
        for (ranges,) in gone:
            self._vanished.update(parse_ranges(ranges))

    def _check_row(
        self,
        index: int,
        state: int,
        text: str | None,
        reason: str | None,
        detail: str | None,
        worker: str,
        attempts: int,
        suspicion: int,
        sent: int,
    ) -> None:
        kind = self._images.kinds[index]
        if state == State.READ:
            expected = {text_of(index), "X"} if index in self._images.stolen else {text_of(index)}
            self._demand(text in expected, index, f"reads {text!r}")
            self._demand(kind not in KILLERS or text == "X", index, "kills, and was read")
        elif state == State.FAILED:
            if index not in self._images.stolen:
                self._check_failure(index, kind, reason, attempts, sent)
        else:
            self._demand(False, index, f"is in state {state}")
        if index not in self._images.stolen:
            true = self._images.points[index] + self._vanished[index]
            self._demand(suspicion <= true, index, f"has {suspicion} points, {true} are true")
        pushed = self._pushed[index] + self._producer_kills  # between the note and the sending
        self._demand(sent <= pushed, index, f"counts as sent {sent} times, of {pushed}")
        if index not in self._images.stolen:
            reads = self._images.reads[index]
            self._demand(
                attempts <= reads, index, f"has {attempts} attempts, was read {reads} times"
            )
        self._demand(sent <= policy.MOST_SENT + 1 + attempts, index, f"was sent {sent} times")
        kills = self._images.kills[index]
        self._demand(kills <= self._most_kills, index, f"killed {kills} times")

    def _check_failure(
        self, index: int, kind: Kind, reason: str | None, attempts: int, sent: int
    ) -> None:
        what = f"failed: {reason} attempts={attempts} sent={sent}"
        if reason == Reason.POISON:
            points = self._images.points[index] + self._vanished[index]
            is_true = points >= policy.POISON_AT
            self._demand(is_true, index, f"{what} with {points} true points")
        elif kind is Kind.GONE:
            self._demand(reason == Reason.HTTP_STATUS or self._no_dns, index, what)
        elif kind is Kind.FLAKY:
            self._demand(reason in PASSING, index, what)
        elif kind is Kind.GOOD or kind in KILLERS:
            most = self._attempts() * policy.MOST_LONE_ATTEMPTS
            is_alone = self._count("SELECT count(*) FROM decided_alone WHERE idx = ?", index)
            is_over = attempts >= most or is_alone > 0
            self._demand(reason == Reason.DNS and is_over, index, what)

    def _check_texts_of_deliveries(self) -> None:
        """Check that each text came in a delivery that had its image."""
        rows = self._db.execute(
            "SELECT i.idx, d.images FROM image i JOIN delivery d ON d.id = i.delivery"
            " WHERE i.state = 2"
        )
        for index, ranges in rows:
            self._demand(index in parse_ranges(ranges), index, "was answered by another delivery")

    def _check_work(self, world: World) -> None:
        """Check that little is done twice: each fault costs what was out at most."""
        total = len(self._images.kinds)
        bad = sum(kind is not Kind.GOOD for kind in self._images.kinds)
        if bad or not self._is_all_healthy:
            return
        sent = self.count_sent()
        hedged = self._count("SELECT count(*) FROM image WHERE hedged")
        if sent > total + hedged + world.excused:
            self.found.append(f"{sent} sent of {total}, faults excuse {world.excused} more")

    def _attempts(self) -> int:
        text = self._db.execute("SELECT value FROM meta WHERE key = 'spec'").fetchone()[0]
        return int(text.split('"attempts":')[1].split(",")[0])

    def _demand(self, holds: bool, index: int, what: str) -> None:
        if not holds:
            kind = self._images.kinds[index]
            self.found.append(f"image {index} ({kind}) {what}")

    def _state(self, index: int) -> int:
        return self._count("SELECT state FROM image WHERE idx = ?", index)

    def _count(self, query: str, *values: int) -> int:
        return int(self._db.execute(query, values).fetchone()[0])

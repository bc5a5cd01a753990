"""Deliveries: which images of a ledger go out, come back, wait again, or fail.

The invariant: an image that is READ or FAILED never changes again, so the first terminal row wins
and a second delivery changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from broker.claims import Item
from broker.results import ChunkResult, Crash, Outcome, Row
from contract.reasons import Reason
from producer.job import policy
from producer.job.spec import Change, State
from producer.job.store import Ledger

QUORUM_KEY = "quorum"
WIPED = "wiped"  # why one ended whose broker lost everything
NOT_SENT = "not_sent"  # why one ended that the broker would not take
HEDGED = "straggler"  # why a delivery ended that is read a second time for being slow


@dataclass(frozen=True, slots=True)
class Taken:
    """A delivery that is to be sent.

    Attributes:
        delivery: its number.
        items: its images.
        may_hedge: whether a second worker may read it for being slow: no image of it twice.
    """

    delivery: int
    items: tuple[Item, ...]
    may_hedge: bool


class Deliveries:
    """The images of one ledger on their way."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._db = ledger.db
        self._were_suspects = False
        self.is_lone_worker = ledger.get(QUORUM_KEY) is None
        """Whether no second worker was ever met that could be asked."""

    def take(self, size: int) -> Taken | None:
        """Take waiting images into a new delivery, and note it as sent before it is.

        A crash between this and the sending is found by the reconciler; the other order would
        send images that the ledger does not know to be out.

        Args:
            size: the most images; fewer where they are suspected to kill workers.

        Returns:
            None if nothing is ready to go.
        """
        with self._ledger.writing():
            rows = self._next_waiting(size)
            if not rows:
                return None
            spans = list_spans(index for index, _, _ in rows)
            cursor = self._db.execute(
                "INSERT INTO delivery (images, size) VALUES (?, ?)",
                (format_spans(spans), len(rows)),
            )
            delivery = int(cursor.lastrowid or 0)
            self._db.executemany(
                "UPDATE image SET state = 1, delivery = ?, sent = sent + 1"
                " WHERE idx BETWEEN ? AND ?",
                [(delivery, first, last) for first, last in spans],
            )
        items = tuple(Item(index, url) for index, url, _ in rows)
        return Taken(delivery, items, may_hedge=not any(hedged for _, _, hedged in rows))

    def meet_second_worker(self) -> None:
        """Note that there is somebody else to ask, for the whole job: it may be away just now."""
        if self.is_lone_worker:
            self.is_lone_worker = False
            self._ledger.put(QUORUM_KEY, "1")

    def may_hedge(self, delivery: int) -> bool:
        """Tell whether a slow delivery may be read by a second worker: no image of it twice."""
        return not self._db.execute(
            "SELECT 1 FROM image WHERE state = 1 AND delivery = ? AND hedged LIMIT 1", (delivery,)
        ).fetchone()

    def give_up(
        self, delivery: int, why: str, *, crash: Crash | None = None, was_begun: bool = True
    ) -> Change:
        """End a delivery without an answer; its open images wait again, or fail as poison.

        Args:
            delivery: its number.
            why: a word for the ledger.
            crash: what is known of the death of whoever had it in hand; None if nobody died.
            was_begun: whether somebody may have claimed it.
        """
        with self._ledger.writing():
            if crash is not None:
                self._suspect(delivery, crash, why)
            self._end(delivery, why)
            self._forgive(delivery, why, was_begun=was_begun)
            again = self._db.execute(
                "UPDATE image SET state = 0, hedged = max(hedged, ?)"
                " WHERE state = 1 AND delivery = ?",
                (why == HEDGED, delivery),
            ).rowcount
            failed = self._fail_poison(self.members(delivery))
        return Change(failed=failed, again=max(0, again - failed))

    def members(self, delivery: int) -> frozenset[int]:
        """Read the indexes of a delivery's images; none if there never was one of this number."""
        row = self._db.execute("SELECT images FROM delivery WHERE id = ?", (delivery,)).fetchone()
        return frozenset() if row is None else parse_ranges(row[0])

    def out(self) -> dict[int, int]:
        """Count the images of each delivery that has no answer yet, oldest first."""
        rows = self._db.execute("SELECT id, size FROM delivery WHERE ended IS NULL ORDER BY id")
        return dict(rows.fetchall())

    def record(self, results: Sequence[ChunkResult], *, position: str, forgive: set[int]) -> Change:
        """Commit answers and the stream position that they came from, in one transaction.

        Args:
            results: chunks that are done.
            position: the stream's entry id after them.
            forgive: deliveries whose passing failures do not count as an attempt, because the
                producer itself was away and it serves the images.
        """
        most = self._ledger.spec.attempts
        change = Change()
        with self._ledger.writing():
            for result in results:
                read = self._record_read(result)
                if not self._note_answered(result.delivery):
                    change += Change(read=read.read)  # most likely the same answer once more
                    continue
                change += read
                for row in result.rows:
                    if row.reason is not None:
                        is_forgiven = result.delivery in forgive
                        change += self._record_failure(result, row, most, is_forgiven=is_forgiven)
            self._ledger.note("position", position)
            self._ledger.note("clock", f"{self._ledger.now():.3f}")
            if change.repeats:  # kept here, because a producer that is killed forgets its own count
                before = int(self._ledger.get("repeats") or 0)
                self._ledger.note("repeats", str(before + change.repeats))
        return change

    def fail_open(self, reason: Reason, detail: str = "") -> int:
        """Fail every image that has no answer, and end every delivery; counts the images."""
        with self._ledger.writing():
            self._db.execute("UPDATE delivery SET ended = ? WHERE ended IS NULL", (reason,))
            return self._db.execute(
                "UPDATE image SET state = 3, reason = ?, detail = ? WHERE state IN (0, 1)",
                (reason, detail),
            ).rowcount

    def revive(self, reason: Reason | None = None) -> int:
        """Let failed images wait again, with all their attempts; counts them.

        Args:
            reason: only those that failed for it; None takes all. A cancelled job goes on.
        """
        with self._ledger.writing():
            self._db.execute("DELETE FROM meta WHERE key = 'cancelled'")
            return self._db.execute(
                "UPDATE image SET state = 0, attempts = 0, suspicion = 0, ready_at = 0, sent = 0,"
                " hedged = 0, failed_by = NULL, delivery = NULL"
                " WHERE state = 3 AND (?1 IS NULL OR reason = ?1)",
                (reason,),
            ).rowcount

    def _next_waiting(self, size: int) -> list[tuple[int, str, bool]]:
        """Find what goes next: suspects every other time, so that neither holds up the other."""
        if not self._db.execute("SELECT 1 FROM image WHERE state = 0 LIMIT 1").fetchone():
            return []  # as most of the time: all is out
        now = self._ledger.now()
        levels = policy.turns(self._suspicions(), suspects_first=not self._were_suspects)
        for suspicion in levels:
            rows = self._db.execute(
                "SELECT idx, url, hedged FROM image"
                " WHERE state = 0 AND suspicion = ? AND ready_at <= ? ORDER BY idx LIMIT ?",
                (suspicion, now, policy.size_for(suspicion, size)),
            ).fetchall()
            if rows:
                self._were_suspects = suspicion >= policy.PART_AT
                return rows
        return []

    def _suspicions(self) -> Iterator[int]:
        """List the points that waiting images have, from few to many: a step in the index each."""
        last = -1
        while True:
            (found,) = self._db.execute(
                "SELECT min(suspicion) FROM image WHERE state = 0 AND suspicion > ?", (last,)
            ).fetchone()
            if found is None:
                return
            yield found
            last = found

    def _suspect(self, delivery: int, crash: Crash, why: str) -> None:
        """Note what a death says of a delivery's images that are open, wherever they are now.

        Once a delivery: a report may come twice, and after its worker was taken for dead.
        """
        noted = self._db.execute(
            "UPDATE delivery SET ended = ? WHERE id = ?"
            " AND coalesce(ended, '') NOT IN ('answered', 'crashed', 'worker_gone')",
            (why, delivery),
        ).rowcount
        if not noted:
            return
        suspects = self.members(delivery) if crash.image is None else {crash.image}
        self._db.executemany(
            "UPDATE image SET suspicion = suspicion + ? WHERE state IN (0, 1) AND idx = ?",
            [(policy.points(crash), index) for index in suspects],
        )

    def _forgive(self, delivery: int, why: str, *, was_begun: bool) -> None:
        """Let an image not pay for what is not its fault, or it fails when it was sent so often.

        Redis may be full for an hour, or made anew again and again; a thief may take the notices.
        """
        if why in (NOT_SENT, WIPED) or not was_begun:
            self._db.execute(
                "UPDATE image SET sent = sent - 1 WHERE state = 1 AND delivery = ?", (delivery,)
            )
        if why in (Outcome.BAD_MODEL, Outcome.NO_MODEL):  # by one worker; those that read are busy
            self._db.execute(
                "UPDATE image SET ready_at = ? + min(?, 1 << min(sent, 6))"
                " WHERE state = 1 AND delivery = ?",
                (self._ledger.now(), policy.MAX_RETRY_S, delivery),
            )

    def _end(self, delivery: int, why: str) -> None:
        self._db.execute(
            "UPDATE delivery SET ended = ? WHERE id = ? AND ended IS NULL", (why, delivery)
        )

    def _fail_poison(self, indexes: Iterable[int]) -> int:
        """Fail those whose deliveries went wrong too often; each ceiling has a sentence."""
        ceilings = (
            ("suspicion", policy.POISON_AT, "workers died of it, again and again"),
            ("sent", policy.MOST_SENT, f"sent {policy.MOST_SENT} times without an answer"),
        )
        return sum(
            self._db.executemany(
                "UPDATE image SET state = 3, reason = ?, detail = ?"
                f" WHERE state IN (0, 1) AND {column} >= ? AND idx = ?",
                [(Reason.POISON, detail, most, index) for index in indexes],
            ).rowcount
            for column, most, detail in ceilings
        )

    def _note_answered(self, delivery: int) -> bool:
        """Note an answer, though it be to a delivery that was given up; False if it has one."""
        noted = self._db.execute(
            "UPDATE delivery SET ended = 'answered' WHERE id = ? AND ended IS NOT 'answered'",
            (delivery,),
        )
        return noted.rowcount > 0

    def _record_read(self, result: ChunkResult) -> Change:
        read = [row for row in result.rows if row.reason is None]
        taken = self._db.executemany(
            "UPDATE image SET state = 2, text = ?, confidence = ?, reason = NULL, detail = NULL,"
            " worker = ?, delivery = ?, attempts = attempts + 1 WHERE idx = ? AND state IN (0, 1)",
            [(r.text, r.confidence, result.worker, result.delivery, r.index) for r in read],
        ).rowcount
        taken = max(0, taken)  # -1 where there was nothing to execute
        return Change(read=taken, repeats=len(read) - taken)

    def _record_failure(
        self, result: ChunkResult, row: Row, most: int, *, is_forgiven: bool
    ) -> Change:
        """Fail an image for good, or let it wait for another attempt."""
        found = self._db.execute(
            "SELECT attempts, delivery, failed_by FROM image WHERE idx = ? AND state IN (0, 1)",
            (row.index,),
        ).fetchone()
        may_pass = policy.may_pass(row)
        if found is None or (may_pass and found[1] != result.delivery):
            return Change(repeats=1)  # answered already, or a newer delivery may do better
        attempts, _, failed_by = found
        done = policy.attempts_after(row, attempts, is_forgiven=is_forgiven)
        is_agreed = self.is_lone_worker or (failed_by or result.worker) != result.worker
        again = may_pass and not policy.is_final(row, done, most, is_agreed=is_agreed)
        self._db.execute(
            "UPDATE image SET state = ?, attempts = ?, ready_at = ?, reason = ?, detail = ?,"
            " worker = ?, delivery = ?, failed_by = coalesce(failed_by, ?) WHERE idx = ?",
            (
                *(State.WAITING if again else State.FAILED, done),
                *(self._ledger.now() + policy.retry_s(done), row.reason, row.detail),
                *(result.worker, result.delivery, result.worker, row.index),
            ),
        )
        return Change(again=1) if again else Change(failed=1)


def list_spans(indexes: Iterable[int]) -> list[list[int]]:
    """Join indexes that follow each other: first and last of each span, in order."""
    spans: list[list[int]] = []
    for index in sorted(indexes):
        if spans and index == spans[-1][1] + 1:
            spans[-1][1] = index
        else:
            spans.append([index, index])
    return spans


def format_spans(spans: Iterable[Sequence[int]]) -> str:
    """Write spans as ranges: a delivery takes images in a row, so it is short."""
    return ",".join(f"{first}-{last}" if last > first else str(first) for first, last in spans)


def parse_ranges(text: str) -> frozenset[int]:
    """Read what ``format_spans`` wrote."""
    spans = [span.partition("-") for span in text.split(",") if span]
    return frozenset(
        index for first, _, last in spans for index in range(int(first), int(last or first) + 1)
    )

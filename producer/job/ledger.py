"""The truth about one job: every image, its state and its answer, in one SQLite file.

Redis may be wiped in mid-job; the ledger still knows what has no answer. Its invariant: an image
that is READ or FAILED never changes again, so the first terminal row wins and a second delivery
changes nothing.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from functools import cached_property
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from broker.messages import ChunkResult, Item, Row
from contract.errors import LedgerError, OutputError, SourceError
from contract.reasons import NO_ATTEMPT, PASSING, Reason
from producer.job.database import open_database, opening_error
from producer.job.lock import drop_lock, take_lock
from producer.job.ranges import format_ranges, parse_ranges
from producer.job.spec import Change, Counts, Delivery, JobSpec, State
from producer.sources.source import SourceImage

INSERT_BATCH = 10_000
# How suspect an image is: points for each death of a process that had it in hand. Processes are
# killed for many reasons, and an innocent image must never be taken for the cause: two hundred
# random kills in three minutes brought one image of 100,000 to five deaths.
SEEN = 5  # it was being read when its process died
UNKNOWN = 3  # its whole worker died, and nobody can tell
UNSEEN = 1  # no image was being read: a download that bursts the memory, or no image's fault
PART_AT = 3  # goes out in an eighth of a chunk
ALONE_AT = 5  # goes out alone
POISON_AT = 12  # the third death that was seen, the fourth that nobody saw
PARTS = 8

RETRY_S = 1.0  # doubled with each attempt, up to a minute
MAX_RETRY_S = 60.0


class Ledger:
    """One job's ledger, opened for writing by one producer at a time."""

    def __init__(self, path: Path, *, read_only: bool = False, shared: bool = False) -> None:
        """Open an existing ledger, or make an empty one.

        Args:
            path: of the ledger.
            read_only: only look; takes no lock.
            shared: leave a note for the producer that has it; takes no lock.

        Raises:
            LedgerError: another producer has it open, or it is no ledger.
            OutputError: it cannot be made there.
        """
        self.path = path
        self._were_suspects = False
        self._lock = None if read_only or shared else take_lock(path)
        try:
            self._db = open_database(path, read_only=read_only)
        except sqlite3.DatabaseError as error:
            self._release()
            raise opening_error(path, error) from error

    def __enter__(self) -> Self:
        """Use it as a context manager: it is closed at the end."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close it."""
        self.close()

    def close(self) -> None:
        """Close the file and let another producer have it; only the one file stays."""
        if self._lock is not None:
            with suppress(sqlite3.OperationalError):  # somebody looks at it just now
                self._db.execute("PRAGMA journal_mode = DELETE")
        self._db.close()
        self._release()

    # -- what the job is ----------------------------------------------------------------------

    @property
    def is_sealed(self) -> bool:
        """Whether the whole source has been written into it."""
        return self.get("spec") is not None

    @cached_property
    def spec(self) -> JobSpec:
        """What the job was asked to do.

        Raises:
            LedgerError: the source was never written to its end.
        """
        text = self.get("spec")
        if text is None:
            raise LedgerError(f"ledger {self.path} holds no whole job: submit it again")
        return JobSpec(**json.loads(text))

    def get(self, key: str) -> str | None:
        """Give one value of the job's own notes."""
        row = self._db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return None if row is None else str(row[0])

    def put(self, key: str, value: str) -> None:
        """Write one value of the job's own notes."""
        with self._writing():
            self._put(key, value)

    def seal(self, spec: JobSpec, images: Iterable[SourceImage], *, model: bytes) -> int:
        """Write the whole source and the model in one transaction: half a job never exists.

        The model is kept because the job may end on a day when its file is another.

        Returns:
            The number of images.

        Raises:
            SourceError: the source is empty, or a name stands in it twice.
        """
        with self._writing():
            total = 0
            remaining = iter(images)
            while batch := list(islice(remaining, INSERT_BATCH)):
                self._insert(total, batch)
                total += len(batch)
            if not total:
                raise SourceError(f"source {spec.source} names no image")
            self._db.execute("INSERT INTO model VALUES (?)", (model,))
            self._put("spec", json.dumps(asdict(spec)))
            self._put("created_at", str(time.time()))
            self._put("total", str(total))
        return total

    @property
    def model(self) -> bytes:
        """The model file that the job is read with."""
        return bytes(self._db.execute("SELECT data FROM model").fetchone()[0])

    # -- sending ------------------------------------------------------------------------------

    def begin_session(self) -> int:
        """Give this run of the producer a number of its own."""
        session = int(self.get("session") or 0) + 1
        self.put("session", str(session))
        return session

    def take(self, size: int, *, session: int) -> tuple[int, list[Item]]:
        """Take waiting images into a new delivery, and note it as sent before it is.

        A crash between this and the sending is found by the reconciler; the other order would
        send images that the ledger does not know to be out.

        Args:
            size: the most images; fewer where they are suspected to kill workers.
            session: this run of the producer.

        Returns:
            The delivery's number and its images; none if nothing is ready to go.
        """
        now = time.time()
        rows = self._next_waiting(size, now)
        if not rows:
            return 0, []
        with self._writing():
            cursor = self._db.execute(
                "INSERT INTO chunk (sent_at, session, images) VALUES (?, ?, ?)",
                (now, session, len(rows)),
            )
            chunk = int(cursor.lastrowid or 0)
            self._db.executemany(
                "UPDATE image SET state = 1, chunk = ? WHERE idx = ?",
                [(chunk, index) for index, _ in rows],
            )
            items = format_ranges(index for index, _ in rows)
            self._db.execute("INSERT INTO membership VALUES (?, ?)", (chunk, items))
        return chunk, [Item(index=index, url=url) for index, url in rows]

    def give_up(
        self,
        chunk: int,
        why: str,
        *,
        is_death: bool = False,
        suspects: Collection[int] | None = None,
    ) -> Change:
        """End a delivery without an answer; its open images wait again, or fail as poison.

        Args:
            chunk: the delivery.
            why: a word for the ledger.
            is_death: its worker died with it in hand, so one of its images may be the cause.
            suspects: the images that were being read when it died; None where nobody knows.
        """
        with self._writing():
            if is_death:
                self._suspect(chunk, suspects)
            self._end_chunk(chunk, why)
            again = self._db.execute(
                "UPDATE image SET state = 0 WHERE state = 1 AND chunk = ?", (chunk,)
            ).rowcount
            failed = self._fail_poison() if is_death else 0
        return Change(failed=failed, again=again - failed)

    def members(self, chunk: int) -> frozenset[int]:
        """Give the images of a delivery; none if there never was one of this number."""
        row = self._db.execute("SELECT items FROM membership WHERE chunk = ?", (chunk,)).fetchone()
        return frozenset() if row is None else parse_ranges(row[0])

    def deliveries_out(self) -> list[Delivery]:
        """Give the deliveries that have no answer yet, oldest first."""
        rows = self._db.execute(
            "SELECT id, sent_at, session, images FROM chunk WHERE ended IS NULL ORDER BY id"
        )
        return [Delivery(*row) for row in rows]

    # -- collecting ---------------------------------------------------------------------------

    def record(self, results: Sequence[ChunkResult], *, position: str, forgive: set[int]) -> Change:
        """Commit answers and the stream position that they came from, in one transaction.

        Args:
            results: chunks that are done.
            position: the stream's entry id after them.
            forgive: deliveries whose passing failures do not count as an attempt, because the
                producer itself was away and it serves the images.
        """
        attempts = self.spec.attempts
        change = Change()
        with self._writing():
            for result in results:
                self._end_chunk(result.chunk, "answered")
                change += self._record_read(result)
                for row in result.rows:
                    if row.reason is not None:
                        is_forgiven = result.chunk in forgive
                        change += self._record_failure(result, row, attempts, is_forgiven)
            self._put("position", position)
            if change.repeats:  # kept here, because a producer that is killed forgets its own count
                self._put("repeats", str(int(self.get("repeats") or 0) + change.repeats))
        return change

    def fail_open(self, reason: Reason, detail: str = "") -> int:
        """Fail every image that has no answer, and end every delivery."""
        with self._writing():
            self._db.execute("UPDATE chunk SET ended = ? WHERE ended IS NULL", (reason,))
            return self._db.execute(
                "UPDATE image SET state = 3, reason = ?, detail = ? WHERE state IN (0, 1)",
                (reason, detail),
            ).rowcount

    def revive(self, reason: Reason | None = None) -> int:
        """Let failed images wait again, with all their attempts; gives their number.

        Args:
            reason: only those that failed for it; None takes all. A cancelled job goes on.
        """
        with self._writing():
            self._db.execute("DELETE FROM meta WHERE key = 'cancelled'")
            return self._db.execute(
                "UPDATE image SET state = 0, attempts = 0, deaths = 0, ready_at = 0, chunk = NULL"
                " WHERE state = 3 AND (?1 IS NULL OR reason = ?1)",
                (reason,),
            ).rowcount

    # -- reading ------------------------------------------------------------------------------

    def counts(self) -> Counts:
        """Count the images by state; it reads them all, so a run does it once."""
        by_state = dict(self._db.execute("SELECT state, count(*) FROM image GROUP BY state"))
        return Counts(
            total=sum(by_state.values()),
            read=by_state.get(State.READ, 0),
            failed=by_state.get(State.FAILED, 0),
            out=by_state.get(State.SENT, 0),
        )

    def hosts(self) -> set[str]:
        """Give the hosts that the images are on, in lower case; it reads every URL."""
        urls = self._db.execute("SELECT url FROM image")
        return {urlsplit(url).hostname or "" for (url,) in urls}

    def next_ready_at(self) -> float | None:
        """Give the Unix time at which the next waiting image may go; None if none waits."""
        row = self._db.execute("SELECT min(ready_at) FROM image WHERE state = 0").fetchone()
        return None if row[0] is None else float(row[0])

    def rows(self, columns: Sequence[str], *, only_failed: bool = False) -> Iterator[list[str]]:
        """Yield rows of the named columns, sorted by name in code point order."""
        where = f"WHERE state = {State.FAILED:d}" if only_failed else ""
        chosen = ", ".join(columns)
        for row in self._db.execute(f"SELECT {chosen} FROM image {where} ORDER BY name"):
            yield ["" if value is None else str(value) for value in row]

    # -- inside -------------------------------------------------------------------------------

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Commit what is done inside, or nothing of it."""
        try:
            self._db.execute("BEGIN IMMEDIATE")
            yield
            self._db.execute("COMMIT")
        except sqlite3.OperationalError as error:
            self._roll_back()
            raise OutputError(f"ledger {self.path} cannot be written: {error}") from error
        except BaseException:
            self._roll_back()
            raise

    def _roll_back(self) -> None:
        if self._db.in_transaction:
            self._db.execute("ROLLBACK")

    def _put(self, key: str, value: str) -> None:
        self._db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))

    def _insert(self, start: int, batch: list[SourceImage]) -> None:
        try:
            self._db.executemany(
                "INSERT INTO image (idx, name, url) VALUES (?, ?, ?)",
                [(start + i, image.name, image.url) for i, image in enumerate(batch)],
            )
        except sqlite3.IntegrityError as error:
            name = self._first_duplicate(start, batch)
            advice = "names must differ; a CSV with url,name gives each its own"
            raise SourceError(f"name {name!r} stands twice in the source: {advice}") from error

    def _first_duplicate(self, start: int, batch: list[SourceImage]) -> str:
        seen: set[str] = set()
        for image in batch:
            known = self._db.execute(
                "SELECT 1 FROM image WHERE name = ? AND idx < ?", (image.name, start)
            ).fetchone()
            if known or image.name in seen:
                return image.name
            seen.add(image.name)
        raise AssertionError("SQLite saw a duplicate that is none")

    def _next_waiting(self, size: int, now: float) -> list[tuple[int, str]]:
        """Give what goes next: suspects every other time, so that neither holds up the other."""
        suspects, others = range(PART_AT, POISON_AT), range(PART_AT - 1, -1, -1)
        turns = (*others, *suspects) if self._were_suspects else (*suspects, *others)
        for points in turns:
            rows = self._db.execute(
                "SELECT idx, url FROM image WHERE state = 0 AND deaths = ? AND ready_at <= ?"
                " ORDER BY idx LIMIT ?",
                (points, now, size_for(points, size)),
            ).fetchall()
            if rows:
                self._were_suspects = points >= PART_AT
                return rows
        return []

    def _suspect(self, chunk: int, suspects: Collection[int] | None) -> None:
        """Note what a death says of the images that are still open in a delivery."""
        if suspects:
            self._db.executemany(
                "UPDATE image SET deaths = deaths + ? WHERE state = 1 AND chunk = ? AND idx = ?",
                [(SEEN, chunk, index) for index in suspects],
            )
            return
        self._db.execute(
            "UPDATE image SET deaths = deaths + ? WHERE state = 1 AND chunk = ?",
            (UNKNOWN if suspects is None else UNSEEN, chunk),
        )

    def _end_chunk(self, chunk: int, why: str) -> None:
        self._db.execute("UPDATE chunk SET ended = ? WHERE id = ? AND ended IS NULL", (why, chunk))

    def _fail_poison(self) -> int:
        return self._db.execute(
            "UPDATE image SET state = 3, reason = ?, detail = ? WHERE state = 0 AND deaths >= ?",
            (Reason.POISON, "workers died of it, again and again", POISON_AT),
        ).rowcount

    def _record_read(self, result: ChunkResult) -> Change:
        read = [row for row in result.rows if row.reason is None]
        taken = self._db.executemany(
            "UPDATE image SET state = 2, text = ?, confidence = ?, reason = NULL, detail = NULL,"
            " worker = ?, chunk = ?, attempts = attempts + 1 WHERE idx = ? AND state IN (0, 1)",
            [(r.text, r.confidence, result.worker, result.chunk, r.index) for r in read],
        ).rowcount
        taken = max(0, taken)  # -1 where there was nothing to execute
        return Change(read=taken, repeats=len(read) - taken)

    def _record_failure(
        self, result: ChunkResult, row: Row, attempts: int, is_forgiven: bool
    ) -> Change:
        """Fail an image for good, or let it wait for another attempt."""
        found = self._db.execute(
            "SELECT attempts, chunk FROM image WHERE idx = ? AND state IN (0, 1)", (row.index,)
        ).fetchone()
        may_pass = row.reason in PASSING
        if found is None or (may_pass and found[1] != result.chunk):
            return Change(repeats=1)  # answered already, or a newer delivery may do better
        done = found[0] + (not is_forgiven and row.reason not in NO_ATTEMPT)
        again = may_pass and done < attempts
        self._db.execute(
            "UPDATE image SET state = ?, attempts = ?, ready_at = ?, reason = ?, detail = ?,"
            " worker = ?, chunk = ? WHERE idx = ?",
            (
                State.WAITING if again else State.FAILED,
                done,
                time.time() + min(MAX_RETRY_S, RETRY_S * 2.0**done),
                row.reason,
                row.detail,
                result.worker,
                result.chunk,
                row.index,
            ),
        )
        return Change(again=1) if again else Change(failed=1)

    def _release(self) -> None:
        if self._lock is not None:
            drop_lock(self.path, self._lock)
            self._lock = None


def size_for(points: int, size: int) -> int:
    """Give how many images go out together that are so suspect, of so many that might."""
    if points >= ALONE_AT:
        return 1
    return max(1, size // PARTS) if points >= PART_AT else size

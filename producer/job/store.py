"""The ledger: the truth about one job, every image and its answer, in one SQLite file.

Redis may be wiped in mid-job; the ledger still knows what has no answer. Here is the file: opening,
locking and sealing it, its notes and its rows. What goes out and comes back is in ``deliveries``.
"""

from __future__ import annotations

import fcntl
import importlib.resources
import secrets
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

import msgspec
from filelock import FileLock, Timeout

from contract.errors import LedgerError, OutputError, SourceError
from producer.job.spec import Counts, JobSpec, State
from producer.sources.image import SourceDigest, SourceImage

SCHEMA_VERSION = 2  # in SQLite's user_version; a ledger without one is of pifleet before 0.2
INSERT_BATCH = 10_000
LOOK_S = 0.2  # whoever only looks whether a ledger is in use holds its lock for far less
SOURCE_KEY = "source_sha256"  # of all names and addresses, so that another list is noticed


class Ledger:
    """One job's ledger, opened for writing by one producer at a time."""

    def __init__(
        self,
        path: Path,
        *,
        read_only: bool = False,
        shared: bool = False,
        clock: Callable[[], float] = time.monotonic,
        db: sqlite3.Connection | None = None,
    ) -> None:
        """Open an existing ledger, or make an empty one.

        Args:
            path: of the ledger.
            read_only: only look; takes no lock.
            shared: leave a note for the producer that has it; takes no lock.
            clock: monotonic, seconds.
            db: where the ledger stands in place of a file; takes no lock.

        Raises:
            LedgerError: another producer has it open, it is of another version, or no ledger.
            OutputError: it cannot be made there.
        """
        self.path = path
        self._clock = clock
        self._lock = None if read_only or shared or db else _lock(path)
        try:
            self.db = prepare(db) if db else _open_database(path, read_only=read_only)
            self._opened_at = clock()
            self._clock_s = float(self.get("clock") or 0.0)
        except (sqlite3.DatabaseError, ValueError, LedgerError) as error:
            self._release()
            raise _opening_error(path, error) from error

    def __enter__(self) -> Self:
        """Use it as a context manager: it is closed at the end."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close it; a page of it that cannot be read is one sentence and no traceback.

        Raises:
            LedgerError: the file is damaged.
        """
        self.close()
        if isinstance(error, sqlite3.DatabaseError):
            raise _damaged(self.path, error) from error

    def close(self) -> None:
        """Close the file and let another producer have it; only the one file stays."""
        if self._lock is not None:
            with suppress(sqlite3.DatabaseError):  # somebody looks at it just now, or it is damaged
                self.db.execute("PRAGMA journal_mode = DELETE")
        self.db.close()
        self._release()

    # -- what the job is ----------------------------------------------------------------------

    @property
    def is_sealed(self) -> bool:
        """Whether the whole source has been written into it."""
        return self.get("spec") is not None

    @property
    def spec(self) -> JobSpec:
        """What the job was asked to do.

        Raises:
            LedgerError: the source was never written to its end, or the note is damaged.
        """
        text = self.get("spec")
        if text is None:
            raise LedgerError(f"ledger {self.path} holds no whole job: submit it again")
        try:
            return msgspec.json.decode(text, type=JobSpec)
        except msgspec.DecodeError as error:
            raise _damaged(self.path, error) from error

    @property
    def secret(self) -> str:
        """What the tokens of the job's deliveries are made from; it never leaves the ledger."""
        return self.get("secret") or ""

    def change_spec(self, spec: JobSpec) -> None:
        """Note what a resumed job is now asked to do."""
        self.put("spec", msgspec.json.encode(spec).decode())

    def get(self, key: str) -> str | None:
        """Read one of the job's own notes; None where there is none."""
        row = self.db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return None if row is None else str(row[0])

    def put(self, key: str, value: str) -> None:
        """Write one of the job's own notes."""
        with self.writing():
            self.note(key, value)

    def note(self, key: str, value: str) -> None:
        """Write one of the job's own notes in a transaction that is open."""
        self.db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))

    def seal(
        self,
        spec: JobSpec,
        images: Iterable[SourceImage],
        *,
        model: bytes,
        automaton: bytes | None = None,
    ) -> int:
        """Write the whole source and the model in one transaction: half a job never exists.

        The model is kept because the job may end on a day when its file is another; so is what the
        lexicon came to, packed.

        Returns:
            The number of images.

        Raises:
            SourceError: the source is empty, or a name stands in it twice.
        """
        content = SourceDigest()
        with self.writing():
            total = 0
            remaining = content.over(images)
            while batch := list(islice(remaining, INSERT_BATCH)):
                self._insert(total, batch)
                total += len(batch)
            if not total:
                raise SourceError(f"source {spec.source} names no image")
            self.db.execute("INSERT INTO model VALUES (?)", (model,))
            if automaton is not None:
                self.db.execute("INSERT INTO automaton VALUES (?)", (automaton,))
            self.note("spec", msgspec.json.encode(spec).decode())
            self.note("created_at", str(time.time()))
            self.note("secret", secrets.token_hex(32))
            self.note(SOURCE_KEY, content.hexdigest())
        return total

    @property
    def model(self) -> bytes:
        """The model file that the job is read with."""
        return bytes(self.db.execute("SELECT data FROM model").fetchone()[0])

    @property
    def automaton(self) -> bytes | None:
        """The automaton of the texts that the job accepts, packed; None where it accepts all."""
        if self.spec.automaton is None:
            return None
        return bytes(self.db.execute("SELECT packed FROM automaton").fetchone()[0])

    # -- reading ------------------------------------------------------------------------------

    def now(self) -> float:
        """Tell the time on the ledger's own clock: seconds that producers were at work on it.

        It never jumps, whatever becomes of the machine's clock between two runs or in one.
        """
        return self._clock_s + self._clock() - self._opened_at

    def counts(self) -> Counts:
        """Count the images by state, in the indexes alone; they are numbered from 0."""
        total, waiting, out, failed = self.db.execute(
            "SELECT (SELECT coalesce(max(idx) + 1, 0) FROM image),"
            f" (SELECT count(*) FROM image WHERE state = {State.WAITING:d}),"
            f" (SELECT count(*) FROM image WHERE state = {State.SENT:d}),"
            f" (SELECT count(*) FROM image WHERE state = {State.FAILED:d})"
        ).fetchone()
        return Counts(total=total, read=total - waiting - out - failed, failed=failed, out=out)

    def reasons(self) -> dict[str, int]:
        """Count the failed images by reason, the most frequent first."""
        return dict(
            self.db.execute(
                f"SELECT reason, count(*) AS number FROM image WHERE state = {State.FAILED:d}"
                " GROUP BY reason ORDER BY number DESC"
            )
        )

    def hosts(self) -> set[str]:
        """Collect the hosts that the images are on, in lower case; it reads every URL."""
        urls = self.db.execute("SELECT url FROM image")
        return {urlsplit(url).hostname or "" for (url,) in urls}

    def rows(self, columns: Sequence[str], *, only_failed: bool = False) -> Iterator[list[str]]:
        """Yield rows of the named columns, sorted by name in code point order."""
        where = f"WHERE state = {State.FAILED:d}" if only_failed else ""
        chosen = ", ".join(columns)
        for row in self.db.execute(f"SELECT {chosen} FROM image {where} ORDER BY name"):
            yield [value if type(value) is str else _cell(value) for value in row]

    # -- writing ------------------------------------------------------------------------------

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Commit what is done inside, or nothing of it; inside another one, with that.

        Raises:
            OutputError: the disk is full, or the file cannot be written.
        """
        if self.db.in_transaction:
            yield
            return
        try:
            self.db.execute("BEGIN IMMEDIATE")
            yield
            self.db.execute("COMMIT")
        except sqlite3.OperationalError as error:
            self._roll_back()
            raise OutputError(f"ledger {self.path} cannot be written: {error}") from error
        except BaseException:
            self._roll_back()
            raise

    def _roll_back(self) -> None:
        if self.db.in_transaction:
            self.db.execute("ROLLBACK")

    def _insert(self, start: int, batch: list[SourceImage]) -> None:
        try:
            self.db.executemany(
                "INSERT INTO image (idx, name, url) VALUES (?, ?, ?)",
                [(start + i, name, url) for i, (name, url) in enumerate(batch)],
            )
        except sqlite3.IntegrityError as error:
            name = self._first_duplicate(start, batch)
            advice = "names must differ; a CSV with url,name gives each its own"
            raise SourceError(f"name {name!r} stands twice in the source: {advice}") from error

    def _first_duplicate(self, start: int, batch: list[SourceImage]) -> str:
        seen: set[str] = set()
        for image in batch:
            known = self.db.execute(
                "SELECT 1 FROM image WHERE name = ? AND idx < ?", (image.name, start)
            ).fetchone()
            if known or image.name in seen:
                return image.name
            seen.add(image.name)
        raise AssertionError("SQLite saw a duplicate that is none")

    def _release(self) -> None:
        if self._lock is not None:
            lock_path(self.path).unlink(missing_ok=True)  # before letting go: filelock looks again
            self._lock.release()
            self._lock = None


class NameIndex:
    """Looks names of images up in a ledger that a producer is at work on, from another thread.

    A name costs no memory: a job may have millions.
    """

    def __init__(self, path: Path) -> None:
        uri = f"{path.absolute().as_uri()}?mode=ro"
        self._db = sqlite3.connect(uri, uri=True, timeout=10, check_same_thread=False)

    def has(self, name: str) -> bool:
        """Tell whether an image of the job has this name."""
        found = self._db.execute("SELECT 1 FROM image WHERE name = ?", (name,)).fetchone()
        return found is not None

    def close(self) -> None:
        """Close the file; nobody may be looking a name up."""
        self._db.close()


def lock_path(ledger: Path) -> Path:
    """Name the file whose lock says that a producer is at work on a ledger."""
    return ledger.with_name(ledger.name + "-lock")


@contextmanager
def held(ledger: Path) -> Iterator[None]:
    """Keep every producer from a ledger, whatever stands in it.

    Raises:
        LedgerError: a producer is at work on it.
    """
    lock = _lock(ledger)
    try:
        yield
    finally:
        lock_path(ledger).unlink(missing_ok=True)
        lock.release()


def is_in_use(ledger: Path) -> bool:
    """Tell whether a producer is at work on a ledger; whoever asks may have no right to write."""
    try:
        with lock_path(ledger).open("rb") as lock:  # a lock goes with its file
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def _lock(path: Path) -> FileLock:
    if not path.parent.is_dir():  # filelock would make it
        raise OutputError(f"ledger {path} cannot be written: no such folder")
    lock = FileLock(lock_path(path), timeout=LOOK_S, poll_interval=LOOK_S / 20)
    try:
        lock.acquire()
    except Timeout as error:
        message = f"ledger {path} is in use by another producer: wait for it, or end it"
        raise LedgerError(message) from error
    except OSError as error:
        raise OutputError(f"ledger {path} cannot be written: {error.strerror}") from error
    return lock


def _open_database(path: Path, *, read_only: bool) -> sqlite3.Connection:
    if read_only:
        db = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=10)
        _check_version(db, path, read_only=True)
        return db
    db = sqlite3.connect(path, timeout=10, isolation_level=None)
    _check_version(db, path)
    return prepare(db)


def prepare(db: sqlite3.Connection) -> sqlite3.Connection:
    """Make the tables of a ledger where they are missing, and set how it is written."""
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = NORMAL")  # a power cut costs resends, not rows' truth
    db.execute("PRAGMA cache_size = -65536")  # 64 MB: the index of a million names
    schema = (importlib.resources.files("producer.job") / "schema.sql").read_text()
    # In one transaction: a disk that is full leaves no ledger without its version.
    db.executescript(f"BEGIN; {schema} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;")
    return db


def _check_version(db: sqlite3.Connection, path: Path, *, read_only: bool = False) -> None:
    version = db.execute("PRAGMA user_version").fetchone()[0]
    is_empty = db.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone() is None
    if is_empty and read_only:
        raise LedgerError(f"ledger {path} holds no whole job: submit it again")
    if version != SCHEMA_VERSION and not is_empty:
        raise LedgerError(
            f"ledger {path} was begun by another version of pifleet: end it with that one, give"
            " another -o, or --restart to throw it away"
        )


def _cell(value: object) -> str:
    return "" if value is None else str(value)


def _damaged(path: Path, error: BaseException) -> LedgerError:
    return LedgerError(
        f"ledger {path} is damaged: {error}; give another -o, or --restart to begin anew"
    )


def _opening_error(path: Path, error: Exception) -> LedgerError | OutputError:
    if isinstance(error, LedgerError):
        return error
    if isinstance(error, sqlite3.OperationalError):
        return OutputError(f"ledger {path} cannot be opened: {error}")
    return LedgerError(f"{path} is no ledger of pifleet: {error}; give another -o")

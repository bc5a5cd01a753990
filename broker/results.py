"""Results: a stream a job, onto which workers put an entry a chunk and which its producer reads.

Only the producer creates it: workers add with NOMKSTREAM, so that an answer to a job that is over
leaves nothing behind.
"""

from __future__ import annotations

import logging
import random
import time
from enum import StrEnum
from typing import TYPE_CHECKING, cast

import msgspec
from redis.exceptions import RedisError

from broker.connection import is_refused
from broker.keys import JOB_TTL_S, Rights, key
from broker.messages import (
    Count,
    Message,
    Seconds,
    Share,
    from_json,
    is_storable,
    make_printable,
    printable,
)
from contract.backoff import full_jitter
from contract.errors import MessageError
from contract.reasons import Reason

if TYPE_CHECKING:
    from redis import Redis

log = logging.getLogger(__name__)

Entry = tuple[bytes, dict[bytes, bytes]]  # id, fields

MAX_RESULT_BYTES = 2_000_000  # 1,024 rows with the longest details come to a third of it
MAX_DETAIL = 200  # characters of a failure's detail; it is for a person, not for a program
READ_AT_ONCE = 100  # entries; 6,400 rows a transaction keep both Redis and SQLite quick
LARGE_BYTES = 16_000_000  # a stream that holds more is read one entry at a time
MAX_AHEAD_MS = 3_600_000  # of Redis's clock: an entry that claims to be later blocks the stream
MAX_NUMBER = 2**64 - 1  # of the entries of one millisecond
GIVE_UP_S = 60.0  # the reconciler sends the chunk again sooner than a longer wait would pay

RESULT_FIELD = "r"  # one field an entry: the JSON of one ChunkResult
OPEN_FIELD = "open"  # first entry of a stream, which its producer makes
RIGHTS = {
    "producer": Rights(
        (key("results", "*"),),
        ("expire", "xadd", "xread", "xtrim", "xinfo|stream", "xlen", "del", "memory|usage"),
    ),
    "worker": Rights((key("results", "*"),), ("xadd",)),  # no XREAD, no XRANGE
}


def results_key(job: str) -> str:
    """Name the stream that a job's rows come back on."""
    return key("results", job)


class Row(msgspec.Struct, frozen=True, array_like=True):
    """The answer to one image: a text, or a reason why there is none.

    Attributes:
        index: the image's index in the job.
        text: what was read; None if it failed.
        confidence: in [0, 1]; 0 if it failed.
        reason: why it failed; None if it was read.
        detail: a sentence for a person, at most ``MAX_DETAIL`` characters.
    """

    index: Count
    text: str | None
    confidence: Share = 0.0
    reason: Reason | None = None
    detail: str = ""

    def __post_init__(self) -> None:
        """Refuse what is neither read nor failed, or could not be stored."""
        if (self.text is None) == (self.reason is None):
            raise ValueError("a row has a text, or a reason why there is none")
        if self.text and not is_storable(self.text):
            raise ValueError("the text holds half a character")
        if self.detail:
            make_printable(self, "detail", most=MAX_DETAIL)


class Outcome(StrEnum):
    """How a chunk ended."""

    DONE = "done"
    """Every image of it has a row."""
    NO_MODEL = "no_model"
    """Redis does not hold the model (any more): the producer puts it there and sends again."""
    BAD_MODEL = "bad_model"
    """This worker cannot use the model; the detail says why."""
    CRASHED = "crashed"
    """The process that read it died, or ran out of time."""


class Crash(msgspec.Struct, frozen=True):
    """What is known of a process's last moment.

    Attributes:
        was_seen: whether its in-flight marker could be read; it dies with its whole worker.
        image: the index of the image that it was reading; None if it was between two, or nobody
            knows.
    """

    was_seen: bool = False
    image: Count | None = None


class ChunkResult(Message, frozen=True, tag=3):
    """What comes back on a job's results stream, one entry a chunk.

    Attributes:
        delivery: whose it is.
        token: of that delivery, which only its claimant knows.
        worker: the worker's name.
        outcome: how it ended; rows come with ``DONE`` only.
        rows: one an image.
        took_s: seconds from the start of the chunk to its end, on the worker's clock.
        detail: a sentence for a person, where the outcome is not ``DONE``.
        crash: of a chunk that ``CRASHED``.
    """

    delivery: Count
    worker: str
    outcome: Outcome
    token: str
    rows: tuple[Row, ...] = ()
    took_s: Seconds = 0.0
    detail: str = ""
    crash: Crash | None = None

    def __post_init__(self) -> None:
        """Keep what a terminal would take for more than text out of logs."""
        make_printable(self, "worker")
        make_printable(self, "token", "detail", most=MAX_DETAIL)

    @classmethod
    def from_json(cls, text: bytes | str) -> ChunkResult:
        """Read an entry.

        Raises:
            MessageError: it is none of ours.
        """
        return from_json(cls, text, limit=MAX_RESULT_BYTES)


class ResultStream:
    """The stream that one job's answers come back on, as its producer sees it."""

    def __init__(self, client: Redis, job: str, *, position: str = "0") -> None:
        self._client = client
        self._key = results_key(job)
        self.position = position

    def is_there(self) -> bool:
        """Tell whether it exists, and keep it; where it does not, whatever was out is lost."""
        if not self._client.expire(self._key, JOB_TTL_S):  # by us: no worker may expire a key
            return False
        if self._measure()[1] < LARGE_BYTES:  # the question is answered with two whole entries
            self._step_back()
        return True

    def make(self) -> None:
        """Make it: from now on workers can answer."""
        entry = cast(bytes, self._client.xadd(self._key, {OPEN_FIELD: "1"}))
        self._client.expire(self._key, JOB_TTL_S)
        self.position = entry.decode()

    def read(self, *, wait_ms: int) -> tuple[list[ChunkResult], str, bool]:
        """Read what came after the position, waiting a while for the first entry.

        Returns:
            The answers; the position after them, which the caller takes once they are in the
            ledger; and whether more may wait. An entry that cannot be understood is passed over
            with a warning. No more are read than were measured: whoever adds large ones meanwhile
            fills no memory.
        """
        block = wait_ms if wait_ms > 0 else None
        held, used = self._measure()
        most = 1 if used > LARGE_BYTES else max(1, min(held, READ_AT_ONCE))
        found = self._client.xread({self._key: self.position}, count=most, block=block)
        entries = cast(list[tuple[bytes, list[Entry]]], found)[0][1] if found else []
        if any(self._is_impossible(entry) for entry, _ in entries[-1:]):
            log.error("stream-remade key=%s reason=an-entry-of-the-future", self._key)
            self._client.delete(self._key)  # no worker could add to it any more
            return [], self.position, False
        results = [result for _, fields in entries if (result := _parse(fields)) is not None]
        position = entries[-1][0].decode() if entries else self.position
        return results, position, len(entries) == most < held

    def _step_back(self) -> None:
        """Read from the beginning where the stream is behind what was read of it.

        A broker that failed over has lost its last entries, and its clock may be behind: what is
        added then would stand before the position, and never be read.
        """
        last = cast(bytes, self._client.xinfo_stream(self._key)["last-generated-id"])
        if _parts(last.decode()) < _parts(self.position):
            log.warning("stream-behind key=%s position=%s", self._key, self.position)
            self.position = "0"

    def _measure(self) -> tuple[int, int]:
        """Tell how many entries and how many bytes it holds."""
        with self._client.pipeline(transaction=False) as both:
            both.xlen(self._key)
            both.memory_usage(self._key, samples=0)  # not a guess from a few
            held, used = cast(tuple[int, int | None], both.execute())
        return held, used or 0

    def _is_impossible(self, entry: bytes) -> bool:
        if int(entry.partition(b"-")[0]) < (time.time() * 1000) + MAX_AHEAD_MS:
            return False
        seconds, _ = self._client.time()  # this machine's clock may be off
        return int(entry.partition(b"-")[0]) > seconds * 1000 + MAX_AHEAD_MS

    def trim(self) -> None:
        """Drop what was read: the ledger has it by now."""
        ms, number = _parts(self.position)
        first = f"{ms}-{min(number + 1, MAX_NUMBER)}"
        self._client.xtrim(self._key, minid=first, approximate=False)

    def delete(self) -> None:
        """End the job in Redis; chunks of it that are still about are skipped by workers."""
        self._client.delete(self._key)


def add_result(client: Redis, job: str, result: ChunkResult) -> bool:
    """Add one entry, once, for a worker.

    Returns:
        False where the job has no stream any more; it is never made anew, for nobody would
        ever read or remove it.

    Raises:
        RedisError: Redis is away, or refuses.
    """
    text = result.to_json()
    added = client.xadd(results_key(job), {RESULT_FIELD: text}, nomkstream=True)
    entry = cast(bytes | None, added)
    if entry is None:
        log.info("result-dropped job=%s delivery=%d reason=job-is-over", job, result.delivery)
    return entry is not None


def deliver(
    client: Redis,
    job: str,
    result: ChunkResult,
    *,
    rng: random.Random,
    give_up_s: float = GIVE_UP_S,
) -> bool:
    """Add one entry, and try again while Redis is away; not where it refuses us.

    Returns:
        Whether it stands in the stream.
    """
    give_up_at = time.monotonic() + give_up_s
    attempt = 0
    while True:
        try:
            return add_result(client, job, result)
        except RedisError as error:
            wait_s = full_jitter(attempt, rng)
            attempt += 1
            if is_refused(error) or time.monotonic() + wait_s > give_up_at:
                log.error("result-lost job=%s delivery=%d error=%s", job, result.delivery, error)
                return False
            log.warning("result-waits job=%s delivery=%d error=%s", job, result.delivery, error)
        time.sleep(wait_s)


def _parts(entry: str) -> tuple[int, int]:
    ms, _, number = entry.partition("-")
    return int(ms), int(number or 0)


def _parse(fields: dict[bytes, bytes]) -> ChunkResult | None:
    text = fields.get(RESULT_FIELD.encode())
    if text is None:
        return None
    try:
        return ChunkResult.from_json(text)
    except MessageError as error:
        log.warning("answer ignored: %s", printable(str(error)))
        return None

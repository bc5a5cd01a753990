"""What producer and workers say to each other: a chunk of work, and the answer to it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeVar

from broker.fields import is_index, is_plain, need, need_or_none, need_version, parse_object
from broker.limits import (
    MAX_RESULT_BYTES,
    check_size,
    number,
    printable,
    seconds,
)
from contract.errors import MessageError
from contract.reasons import Reason

VERSION = 1
MAX_CHUNK = 1024  # images; keeps a message small and a lost chunk cheap
MAX_DETAIL = 200  # characters of a failure's detail; it is for a person, not for a program

E = TypeVar("E", bound=StrEnum)


@dataclass(frozen=True, slots=True)
class Item:
    """One image to read: its index in the job, and where it is."""

    index: int
    url: str


@dataclass(frozen=True, slots=True)
class ChunkTask:
    """A chunk of images that one worker reads.

    Attributes:
        job: the job's id.
        chunk: the number of this delivery within the job; a resent chunk has a new one.
        model: SHA-256 of the model file.
        symbols: those the job allows; None allows all of the model's.
        items: the images.
        rate: requests a second that the whole fleet may make for the job; None for no limit.
        per_host: requests a second that the whole fleet may make to each host.
        is_offered: a worker takes it out of the job's offers before it begins, so that no two do;
            a producer of an older version offers nothing.
    """

    job: str
    chunk: int
    model: str
    symbols: str | None
    items: tuple[Item, ...]
    rate: float | None = None
    per_host: float | None = None
    is_offered: bool = False

    def to_wire(self) -> dict[str, Any]:
        """Give the JSON object that stands in the task's arguments."""
        return {
            "v": VERSION,
            "job": self.job,
            "chunk": self.chunk,
            "model": self.model,
            "symbols": self.symbols,
            "items": [[item.index, item.url] for item in self.items],
            "rate": self.rate,
            "per_host": self.per_host,
            "is_offered": self.is_offered,
        }

    @classmethod
    def from_wire(cls, fields: Mapping[str, Any]) -> ChunkTask:
        """Take the object apart.

        Raises:
            MessageError: of an unknown version, or a field is missing or mistyped.
        """
        if not isinstance(fields, Mapping):
            raise MessageError(f"chunk is a {type(fields).__name__}, not an object")
        known = dict(fields)
        need_version(known, VERSION, "chunk")
        items = need(known, "items", list)
        if not 0 < len(items) <= MAX_CHUNK:
            raise MessageError(f"chunk of {len(items)} images, 1 to {MAX_CHUNK} are accepted")
        return cls(
            job=need(known, "job", str),
            chunk=need(known, "chunk", int),
            model=need(known, "model", str),
            symbols=need_or_none(known, "symbols", str),
            items=tuple(_item(pair) for pair in items),
            rate=_rate(known, "rate"),
            per_host=_rate(known, "per_host"),
            is_offered=need_or_none(known, "is_offered", bool) or False,
        )

    def task_id(self) -> str:
        """Name the Celery task, so that a heartbeat's task ids name chunks."""
        return f"{self.job}.{self.chunk}"


@dataclass(frozen=True, slots=True)
class Row:
    """The answer to one image: a text, or a reason why there is none.

    Attributes:
        index: the image's index in the job.
        text: what was read; None if it failed.
        confidence: in [0, 1]; 0 if it failed.
        reason: why it failed; None if it was read.
        detail: a sentence for a person, at most ``MAX_DETAIL`` characters.
    """

    index: int
    text: str | None
    confidence: float = 0.0
    reason: Reason | None = None
    detail: str = ""


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


@dataclass(frozen=True, slots=True)
class ChunkResult:
    """What comes back on a job's results stream, one entry a chunk.

    Attributes:
        chunk: the delivery's number.
        worker: the worker's name.
        outcome: how it ended; rows come with ``DONE`` only.
        rows: one an image.
        took_s: seconds from the start of the chunk to its end, on the worker's clock.
        detail: a sentence for a person, where the outcome is not ``DONE``.
        suspects: of a chunk that ``CRASHED``: the images that were being read when its process
            died; None where nobody knows.
    """

    chunk: int
    worker: str
    outcome: Outcome
    rows: tuple[Row, ...] = ()
    took_s: float = 0.0
    detail: str = ""
    suspects: tuple[int, ...] | None = None

    def to_json(self) -> str:
        """Write the entry; a read image costs its index, text and confidence, and no more."""
        fields = {
            "v": VERSION,
            "chunk": self.chunk,
            "worker": self.worker,
            "outcome": self.outcome,
            "rows": [_row_to_wire(row) for row in self.rows],
            "took_s": round(self.took_s, 3),
            "detail": self.detail[:MAX_DETAIL],
        }
        if self.suspects is not None:
            fields["suspects"] = self.suspects
        return json.dumps(fields, ensure_ascii=False, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: bytes | str) -> ChunkResult:
        """Read an entry.

        Raises:
            MessageError: of an unknown version, or a field is missing or mistyped.
        """
        check_size(text, MAX_RESULT_BYTES, "chunk result")
        fields = parse_object(text, "chunk result")
        need_version(fields, VERSION, "chunk result")
        return cls(
            chunk=number(need(fields, "chunk", int), "chunk"),
            worker=printable(need(fields, "worker", str)),
            outcome=_member(Outcome, need(fields, "outcome", str)),
            rows=tuple(_row(row) for row in need(fields, "rows", list)),
            took_s=seconds(need(fields, "took_s", float), "took_s"),
            detail=printable(need(fields, "detail", str), most=MAX_DETAIL),
            suspects=_indexes(need_or_none(fields, "suspects", list)),
        )


def _rate(fields: dict[str, Any], name: str) -> float | None:
    rate = need_or_none(fields, name, float)
    if rate is not None and rate <= 0:
        raise MessageError(f"field {name!r} is {rate}, not above 0")
    return rate


def _item(pair: object) -> Item:
    match pair:
        case [int(index), str(url)] if is_index(index) and is_plain(url):
            return Item(index=index, url=url)
    raise MessageError(f"item {pair!r:.80} is not [index, url]")


def _row_to_wire(row: Row) -> list[object]:
    if row.reason is None:
        return [row.index, row.text, round(row.confidence, 4)]
    return [row.index, row.reason, row.detail[:MAX_DETAIL], None]


def _row(wire: object) -> Row:
    """Read a row; a ``match`` takes eight times as long, and this runs for every image."""
    fields = wire if isinstance(wire, list) else []
    if len(fields) == 3:
        index, text, confidence = fields
        if is_index(index) and _is_text(text) and _is_share(confidence):
            return Row(index, text, float(confidence))
    if len(fields) == 4 and fields[3] is None:
        index, reason, detail, _ = fields
        if is_index(index) and _is_text(reason) and _is_text(detail):
            shown = printable(detail, most=MAX_DETAIL)
            return Row(index, None, reason=_member(Reason, reason), detail=shown)
    raise MessageError(f"row {wire!r:.80} is not [index, text, confidence] or a failure")


def _is_text(value: object) -> bool:
    return isinstance(value, str) and is_plain(value)


def _is_share(value: object) -> bool:
    return type(value) in (int, float) and 0 <= value <= 1  # type: ignore[operator]


def _indexes(wire: list[object] | None) -> tuple[int, ...] | None:
    if wire is None:
        return None
    indexes = tuple(index for index in wire if isinstance(index, int))
    if len(indexes) < len(wire):
        raise MessageError(f"suspects {wire!r:.80} are no indexes")
    return indexes


def _member(enum: type[E], value: str) -> E:
    try:
        return enum(value)
    except ValueError:
        raise MessageError(f"{value!r} is no {enum.__name__.lower()}") from None

"""A job as data: what it was asked to do, and how far it is."""

from __future__ import annotations

from enum import IntEnum

import msgspec


class State(IntEnum):
    """Where an image stands."""

    WAITING = 0
    SENT = 1
    READ = 2
    FAILED = 3


class JobSpec(msgspec.Struct, frozen=True):
    """What a job was asked to do; a ledger belongs to exactly one.

    Attributes:
        job: its id.
        source: as given at the command line.
        model: SHA-256 of the model file.
        model_name: as its card says.
        symbols: those allowed; None allows all.
        attempts: how often an image is tried whose failure may pass.
        served: the folder that the producer serves, if the source is one.
        rate: requests a second that the fleet may make for the job; None for no limit.
        per_host: requests a second that the fleet may make to each host; None for no limit.
        pattern: that each text matches as a whole; None for any.
        words: SHA-256 of the words that the texts are among; None for any.
        automaton: SHA-256 of what pattern and words come to; None without either.
    """

    job: str
    source: str
    model: str
    model_name: str
    symbols: str | None
    attempts: int
    served: str | None = None
    rate: float | None = None
    per_host: float | None = None
    pattern: str | None = None
    words: str | None = None
    automaton: str | None = None

    @property
    def is_limited(self) -> bool:
        """Whether workers have to wait for their turns."""
        return self.rate is not None or self.per_host is not None


class Counts(msgspec.Struct, frozen=True):
    """How many images of a job stand where."""

    total: int
    read: int
    failed: int
    out: int

    @property
    def open(self) -> int:
        """Images without an answer."""
        return self.total - self.read - self.failed


class Change(msgspec.Struct, frozen=True):
    """What a write did to the counts: newly read, newly failed, to be sent again, repeated."""

    read: int = 0
    failed: int = 0
    again: int = 0
    repeats: int = 0

    def __add__(self, other: Change) -> Change:
        """Add up two changes."""
        return Change(
            read=self.read + other.read,
            failed=self.failed + other.failed,
            again=self.again + other.again,
            repeats=self.repeats + other.repeats,
        )

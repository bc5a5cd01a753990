"""How keys are named, and how an exchange says what each role may do with its own.

Each exchange names its keys in its own module, beside both of its ends. A string literal of a wire
name anywhere else is a bug; a test looks for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

KEY_PREFIX = "pifleet:"  # so that a fleet may share a Redis with other programs
QUEUE = "chunks"  # as Celery knows it
TASK_READ_CHUNK = "pifleet.read_chunk"
TRACEPARENT = "traceparent"  # header of a notice that is traced, as W3C Trace Context calls it
JOB_TTL_S = 14 * 24 * 3600  # what a job keeps in Redis; a detached one is collected within it

RoleName = Literal["producer", "worker", "dashboard", "metrics"]


@dataclass(frozen=True, slots=True)
class Rights:
    """What one role needs of one exchange.

    Attributes:
        keys: that it touches, as patterns of an ACL without their ``~``.
        commands: that it uses, in lower case.
    """

    keys: tuple[str, ...]
    commands: tuple[str, ...]


def key(*parts: str) -> str:
    """Name a key of ours: its parts behind the prefix, with a colon between two."""
    return KEY_PREFIX + ":".join(parts)

"""How large a message may be, and what of it may reach a person's terminal.

Whoever holds a worker's password can write anything of any size where answers and heartbeats go.
"""

from __future__ import annotations

import math

from contract.errors import MessageError

MAX_RESULT_BYTES = 2_000_000  # 1,024 rows with the longest details come to a third of it
MAX_HEARTBEAT_BYTES = 200_000  # 256 processes, and a thousand models in the cache
MAX_NUMBER = 2**53  # what JSON carries exactly, and SQLite takes
MAX_PROCESSES = 1024  # the producer sends a few chunks for each
MAX_NAME = 200  # characters of a worker's, a host's or a runtime's name
MAX_SECONDS = 1e6  # a chunk's time decides when others count as late


def check_size(data: bytes | str, limit: int, what: str) -> None:
    """Refuse a message before it is parsed.

    Raises:
        MessageError: it is larger than any of ours.
    """
    if len(data) > limit:
        raise MessageError(f"{what} of {len(data)} bytes, at most {limit} are accepted")


def number(value: int, name: str, *, most: int = MAX_NUMBER) -> int:
    """Give a count or an index back.

    Raises:
        MessageError: it is negative, or too large.
    """
    if not 0 <= value <= most:
        raise MessageError(f"field {name!r} is {value!r:.40}, not in 0 to {most}")
    return value


def seconds(value: float, name: str) -> float:
    """Give a duration back.

    Raises:
        MessageError: it is negative, endless, or no number.
    """
    if not (math.isfinite(value) and 0.0 <= value <= MAX_SECONDS):
        raise MessageError(f"field {name!r} is {value}, no duration of a chunk")
    return value


def printable(text: str, *, most: int = MAX_NAME) -> str:
    """Cut a text for a person, and replace what a terminal would take for more than text."""
    cut = text[:most]
    if cut.isprintable():
        return cut
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in cut)

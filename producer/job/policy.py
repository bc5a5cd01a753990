"""Who tries again, and who is to blame: when an image waits, fails, or goes out alone.

Pure: the ledger and the scheduler ask, and write down what follows.
"""

from __future__ import annotations

from collections.abc import Iterable

from broker.results import Crash, Row
from contract.reasons import NO_ATTEMPT, PASSING, Reason

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

MOST_SENT = 40  # deliveries of one image, however they ended; an honest fleet needs a few
# Times as many attempts, where one worker alone reports a failure that may be its own.
MOST_LONE_ATTEMPTS = 3

# What a machine without DNS, without a route or with a firewall would report of any image.
MAYBE_THE_WORKERS_OWN = frozenset(
    {Reason.DNS, Reason.CONNECT, Reason.TIMEOUT, Reason.FORBIDDEN_ADDRESS, Reason.MODEL}
)

RETRY_S = 1.0  # doubled with each attempt, up to a minute
MAX_RETRY_S = 60.0


def points(crash: Crash) -> int:
    """Tell how many points a death gives to each image that it makes suspect."""
    if crash.image is not None:
        return SEEN
    return UNSEEN if crash.was_seen else UNKNOWN


def size_for(suspicion: int, size: int) -> int:
    """Tell how many images go out together that are so suspect, of so many that might."""
    if suspicion >= ALONE_AT:
        return 1
    return max(1, size // PARTS) if suspicion >= PART_AT else size


def turns(found: Iterable[int], *, suspects_first: bool) -> list[int]:
    """Sort the points of waiting images as these go out: suspects and others take turns."""
    levels = sorted(found)
    suspects = [points for points in levels if points >= PART_AT]
    others = [points for points in reversed(levels) if points < PART_AT]
    return suspects + others if suspects_first else others + suspects


def attempts_after(row: Row, attempts: int, *, is_forgiven: bool) -> int:
    """Count the attempts of an image after a failure: some are nobody's fault, and cost none."""
    return attempts + (not is_forgiven and row.reason not in NO_ATTEMPT)


def may_pass(row: Row) -> bool:
    """Tell whether another worker, a little later, may succeed."""
    return row.reason in PASSING or row.reason in MAYBE_THE_WORKERS_OWN


def is_final(row: Row, attempts: int, most: int, *, is_agreed: bool) -> bool:
    """Tell whether a failure ends its image.

    Args:
        row: the failure.
        attempts: that the image had, this one included.
        most: that the job allows.
        is_agreed: whether two workers failed at it, or there is only one.

    Source: that two have to agree is BOINC's quorum.
    """
    if row.reason in MAYBE_THE_WORKERS_OWN and not is_agreed:
        return attempts >= most * MOST_LONE_ATTEMPTS
    return attempts >= most if row.reason in PASSING else True


def retry_s(attempts: int) -> float:
    """Tell how long an image waits after so many attempts, in seconds."""
    return float(min(MAX_RETRY_S, RETRY_S * 2.0**attempts))

"""How long to wait before trying again."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

FIRST_S = 0.25
LONGEST_S = 8.0
RETRY_AFTER_CAP_S = 20.0  # an origin that wants more gets its image sent again by the producer


def full_jitter(attempt: int, rng: random.Random) -> float:
    """Give the seconds to wait after a failed attempt, the first one being number 0.

    Source: Brooker, "Exponential backoff and jitter" (AWS, 2015), full jitter.
    """
    return rng.uniform(0.0, min(LONGEST_S, FIRST_S * 2**attempt))


def retry_after_s(value: str | None, *, now: datetime | None = None) -> float:
    """Read a ``Retry-After`` header, in seconds or as a date; 0 if there is none to read.

    Source: RFC 9110, section 10.2.3.
    """
    if not value:
        return 0.0
    if value.strip().isdecimal():
        return min(float(value), RETRY_AFTER_CAP_S)
    try:
        until = parsedate_to_datetime(value)
    except ValueError:
        return 0.0
    if until.tzinfo is None:
        until = until.replace(tzinfo=UTC)
    wait_s = (until - (now or datetime.now(UTC))).total_seconds()
    return min(max(wait_s, 0.0), RETRY_AFTER_CAP_S)

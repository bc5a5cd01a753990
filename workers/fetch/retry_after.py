"""How long an origin wants to be left alone."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

RETRY_AFTER_CAP_S = 20.0  # an origin that wants more gets its image sent again by the producer


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

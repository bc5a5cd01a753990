"""How long a worker waits before it tries again."""

from __future__ import annotations

import random
from datetime import UTC, datetime

import pytest

from contract.backoff import LONGEST_S, full_jitter
from workers.fetch.retry_after import RETRY_AFTER_CAP_S, retry_after_s

NOW = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)


def test_wait_grows_and_stays_under_the_cap() -> None:
    rng = random.Random(0)
    first = [full_jitter(0, rng) for _ in range(200)]
    tenth = [full_jitter(9, rng) for _ in range(200)]
    assert max(first) <= 0.25
    assert 4 < max(tenth) <= LONGEST_S
    assert min(tenth) < 1, "full jitter also waits shortly, so that workers spread"


@pytest.mark.parametrize(
    ("header", "wanted_s"),
    [
        (None, 0.0),
        ("", 0.0),
        ("3", 3.0),
        ("100000", RETRY_AFTER_CAP_S),
        ("-5", 0.0),
        ("soon", 0.0),
        ("Thu, 01 Jan 2026 12:00:05 GMT", 5.0),
        ("Thu, 01 Jan 2026 11:00:00 GMT", 0.0),
        ("Thu, 01 Jan 2026 12:00:05 -0000", 5.0),
    ],
)
def test_retry_after_is_read_in_each_of_its_forms(header: str | None, wanted_s: float) -> None:
    assert retry_after_s(header, now=NOW) == wanted_s

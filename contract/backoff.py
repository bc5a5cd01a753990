"""How long to wait before trying again."""

from __future__ import annotations

import random

FIRST_S = 0.25
LONGEST_S = 8.0


def full_jitter(attempt: int, rng: random.Random) -> float:
    """Draw the seconds to wait after a failed attempt, the first one being number 0.

    Source: Brooker, "Exponential backoff and jitter" (AWS, 2015), full jitter.
    """
    return rng.uniform(0.0, min(LONGEST_S, FIRST_S * 2**attempt))

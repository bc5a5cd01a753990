"""A command whose wall clock is a day ahead: ``python -m tests.support.off_clock_producer``."""

from __future__ import annotations

import time

DAY_S = 86_400.0

_right = time.time


def tell() -> float:
    """Tell tomorrow's time."""
    return _right() + DAY_S


if __name__ == "__main__":
    time.time = tell
    from pifleet.cli import main

    main()

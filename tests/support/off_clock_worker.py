"""A worker under libfaketime: run it with ``LD_PRELOAD=... FAKETIME=+600``.

libfaketime 0.9.10 makes ``time.sleep`` fail with EINVAL: Python sleeps until a time of the clock
that is left alone. ``select`` sleeps for a duration.
"""

from __future__ import annotations

import select
import time
from typing import SupportsIndex


def sleep_for(seconds: float | SupportsIndex) -> None:
    """Sleep as ``time.sleep`` does."""
    select.select([], [], [], float(seconds))


if __name__ == "__main__":
    time.sleep = sleep_for
    from pifleet.cli import main

    main()

"""A ``pifleet worker`` whose thermal file is ``FAKE_THERMAL``, and whose steps take no time.

It begins to take chunks some heartbeats after it has noticed that it is hot.
"""

from __future__ import annotations

import os
import time
from functools import partial
from pathlib import Path
from typing import Any

from celery.worker.consumer.tasks import Tasks

from pifleet.cli import main
from workers.health import cooling, host


def start_late(step: Any, consumer: Any, *, start: Any = Tasks.start) -> None:
    time.sleep(1.0)
    start(step, consumer)


if __name__ == "__main__":
    Tasks.start = start_late
    host.temperature_c = partial(host.temperature_c, Path(os.environ["FAKE_THERMAL"]))
    host.THROTTLED = Path("/nonexistent")
    cooling.STEP_S = 0.0
    main()

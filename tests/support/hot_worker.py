"""A ``pifleet worker`` whose thermal file is ``FAKE_THERMAL``, and whose steps take no time."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

from pifleet.cli import main
from workers.health import cooling, host

if __name__ == "__main__":
    host.temperature_c = partial(host.temperature_c, Path(os.environ["FAKE_THERMAL"]))
    host.THROTTLED = Path("/nonexistent")
    cooling.STEP_S = 0.0
    main()

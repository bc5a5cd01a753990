"""The short form of ``make chaos``: every kind of fault once, and every image once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
IMAGES = 6000
FAULTS = {
    "kills": 12,
    "parents": 2,
    "stops": 1,
    "drains": 1,
    "redis-kills": 1,
    "wipes": 1,
    "producer-kills": 1,
    "half-open": 1,
}


@pytest.mark.redis
@pytest.mark.timeout(300)  # about a minute on two quiet cores
def test_every_image_has_its_row_once_whatever_dies(tmp_path: Path) -> None:
    out = tmp_path / "score.json"
    command = [sys.executable, "-m", "benchmarks.chaos", "--images", str(IMAGES), "--seed", "7"]
    for name, count in FAULTS.items():
        command += [f"--{name}", str(count)]
    command += ["--plain-images", "0", "--delay-ms", "300", "--json", str(out)]
    command += ["--stop-s", "4", "--silent-s", "5"]  # longer than a heartbeat lives, as always
    env = {**os.environ, "PIFLEET_HEARTBEAT_S": "0.5"}

    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr
    score: dict[str, Any] = json.loads(out.read_text())["scores"][0]
    assert (score["rows"], score["lost"], score["twice"]) == (IMAGES, 0, 0)
    assert score["is_same"]
    assert score["failed"] == {}
    assert score["missed"] == 0
    assert sum(score["faults"].values()) == sum(FAULTS.values()) - FAULTS["parents"]
    assert score["left"] == []
    assert score["orphans"] == 0
    assert score["read_twice"] < IMAGES * 0.1  # of a job so small, one chunk is two in a hundred

"""An image that kills the process that opens it, among others that are good."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.conftest import Pifleet, StartWorker
from tests.producer.test_jobs import csv_of, finished
from tests.support.faulty_origin import FaultyOrigin
from tests.support.poisoned_worker import POISON
from tests.support.stripes import png, some_text

ROOT = Path(__file__).parents[2]
IMAGES = 64
DEADLY = "20.png"
MOST_DELIVERIES = 3


@pytest.mark.redis
@pytest.mark.timeout(120)
def test_poison_is_isolated_within_three_deliveries_while_its_neighbours_are_read(
    pifleet: Pifleet, start_worker: StartWorker, origin: FaultyOrigin, tmp_path: Path
) -> None:
    env = {"PYTHONPATH": str(ROOT)}
    workers = [start_worker(module="tests.support.poisoned_worker", env=env) for _ in range(2)]
    texts = {f"{number:02}.png": some_text(number) for number in range(IMAGES)}
    for name, text in texts.items():
        origin.add(f"/{name}", png(text) + (POISON if name == DEADLY else b""))
    (tmp_path / "urls.txt").write_text("\n".join(origin.url(f"/{name}") for name in texts))

    summary = json.loads(finished(pifleet("submit", "urls.txt", "-o", "out.csv"), code=1))

    assert (summary["read"], summary["failed"]) == (IMAGES - 1, 1)
    assert (tmp_path / "out.csv").read_text() == csv_of(texts | {DEADLY: ""})
    dead = json.loads(finished(pifleet("dead", "list", summary["job"], "--json")))
    assert [(one["name"], one["reason"]) for one in dead] == [(DEADLY, "poison")]
    assert origin.hits(f"/{DEADLY}") <= MOST_DELIVERIES
    assert all(worker.process.poll() is None for worker in workers)

"""Images that cost far more than others: each ends soon, and its neighbours are read."""

from __future__ import annotations

import json
from pathlib import Path

import psutil
import pytest

from tests.conftest import Pifleet, RunningWorker, StartWorker
from tests.producer.test_jobs import csv_of, finished
from tests.support.costly_images import jpeg_of_scans
from tests.support.faulty_origin import FaultyOrigin, faulty_origin
from tests.support.fleet_job import FleetJob
from tests.support.poisoned_worker import HANGS
from tests.support.stripes import png, some_text

pytestmark = [pytest.mark.redis, pytest.mark.timeout(90)]

ROOT = Path(__file__).parents[2]
BOMBS = {"200kB.jpg": 4_431, "2MB.jpg": 45_000, "7MB.jpg": 160_000}  # scans; the first took 56 s
NEIGHBOURS = 61
MOST_S = 10.0  # for the whole job, where another machine's cores are shared
HARD_LIMIT_S = 3
KILLS = 3  # each counts, that of the delivery which was given up for the hedge too
BODY_BYTES = 8 * 1024 * 1024
BODIES = 64
MOST_PEAK_MB = 180  # of a process: what it takes itself, and 32 MiB of bodies, and their copies


def images(origin: FaultyOrigin, folder: Path, bad: dict[str, bytes]) -> dict[str, str]:
    """Serve and list good images and these; returns the texts of all."""
    texts = {f"{number:02}.png": some_text(number) for number in range(NEIGHBOURS)}
    bodies = {name: png(text) for name, text in texts.items()} | bad
    urls = [origin.add(f"/{name}", body) for name, body in sorted(bodies.items())]
    (folder / "urls.txt").write_text("\n".join(urls))
    return texts | dict.fromkeys(bad, "")


def test_progressive_jpeg_of_thousands_of_scans_is_refused_before_it_is_decoded(
    pifleet: Pifleet, start_worker: StartWorker, origin: FaultyOrigin, tmp_path: Path
) -> None:
    bombs = {name: jpeg_of_scans(scans) for name, scans in BOMBS.items()}
    assert max(map(len, bombs.values())) < 8 * 1024 * 1024, "no cap on bytes refuses it"
    texts = images(origin, tmp_path, bombs)
    worker = start_worker(concurrency=2)
    children = psutil.Process(worker.process.pid).children()

    summary = json.loads(finished(pifleet("submit", "urls.txt", "-o", "out.csv"), code=1))

    assert (tmp_path / "out.csv").read_text() == csv_of(texts)
    assert summary["reasons"] == {"too_complex": len(BOMBS)}
    assert summary["seconds"] < MOST_S
    assert psutil.Process(worker.process.pid).children() == children, "no process was killed"
    assert max(origin.hits(f"/{name}") for name in BOMBS) == 1


def test_image_that_outlives_the_hard_limit_kills_few_processes_though_it_is_hedged(
    pifleet: Pifleet,
    start_worker: StartWorker,
    origin: FaultyOrigin,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PIFLEET_HEARTBEAT_S", "0.2")  # idle processes read it after a second
    env = {"PYTHONPATH": str(ROOT), "HARD_LIMIT_S": str(HARD_LIMIT_S)}
    module = "tests.support.poisoned_worker"
    workers = [start_worker(module=module, env=env, concurrency=3) for _ in range(2)]
    texts = images(origin, tmp_path, {"hangs.png": png("A1") + HANGS})

    options = ("-o", "out.csv", "--chunk", "8")
    out, said = pifleet("submit", "urls.txt", *options).communicate(timeout=80)
    summary = json.loads(out)

    assert (tmp_path / "out.csv").read_text() == csv_of(texts)
    assert summary["reasons"] == {"poison": 1}
    assert said.count("cause=straggler") == 1, "it was hedged, and once"
    assert summary["seconds"] < KILLS * HARD_LIMIT_S + MOST_S
    assert kills(workers) == KILLS
    assert all(worker.process.poll() is None for worker in workers)


def kills(workers: list[RunningWorker]) -> int:
    """Count the processes that were killed for the time they took."""
    logs = "".join(worker.log.read_text() for worker in workers)
    return logs.count("Hard time limit")


def test_sixty_four_bodies_of_the_largest_size_fit_into_a_process(
    job: FleetJob, start_worker: StartWorker
) -> None:
    worker = start_worker()
    body = b"x" * BODY_BYTES
    with faulty_origin(listens_on="0.0.0.0") as origin:
        urls = [origin.add(f"/{number}", body) for number in range(BODIES)]
        # each on a host of its own, whose limits do not hold the others back
        job.send([url.replace("127.0.0.1", f"127.1.0.{n}") for n, url in enumerate(urls, start=1)])
        (result,) = job.wait_results(1, timeout_s=60)
    assert {row.reason for row in result.rows} == {"not_an_image"}
    (child,) = psutil.Process(worker.process.pid).children()
    status = Path(f"/proc/{child.pid}/status").read_text()
    assert int(status.split("VmHWM:")[1].split()[0]) < 1024 * MOST_PEAK_MB

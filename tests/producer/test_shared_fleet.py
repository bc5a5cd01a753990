"""What a producer shares the fleet with: other jobs, and workers whose clocks are wrong."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from broker.connection import connect
from producer.job.doors import redis_doors
from producer.job.pace import Priority
from producer.job.scheduler import JobRun, Progress, RunOptions
from producer.job.spec import JobSpec
from producer.job.store import Ledger
from producer.sources.image import SourceImage
from recognition.model_file import load_model
from tests.conftest import Pifleet, StartWorker, wait_until
from tests.producer.test_jobs import csv_of, finished, serve
from tests.support.faulty_origin import Answer, FaultyOrigin
from tests.support.make_tiny_model import TINY_MODEL
from tests.support.stripes import png, some_text

pytestmark = [pytest.mark.redis, pytest.mark.timeout(120)]

JOBS = 10
IMAGES = 240  # a job
CHUNK = 8
MOST_UNFAIR = 2.0  # the fastest job against the slowest
OFF_S = 600.0


class Race:
    """Jobs at once, and how far each was when the first one ended."""

    def __init__(
        self,
        origin: FaultyOrigin,
        redis_url: str,
        folder: Path,
        priorities: Sequence[Priority],
        *,
        delay_s: float = 0.0,
    ) -> None:
        self._redis_url = redis_url
        self._folder = folder
        self._priorities = priorities
        self._done = dict.fromkeys(range(len(priorities)), 0)
        self.at_first_end: list[int] = []
        image = Answer(png("A1"), delay_s=delay_s)
        self._url = origin.url("/a.png")
        for number in self._done:
            for index in range(IMAGES):
                origin.add(f"/a.png?{number}.{index}", answer=image)

    def run(self) -> list[int]:
        """Run them all, and give how many images each has read."""
        with ThreadPoolExecutor(len(self._done)) as pool:
            return list(pool.map(self._run_one, self._done))

    def _run_one(self, number: int) -> int:
        model = load_model(str(TINY_MODEL))
        spec = JobSpec(f"job{number}", "list", model.digest, "tiny", None, attempts=3)
        images = [SourceImage(f"{i}.png", f"{self._url}?{number}.{i}") for i in range(IMAGES)]
        with (
            Ledger(self._folder / f"{number}.ledger") as ledger,
            connect(self._redis_url) as client,
        ):
            ledger.seal(spec, images, model=model.data)
            doors = redis_doors(client, spec.job)
            priority = self._priorities[number]
            run = JobRun(ledger, doors, RunOptions(self._redis_url, CHUNK, priority))
            end = run.run(lambda progress: self._note(number, progress))
            return end.counts.read

    def _note(self, number: int, progress: Progress) -> None:
        self._done[number] = progress.counts.read
        if not progress.counts.open and not self.at_first_end:
            self.at_first_end = list(self._done.values())


def test_ten_jobs_at_once_share_two_workers_fairly(
    start_worker: StartWorker, origin: FaultyOrigin, redis_url: str, tmp_path: Path
) -> None:
    for _ in range(2):
        start_worker(concurrency=1)
    race = Race(origin, redis_url, tmp_path, [Priority.NORMAL] * JOBS)

    assert race.run() == [IMAGES] * JOBS

    slowest, fastest = min(race.at_first_end), max(race.at_first_end)
    assert fastest <= MOST_UNFAIR * slowest, race.at_first_end


def test_job_of_a_high_priority_goes_before_one_of_a_low_one(
    start_worker: StartWorker, origin: FaultyOrigin, redis_url: str, tmp_path: Path
) -> None:
    """Nine to one; but until a heartbeat tells of the other job, each takes all that there is."""
    for _ in range(2):
        start_worker(concurrency=1)
    race = Race(origin, redis_url, tmp_path, [Priority.LOW, Priority.HIGH], delay_s=0.1)

    assert race.run() == [IMAGES, IMAGES]

    low, high = race.at_first_end
    assert high == IMAGES
    assert low <= 0.8 * IMAGES


def faketime_library() -> Path:
    """Find Debian's libfaketime, or skip the test."""
    for found in Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"):
        return found
    pytest.skip("needs Debian's faketime")


def test_workers_whose_clocks_are_ten_minutes_off_disturb_nothing(
    pifleet: Pifleet, start_worker: StartWorker, origin: FaultyOrigin, tmp_path: Path
) -> None:
    wrong = {"LD_PRELOAD": str(faketime_library()), "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
    wrong["PYTHONPATH"] = str(Path(__file__).parents[2])
    late, early = (
        start_worker(
            env={**wrong, "FAKETIME": f"{off_s:+.0f}"}, module="tests.support.off_clock_worker"
        )
        for off_s in (-OFF_S, OFF_S)
    )
    expected = serve(origin, tmp_path, 300)

    summary = json.loads(
        finished(pifleet("submit", "urls.txt", "-o", "out.csv", "--chunk", "8", "--rate", "100"))
    )

    assert (tmp_path / "out.csv").read_text() == expected
    assert (summary["repeats"], summary["resent"]) == (0, 0)
    for worker, off_s in ((late, -OFF_S), (early, OFF_S)):
        beat = worker.heartbeat()
        assert beat is not None, "alive by the clock of Redis"
        assert beat.images > 0
        assert abs(beat.started_at - time.time() - off_s) < OFF_S / 2


def test_producer_whose_clock_was_a_day_ahead_goes_on_once_it_is_right(
    pifleet: Pifleet, start_worker: StartWorker, origin: FaultyOrigin, tmp_path: Path
) -> None:
    """What waits for its next attempt would wait for a day, if that were a time of the clock."""
    start_worker()
    texts = {f"{number}.png": some_text(number) for number in range(8)}
    busy = [Answer(png(text), fail_first=4) for text in texts.values()]  # what one delivery tries
    urls = [origin.add(f"/{name}", answer=one) for name, one in zip(texts, busy, strict=True)]
    (tmp_path / "urls.txt").write_text("\n".join(urls))
    wrong = pifleet(
        "submit", "urls.txt", "-o", "out.csv", module="tests.support.off_clock_producer"
    )
    wait_until(lambda: count_waiting_again(tmp_path), timeout_s=40, what="a failed attempt")
    wrong.kill()
    wrong.communicate()

    summary = json.loads(finished(pifleet("submit", "urls.txt", "-o", "out.csv")))

    assert (tmp_path / "out.csv").read_text() == csv_of(texts)
    assert summary["seconds"] < 40


def count_waiting_again(folder: Path) -> int:
    """Count the images that failed once and wait."""
    if not (folder / "out.ledger").exists():
        return 0
    with Ledger(folder / "out.ledger", read_only=True) as ledger:
        waiting = "SELECT count(*) FROM image WHERE state = 0 AND attempts"
        return int(ledger.db.execute(waiting).fetchone()[0])

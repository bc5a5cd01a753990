"""A real worker, a real Redis, a real origin: what becomes of a chunk."""

from __future__ import annotations

import os
import signal
from typing import Any

import psutil
import pytest

from broker.chunks import OTHER_VERSION
from broker.claims import Claims
from broker.heartbeats import WORKERS_KEY, heartbeat_key
from broker.results import ChunkResult, Outcome, results_key
from contract.reasons import Reason
from tests.conftest import RunningWorker, StartWorker, wait_until
from tests.support.faulty_origin import Answer, FaultyOrigin
from tests.support.fleet_job import JOB, FleetJob
from tests.support.stripes import png, some_text

MOST_BYTES = 120e6  # of resident memory a process, so that a Pi of 1 GB bears a dozen

pytestmark = [pytest.mark.redis, pytest.mark.timeout(90)]  # a worker takes seconds to start


def pool_children(worker: RunningWorker) -> list[psutil.Process]:
    """Find the processes that read."""
    children: list[psutil.Process] = psutil.Process(worker.process.pid).children()
    return children


def images(origin: FaultyOrigin, texts: list[str]) -> list[str]:
    return [origin.add(f"/{number}.png", png(text)) for number, text in enumerate(texts)]


def only(results: list[ChunkResult]) -> ChunkResult:
    assert len(results) == 1
    return results[0]


def test_chunk_is_read_answered_and_acknowledged(
    job: FleetJob, start_worker: StartWorker, origin: FaultyOrigin
) -> None:
    texts = [some_text(seed) for seed in range(64)]
    urls = images(origin, texts)
    urls[7] = origin.url("/missing.png")
    worker = start_worker(name="pi1")
    chunk = job.send(urls)
    result = only(job.wait_results(1))
    assert (result.delivery, result.worker, result.outcome) == (chunk.delivery, "pi1", Outcome.DONE)
    assert [row.text for row in result.rows if row.index != 7] == texts[:7] + texts[8:]
    assert result.rows[7].reason is Reason.HTTP_STATUS
    assert 0 < result.took_s < 60
    job.wait_released()
    wait_until(lambda: (beat := worker.heartbeat()) and (beat.images, beat.failed) == (64, 1))


def test_process_stays_small(
    job: FleetJob, start_worker: StartWorker, origin: FaultyOrigin
) -> None:
    worker = start_worker(concurrency=2)
    urls = images(origin, [some_text(seed) for seed in range(64)])
    for _ in range(4):
        job.send(urls)
    job.wait_results(4)
    assert [child.memory_info().rss < MOST_BYTES for child in pool_children(worker)] == [True] * 2


def test_chunk_of_a_job_that_is_over_is_skipped_unread(
    job: FleetJob, start_worker: StartWorker, origin: FaultyOrigin
) -> None:
    job.send(images(origin, ["A"]))
    Claims(job.redis, JOB).withdraw([0])
    job.redis.delete(results_key(JOB))
    start_worker()
    wait_until(lambda: not job.redis.llen("pifleet:chunks"), what="the chunk's pick-up")
    job.wait_released()
    assert origin.requests == []
    assert not job.redis.exists(results_key(JOB)), "a worker never makes a stream"


def test_chunk_of_a_model_that_nobody_has_asks_for_it(
    job: FleetJob, start_worker: StartWorker
) -> None:
    start_worker()
    job.send(["http://127.0.0.1/a.png"], model="0" * 64)
    assert only(job.wait_results(1)).outcome is Outcome.NO_MODEL


@pytest.mark.parametrize(
    "changes", [{"symbols": "Ä"}, {"symbols": ""}, {"model": "no digest"}], ids=str
)
def test_chunk_that_the_model_cannot_serve_is_refused_with_a_sentence(
    job: FleetJob, start_worker: StartWorker, changes: dict[str, Any]
) -> None:
    start_worker()
    job.send(["http://127.0.0.1/a.png"], **changes)
    result = only(job.wait_results(1))
    assert result.outcome is Outcome.BAD_MODEL
    assert len(result.detail) > 10


def test_message_that_nobody_can_read_is_dropped_and_the_next_one_read(
    job: FleetJob, start_worker: StartWorker, origin: FaultyOrigin
) -> None:
    worker = start_worker()
    job.send(["http://127.0.0.1/a.png"], notice={"v": 5, "job": 5})
    job.send(["http://127.0.0.1/a.png"], notice={"v": "new"})
    job.send(images(origin, ["A"]))
    assert only(job.wait_results(1)).rows[0].text == "A"
    job.wait_released()
    assert worker.log.read_text().count("message-refused") == 2


def test_notice_of_another_version_is_left_to_others_while_ours_are_read(
    job: FleetJob, start_worker: StartWorker, origin: FaultyOrigin
) -> None:
    worker = start_worker()
    job.send(["http://127.0.0.1/a.png"], notice={"v": 99, "job": JOB})
    job.send(images(origin, ["A"]))
    assert only(job.wait_results(1)).rows[0].text == "A"
    wait_until(
        lambda: (
            (beat := worker.heartbeat())
            and "another version" in beat.refused.get(OTHER_VERSION, "")
        ),
        what="the heartbeat that says so",
    )


def test_killed_process_is_reported_acknowledged_and_replaced(
    job: FleetJob, start_worker: StartWorker, origin: FaultyOrigin
) -> None:
    worker = start_worker(name="pi1")
    slow = origin.add("/slow.png", answer=Answer(png("A"), delay_s=60))
    doomed = job.send([slow])
    wait_until(lambda: origin.hits("/slow.png"), what="the download")
    (child,) = pool_children(worker)
    os.kill(child.pid, signal.SIGKILL)
    result = only(job.wait_results(1))
    assert (result.delivery, result.outcome, result.worker) == (
        doomed.delivery,
        Outcome.CRASHED,
        "pi1",
    )
    assert "process died" in result.detail
    job.wait_released()
    job.send(images(origin, ["B"]))
    assert job.wait_results(2)[1].rows[0].text == "B"
    assert [other.pid for other in pool_children(worker)] != [child.pid]


def test_chunk_that_outlives_the_hard_limit_is_reported_once(
    job: FleetJob, start_worker: StartWorker, origin: FaultyOrigin
) -> None:
    start_worker()
    slow = origin.add("/slow.png", answer=Answer(png("A"), delay_s=60))
    job.send([slow], time_limit=1)
    result = only(job.wait_results(1))
    assert result.outcome is Outcome.CRASHED
    assert "1 s" in result.detail
    job.send(images(origin, ["B"]))
    results = job.wait_results(2)
    assert [result.outcome for result in results] == [Outcome.CRASHED, Outcome.DONE]
    job.wait_released()


def test_sigterm_finishes_the_chunk_in_hand(
    job: FleetJob, start_worker: StartWorker, origin: FaultyOrigin
) -> None:
    worker = start_worker(name="pi1")
    job.send([origin.add("/slow.png", answer=Answer(png("A"), delay_s=2))])
    wait_until(lambda: origin.hits("/slow.png"), what="the download")
    job.send(images(origin, ["B"]))
    assert worker.stop() == 0
    assert only(job.results()).rows[0].text == "A"
    assert job.redis.llen("pifleet:chunks") == 1, "the waiting chunk is left for others"
    assert not job.redis.exists(heartbeat_key("pi1"))
    assert job.redis.zscore(WORKERS_KEY, "pi1") is None


def test_killed_worker_leaves_its_name_to_the_next(
    job: FleetJob, start_worker: StartWorker, origin: FaultyOrigin
) -> None:
    start_worker(name="pi1").kill()
    start_worker(name="pi1")
    job.send(images(origin, ["A"]))
    assert only(job.wait_results(1)).worker == "pi1"


def test_second_worker_of_a_name_gets_another(start_worker: StartWorker, job: FleetJob) -> None:
    start_worker(name="pi1")
    start_worker(name="pi1")
    wait_until(lambda: job.redis.zcard(WORKERS_KEY) == 2, what="two names")
    first, second = sorted(name.decode() for name in job.redis.zrange(WORKERS_KEY, 0, -1))
    assert first == "pi1"
    assert second.startswith("pi1+")

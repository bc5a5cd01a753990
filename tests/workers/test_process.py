"""One process's tools: from a chunk to its answer, without a queue."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import pytest

from broker.chunks import Notice
from broker.claims import ChunkTask, offer
from broker.connection import connect
from broker.results import Outcome, results_key
from contract.settings import Settings, parse_networks
from tests.support.faulty_origin import Answer, FaultyOrigin
from tests.support.fleet_job import JOB, FleetJob, chunk_task
from tests.support.stripes import png
from workers.process import ChunkSummary, WorkerProcess

pytestmark = pytest.mark.redis


@pytest.fixture
def settings(redis_url: str, tmp_path: Path) -> Settings:
    return Settings(
        redis_url=redis_url, cache_dir=tmp_path, fetch_allow=parse_networks("X", "127.0.0.0/8")
    )


def chunk(job: FleetJob, *urls: str) -> ChunkTask:
    return chunk_task(job.model.digest, urls)


def claimable(job: FleetJob, *urls: str) -> Notice:
    task = chunk(job, *urls)
    offer(job.redis, task)
    return task.notice


def test_chunk_that_takes_too_long_is_given_up_and_the_next_one_read(
    job: FleetJob, settings: Settings, origin: FaultyOrigin
) -> None:
    slow = origin.add("/slow.png", answer=Answer(png("A"), delay_s=60))
    process = WorkerProcess(settings, chunk_limit_s=0.3)
    given_up = process.read(chunk(job, slow), "pi1")
    assert (given_up.outcome, given_up.rows) == (Outcome.CRASHED, ())
    assert given_up.detail == "not read within 0.3 s"
    after = process.read(chunk(job, origin.add("/a.png", png("A"))), "pi1")
    assert [row.text for row in after.rows] == ["A"]
    process.close()


def test_connection_is_kept_from_chunk_to_chunk(
    job: FleetJob, settings: Settings, origin: FaultyOrigin
) -> None:
    url = origin.add("/a.png", png("A"))
    process = WorkerProcess(settings)
    before = threading.active_count()
    for _ in range(3):
        process.read(chunk(job, url), "pi1")
    assert origin.hits("/a.png") == 3
    assert threading.active_count() == before + 1, "the origin runs one thread a connection"
    process.close()


def test_summary_counts_what_flower_shows(
    job: FleetJob, settings: Settings, origin: FaultyOrigin
) -> None:
    process = WorkerProcess(settings)
    urls = [origin.add("/a.png", png("A")), origin.url("/missing.png")]
    summary = ChunkSummary.from_text(process.handle(claimable(job, *urls), "pi1").to_text())
    assert (summary.images, summary.failed, summary.outcome) == (2, 1, "done")
    assert summary.reasons == {"http_status": 1}
    assert str(summary).startswith("2 images, 1 failed, ")
    for stage in (summary.stages.fetch, summary.stages.decode, summary.stages.model):
        assert (sum(stage.counts), 0.0 < stage.sum_s < summary.took_s) == (1, True)
    assert job.results()[0].outcome is Outcome.DONE
    process.close()


def test_job_that_ends_while_its_chunk_is_read_gets_no_stream_back(
    job: FleetJob, settings: Settings, origin: FaultyOrigin
) -> None:
    slow = origin.add("/slow.png", answer=Answer(png("A"), delay_s=0.5))
    process = WorkerProcess(settings)
    with connect(settings.redis_url) as redis:
        timer = threading.Timer(0.2, redis.delete, [results_key(JOB)])
        timer.start()
        summary = process.handle(claimable(job, slow), "pi1")
        timer.join()
    assert summary.outcome == "undelivered"
    assert not job.redis.exists(results_key(JOB))
    process.close()


def test_worker_without_the_right_to_a_model_refuses_it_and_says_what_to_do(
    job: FleetJob, settings: Settings, tmp_path: Path
) -> None:
    job.redis.acl_setuser(
        "old", enabled=True, nopass=True, keys="*", commands=["+@all", "-hstrlen"]
    )
    url = settings.redis_url.rpartition("@")[2]
    old = replace(settings, redis_url=f"redis://old:x@{url}", cache_dir=tmp_path / "other")
    process = WorkerProcess(old)
    result = process.read(chunk(job, "http://127.0.0.1/a.png"), "pi1")
    job.redis.acl_deluser("old")
    assert result.outcome is Outcome.BAD_MODEL
    assert "hstrlen" in result.detail
    assert "revoke and grant it anew" in process.refusal(job.model.digest)
    process.close()


def test_model_that_cannot_be_asked_for_counts_as_missing(
    job: FleetJob, settings: Settings, tmp_path: Path
) -> None:
    away = Settings(redis_url="redis://127.0.0.1:1/0", cache_dir=tmp_path / "other")
    process = WorkerProcess(away)
    result = process.read(chunk(job, "http://127.0.0.1/a.png"), "pi1")
    assert result.outcome is Outcome.NO_MODEL
    process.close()

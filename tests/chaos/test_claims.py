"""A delivery is begun once, however often Celery brings it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from broker.claims import Claims, claim, claims_key
from tests.conftest import StartWorker
from tests.support.faulty_origin import FaultyOrigin
from tests.support.fleet_job import JOB, FleetJob, fleet_job
from tests.support.stripes import png

pytestmark = pytest.mark.redis


@pytest.fixture
def job(redis_url: str, tiny_model: Path) -> Iterator[FleetJob]:
    with fleet_job(redis_url, tiny_model) as opened:
        yield opened


def test_only_the_first_to_ask_may_begin(job: FleetJob) -> None:
    Claims(job.redis, JOB).add(7)

    assert [claim(job.redis, JOB, 7) for _ in range(3)] == [True, False, False]


def test_what_was_given_up_is_not_begun(job: FleetJob) -> None:
    claims = Claims(job.redis, JOB)
    for delivery in (6, 7):
        claims.add(delivery)
    claims.withdraw(7)

    assert not claim(job.redis, JOB, 7)
    assert claim(job.redis, JOB, 6)


def test_job_that_is_over_leaves_no_claims(job: FleetJob) -> None:
    claims = Claims(job.redis, JOB)
    claims.add(7)
    claims.keep()
    assert job.redis.ttl(claims_key(JOB)) > 0
    claims.clear()

    assert not job.redis.exists(claims_key(JOB))


def test_second_delivery_of_a_chunk_is_skipped(
    job: FleetJob, start_worker: StartWorker, origin: FaultyOrigin
) -> None:
    url = origin.add("/a.png", png("A1"))
    job.send([url])
    job.sent = 0
    job.send([url], is_new=False)  # as kombu puts it back when a connection breaks
    start_worker()
    job.wait_results(1)
    job.send([url])
    job.wait_results(2)
    job.wait_acked()

    assert [result.delivery for result in job.results()] == [0, 1]
    assert origin.hits("/a.png") == 2

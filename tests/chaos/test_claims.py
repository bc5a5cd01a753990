"""A delivery is begun once, however often Celery brings it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from broker.answers import may_begin
from broker.claims import Offers
from broker.keys import offers_key
from broker.messages import ChunkTask, Item
from tests.conftest import StartWorker
from tests.support.faulty_origin import FaultyOrigin
from tests.support.fleet_job import JOB, FleetJob, fleet_job
from tests.support.stripes import png

pytestmark = [pytest.mark.redis, pytest.mark.timeout(60)]

TASK = ChunkTask(JOB, 7, "0" * 64, None, (Item(0, "http://h/0"),), is_offered=True)


@pytest.fixture
def job(redis_url: str, tiny_model: Path) -> Iterator[FleetJob]:
    with fleet_job(redis_url, tiny_model) as opened:
        yield opened


def test_only_the_first_to_ask_may_begin(job: FleetJob) -> None:
    Offers(job.redis, JOB).add(7)

    assert [may_begin(job.redis, TASK) for _ in range(3)] == [True, False, False]


def test_what_was_given_up_is_not_begun(job: FleetJob) -> None:
    offers = Offers(job.redis, JOB)
    for chunk in (6, 7):
        offers.add(chunk)
    offers.withdraw(7)

    assert not may_begin(job.redis, TASK)
    assert may_begin(job.redis, replace(TASK, chunk=6))


def test_chunk_of_an_older_producer_is_begun_while_its_job_is_on(job: FleetJob) -> None:
    older = replace(TASK, is_offered=False)
    assert may_begin(job.redis, older)
    assert not may_begin(job.redis, replace(older, job="over"))


def test_job_that_is_over_leaves_no_offers(job: FleetJob) -> None:
    offers = Offers(job.redis, JOB)
    offers.add(7)
    offers.keep()
    assert job.redis.ttl(offers_key(JOB)) > 0
    offers.clear()

    assert not job.redis.exists(offers_key(JOB))


def test_second_delivery_of_a_chunk_is_skipped(
    job: FleetJob, start_worker: StartWorker, origin: FaultyOrigin
) -> None:
    url = origin.add("/a.png", png("A1"))
    Offers(job.redis, JOB).add(0)
    job.send([url], is_offered=True)
    job.sent = 0
    job.send([url], is_offered=True)  # as kombu puts it back when a connection breaks
    start_worker()
    job.wait_results(1)
    job.send([url])
    job.wait_results(2)
    job.wait_acked()

    assert [result.chunk for result in job.results()] == [0, 1]
    assert origin.hits("/a.png") == 2

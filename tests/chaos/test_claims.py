"""A delivery is begun once, however often Celery brings it, and by nobody who was not given it."""

from __future__ import annotations

import zlib

import pytest

from broker.claims import (
    MAX_CHUNK_BYTES,
    ChunkTask,
    Claims,
    claim,
    claim_key,
    make_token,
    offer,
    prove,
)
from contract.errors import MessageError
from tests.conftest import StartWorker
from tests.support.faulty_origin import FaultyOrigin
from tests.support.fleet_job import JOB, FleetJob, chunk_task
from tests.support.stripes import png

pytestmark = pytest.mark.redis

TASK = chunk_task("0" * 64, ["http://h/0"], delivery=7)


def test_only_the_first_to_ask_may_begin(job: FleetJob) -> None:
    offer(job.redis, TASK)

    assert [claim(job.redis, TASK.notice) for _ in range(3)] == [TASK, None, None]


def test_what_was_given_up_is_not_begun(job: FleetJob) -> None:
    other = chunk_task("0" * 64, ["http://h/0"], delivery=6)
    for task in (other, TASK):
        offer(job.redis, task)
    Claims(job.redis, JOB).withdraw([7])

    assert claim(job.redis, TASK.notice) is None
    assert claim(job.redis, other.notice) == other


def test_chunk_that_nobody_claims_is_forgotten_in_the_end(job: FleetJob) -> None:
    offer(job.redis, TASK)
    assert job.redis.ttl(claim_key(JOB, 7)) > 0


def test_tokens_of_one_job_tell_nothing_of_each_other() -> None:
    tokens = [make_token(secret, number) for secret in ("a", "b") for number in range(3)]
    assert len({*tokens, *(prove(token) for token in tokens)}) == 12


@pytest.mark.parametrize(
    "packed",
    [
        b"no zlib",
        zlib.compress(b"{"),
        zlib.compress(b" " * (MAX_CHUNK_BYTES + 1)),
        zlib.compress(TASK.to_json().replace(b'"delivery":7', b'"delivery":8')),
    ],
    ids=["not packed", "not JSON", "unpacks to megabytes", "of another delivery"],
)
def test_what_is_no_chunk_is_refused(job: FleetJob, packed: bytes) -> None:
    job.redis.set(claim_key(JOB, 7), packed)
    with pytest.raises(MessageError):
        claim(job.redis, TASK.notice)


def test_chunk_survives_being_packed() -> None:
    assert ChunkTask.unpack(TASK.pack()) == TASK


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
    job.wait_released()

    assert [result.delivery for result in job.results()] == [0, 1]
    assert origin.hits("/a.png") == 2

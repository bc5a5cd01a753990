"""What a pool process was reading when it died, as its parent and the producer hear of it."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from broker.messages import ChunkResult, Outcome
from contract.errors import MessageError
from tests.conftest import StartWorker, wait_until
from tests.support.faulty_origin import Answer, FaultyOrigin
from tests.support.fleet_job import FleetJob, fleet_job
from tests.support.stripes import png
from workers.health import in_flight as witness


@pytest.fixture
def job(redis_url: str, tiny_model: Path) -> Iterator[FleetJob]:
    with fleet_job(redis_url, tiny_model) as opened:
        yield opened


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")  # from Python 3.12 on
def test_parent_sees_what_its_child_read_last() -> None:
    witness.prepare()
    child = os.fork()
    if child == 0:
        witness.begin(17)
        os._exit(0)
    os.waitpid(child, 0)

    assert witness.last_words(child) == (17,)


def test_process_between_two_images_accuses_none() -> None:
    witness.prepare()
    assert witness.last_words(1) is None  # it never wrote
    witness.begin(3)
    witness.end()

    assert witness.last_words(os.getpid()) == ()


@pytest.mark.parametrize("suspects", [None, (), (5,)])
def test_suspects_travel(suspects: tuple[int, ...] | None) -> None:
    sent = ChunkResult(1, "pi", Outcome.CRASHED, suspects=suspects)
    assert ChunkResult.from_json(sent.to_json()) == sent


def test_suspects_that_are_no_indexes_are_refused() -> None:
    text = ChunkResult(1, "pi", Outcome.CRASHED, suspects=(5,)).to_json().replace("[5]", '["x"]')
    with pytest.raises(MessageError, match="are no indexes"):
        ChunkResult.from_json(text)


@pytest.mark.redis
@pytest.mark.timeout(90)
def test_process_killed_while_it_waits_accuses_none(
    job: FleetJob, start_worker: StartWorker, origin: FaultyOrigin
) -> None:
    worker = start_worker()
    job.send([origin.add("/slow.png", answer=Answer(png("A"), delay_s=30))])
    wait_until(lambda: origin.hits("/slow.png"), what="the download")

    for child in psutil.Process(worker.process.pid).children():
        os.kill(child.pid, signal.SIGKILL)

    (result,) = job.wait_results(1)
    assert (result.outcome, result.suspects) == (Outcome.CRASHED, ())

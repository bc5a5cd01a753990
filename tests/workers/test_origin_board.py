"""The parent sees how its processes find their origins, while a chunk lasts and after it."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from broker.loads import MAX_ORIGINS, OriginLoad, merge_origins
from tests.conftest import StartWorker, wait_until
from tests.support.faulty_origin import Answer, FaultyOrigin
from tests.support.fleet_job import FleetJob
from tests.support.stripes import png
from workers.fetch.origins import OriginState
from workers.health import origin_board

HELD = OriginState("http://a:80", 3, 2, 4.5, 12.5, "latency")


@pytest.fixture(autouse=True)
def board() -> Iterator[None]:
    origin_board.prepare()
    origin_board.post([])
    yield
    origin_board.post([])


def test_what_is_posted_is_read_by_process() -> None:
    origin_board.post([HELD])
    assert origin_board.read([os.getpid()]) == (
        OriginLoad("http://a:80", 3, 2, 4.5, 12.5, "latency"),
    )
    assert origin_board.read([os.getpid() + 1]) == ()


def test_processes_of_a_worker_are_added_up() -> None:
    loads = [OriginLoad("o", 3, 2, 4.5, 12.5, "latency"), OriginLoad("o", 1, 0, 2.0, 20.0)]
    assert merge_origins(loads) == (OriginLoad("o", 4, 2, 6.5, 20.0, "latency"),)


def test_line_that_is_torn_or_stale_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    origin_board.post([HELD])
    table = origin_board._table
    assert table is not None
    at = os.getpid() % origin_board.SLOTS * origin_board.SLOT_BYTES + origin_board.HEADER.size
    table[at + 5] = 0
    assert origin_board.read([os.getpid()]) == ()
    origin_board.post([HELD])
    monkeypatch.setattr(origin_board, "FORGET_S", -1.0)
    assert origin_board.read([os.getpid()]) == ()


@pytest.mark.parametrize("name", ["x" * 5000, "http://a"], ids=["one is long", "there are many"])
def test_board_is_bounded(name: str) -> None:
    origin_board.post([OriginState(name + str(n), 0, 0, 1.0, 1.0, "") for n in range(50)])
    assert len(origin_board.read([os.getpid()])) == (1 if len(name) > 99 else MAX_ORIGINS)


@pytest.mark.redis
def test_heartbeat_shows_an_origin_while_its_chunk_lasts(
    job: FleetJob, start_worker: StartWorker, origin: FaultyOrigin
) -> None:
    worker = start_worker(env={"PIFLEET_HEARTBEAT_S": "0.3"})
    urls = [origin.add(f"/{n}.png", answer=Answer(png("A"), delay_s=4.0)) for n in range(2)]
    job.send(urls)

    def busy() -> bool:
        beat = worker.heartbeat()
        return beat is not None and any(one.in_flight for one in beat.origins)

    wait_until(busy, what="an origin that is asked")
    job.wait_results(1)

    def told() -> bool:
        beat = worker.heartbeat()
        return beat is not None and beat.images == 2 and not beat.origins[0].in_flight

    wait_until(told, what="its rest")
    beat = worker.heartbeat()
    assert beat is not None
    assert beat.origins[0].origin == origin.url("").rstrip("/")
    assert beat.origins[0].latency_ms > 3000
    assert sum(beat.stages.model.counts) == 2

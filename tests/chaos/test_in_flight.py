"""What a pool process was reading when it died, as its parent and the producer hear of it."""

from __future__ import annotations

import os
import signal

import psutil
import pytest

from broker.claims import make_token, prove
from broker.results import ChunkResult, Crash, Outcome
from contract.errors import MessageError
from tests.conftest import StartWorker, wait_until
from tests.support.faulty_origin import Answer, FaultyOrigin
from tests.support.fleet_job import FleetJob
from tests.support.stripes import png
from workers.health import in_flight
from workers.health.in_flight import Marker

TOKEN = make_token("secret", 1)


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")  # from Python 3.12 on
def test_parent_sees_what_its_child_read_last() -> None:
    in_flight.prepare()
    child = os.fork()
    if child == 0:
        in_flight.hold(TOKEN)
        in_flight.begin(17)
        os._exit(0)
    os.waitpid(child, 0)

    assert in_flight.marker_of(child) == Marker(TOKEN, Crash(was_seen=True, image=17))
    assert in_flight.proofs([child]) == (prove(TOKEN),)


def test_process_between_two_images_accuses_none() -> None:
    in_flight.prepare()
    assert in_flight.marker_of(1) == Marker()  # it never wrote
    in_flight.hold(TOKEN)
    in_flight.begin(3)
    in_flight.end()

    assert in_flight.marker_of(os.getpid()) == Marker(TOKEN, Crash(was_seen=True))
    in_flight.release()
    assert in_flight.marker_of(os.getpid()).token == ""


@pytest.mark.parametrize("crash", [None, Crash(), Crash(was_seen=True, image=5)])
def test_what_is_known_of_a_crash_travels(crash: Crash | None) -> None:
    sent = ChunkResult(1, "pi", Outcome.CRASHED, "token", crash=crash)
    assert ChunkResult.from_json(sent.to_json()) == sent


def test_suspect_that_is_no_index_is_refused() -> None:
    text = ChunkResult(1, "pi", Outcome.CRASHED, "token", crash=Crash(image=5)).to_json()
    text = text.replace(b":5", b':"x"')
    with pytest.raises(MessageError, match="Expected `int"):
        ChunkResult.from_json(text)


@pytest.mark.redis
def test_process_killed_while_it_waits_accuses_none(
    job: FleetJob, start_worker: StartWorker, origin: FaultyOrigin
) -> None:
    worker = start_worker()
    job.send([origin.add("/slow.png", answer=Answer(png("A"), delay_s=30))])
    wait_until(lambda: origin.hits("/slow.png"), what="the download")

    for child in psutil.Process(worker.process.pid).children():
        os.kill(child.pid, signal.SIGKILL)

    (result,) = job.wait_results(1)
    assert (result.outcome, result.crash) == (Outcome.CRASHED, Crash(was_seen=True))

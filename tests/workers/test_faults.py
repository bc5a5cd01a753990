"""A worker whose Redis goes away, freezes or comes back, and one that is told to stop twice."""

from __future__ import annotations

import random
import signal
import threading
from collections.abc import Iterator
from urllib.parse import urlsplit, urlunsplit

import pytest

from broker.connection import make_client
from broker.results import ChunkResult, Outcome, deliver
from tests.conftest import StartWorker, wait_until
from tests.support.faulty_origin import Answer, FaultyOrigin
from tests.support.fleet_job import JOB, FleetJob
from tests.support.stripes import png
from tests.support.tcp_proxy import TcpProxy, tcp_proxy
from workers.health.heartbeat import STALLED_EXIT_CODE

pytestmark = [pytest.mark.redis, pytest.mark.timeout(120)]


@pytest.fixture
def proxy(redis_url: str) -> Iterator[TcpProxy]:
    with tcp_proxy(("127.0.0.1", urlsplit(redis_url).port or 0)) as running:
        yield running


def through(proxy: TcpProxy, redis_url: str) -> str:
    """Name the URL of Redis behind the proxy."""
    parts = urlsplit(redis_url)
    return urlunsplit(parts._replace(netloc=parts.netloc.replace(str(parts.port), str(proxy.port))))


def test_stalled_worker_leaves_to_be_started_again(
    job: FleetJob, start_worker: StartWorker, origin: FaultyOrigin, proxy: TcpProxy, redis_url: str
) -> None:
    env = {"PIFLEET_REDIS_URL": through(proxy, redis_url), "PIFLEET_STALLED_AFTER_S": "2"}
    worker = start_worker(env=env)
    url = origin.add("/a.png", png("A"))
    job.send([url])
    job.wait_results(1)
    job.wait_released()
    proxy.freeze()
    for _ in range(2):  # the first is lost in the frozen connection, as any would be
        job.send([url])
    wait_until(lambda: worker.process.poll() is not None, timeout_s=60, what="the worker's end")
    assert worker.process.returncode == STALLED_EXIT_CODE
    assert "stalled worker=" in worker.log.read_text()


def test_worker_reads_on_when_redis_comes_back(
    job: FleetJob, start_worker: StartWorker, origin: FaultyOrigin, proxy: TcpProxy, redis_url: str
) -> None:
    worker = start_worker(env={"PIFLEET_REDIS_URL": through(proxy, redis_url)})
    job.send([origin.add("/slow.png", answer=Answer(png("A"), delay_s=2))])
    wait_until(lambda: origin.hits("/slow.png"), what="the download")
    proxy.refuses = True
    proxy.cut()
    wait_until(lambda: "result-waits" in worker.log.read_text(), what="a result that waits")
    assert job.results() == []
    proxy.refuses = False
    assert job.wait_results(1, timeout_s=30)[0].rows[0].text == "A"
    job.send([origin.add("/b.png", png("B"))])
    wait_until(lambda: "B" in texts(job), timeout_s=30, what="the next chunk")
    assert worker.process.poll() is None


def test_result_that_cannot_be_delivered_is_given_up_in_time(
    job: FleetJob, proxy: TcpProxy, redis_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    proxy.refuses = True
    result = ChunkResult(0, "pi1", Outcome.DONE, "token")
    with make_client(through(proxy, redis_url)) as redis:
        assert not deliver(redis, JOB, result, rng=random.Random(0), give_up_s=0.3)
    assert "result-lost job=job1 delivery=0" in caplog.text


def test_result_is_delivered_once_redis_is_back(
    job: FleetJob, proxy: TcpProxy, redis_url: str
) -> None:
    proxy.refuses = True
    back = threading.Timer(0.5, setattr, (proxy, "refuses", False))
    back.start()
    with make_client(through(proxy, redis_url)) as redis:
        assert deliver(
            redis, JOB, ChunkResult(7, "pi1", Outcome.DONE, "token"), rng=random.Random(0)
        )
    back.join()
    assert [result.delivery for result in job.results()] == [7]


def test_second_interrupt_stops_soon_and_gives_the_chunk_back(
    job: FleetJob, start_worker: StartWorker, origin: FaultyOrigin
) -> None:
    worker = start_worker()
    job.send([origin.add("/slow.png", answer=Answer(png("A"), delay_s=60))])
    wait_until(lambda: origin.hits("/slow.png"), what="the download")
    worker.process.send_signal(signal.SIGINT)
    wait_until(lambda: "Warm shutdown" in worker.log.read_text(), what="the drain")
    worker.process.send_signal(signal.SIGINT)
    wait_until(lambda: worker.process.poll() is not None, timeout_s=20, what="the worker's end")
    assert job.results() == []
    assert job.redis.llen("pifleet:chunks") == 1


def texts(job: FleetJob) -> set[str | None]:
    return {row.text for result in job.results() for row in result.rows}

"""One host's limit, pauses and breaker, with a real origin behind the fetcher."""

from __future__ import annotations

import asyncio
import os
import random
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from math import inf
from pathlib import Path

import pytest
from yarl import URL

from contract.errors import ImageError
from contract.reasons import Reason
from contract.settings import parse_networks
from tests.support.bad_origins import raw_origin
from tests.support.faulty_origin import Answer, FaultyOrigin
from tests.support.real_origins import https
from workers.fetch.budget import MIB, ByteBudget
from workers.fetch.fetcher import Fetcher, FetchLimits, open_fetcher
from workers.fetch.origin import Attempt, Origin, OwnTime, Patience
from workers.fetch.origins import LOOK_EVERY_S, Origins

LOOPBACK = parse_networks("X", "127.0.0.0/8")
BODY = b"an image, as far as HTTP knows"
QUICK = FetchLimits(connect_s=0.3, read_s=0.3, attempt_s=1.0)


def fetch_all(
    urls: Sequence[str], limits: FetchLimits = QUICK, *, start_within_s: float = 60.0
) -> list[bytes | ImageError]:
    """Fetch all at once, as the images of a chunk are; returns bodies and failures."""

    async def run() -> list[bytes | ImageError]:
        start_by = time.monotonic() + start_within_s
        async with open_fetcher(LOOPBACK, limits, random.Random(0)) as fetcher:
            return list(await asyncio.gather(*(_fetch(fetcher, url, start_by) for url in urls)))

    return asyncio.run(run())


async def _fetch(fetcher: Fetcher, url: str, start_by: float) -> bytes | ImageError:
    try:
        return await fetcher.fetch(url, start_by=start_by)
    except ImageError as error:
        return error


def reasons(results: Sequence[bytes | ImageError]) -> set[Reason | None]:
    """Collect the reasons; None stands for a body."""
    return {one.reason if isinstance(one, ImageError) else None for one in results}


def closed_port() -> str:
    """Find a URL at which every connection is refused."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"http://127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give hosts up after a second."""
    monkeypatch.setattr("workers.fetch.breaker.PATIENCE_S", 1.0)


@pytest.mark.usefixtures("impatient")
def test_host_that_refuses_is_given_up_once_for_all_its_images() -> None:
    base = closed_port()
    started = time.monotonic()
    results = fetch_all([f"{base}/{number}.png" for number in range(500)])
    assert time.monotonic() - started < 8.0, "each image alone would take a second"
    assert reasons(results) == {Reason.CONNECT}
    assert any("is down" in str(error) for error in results)


@pytest.mark.usefixtures("impatient")
def test_host_whose_name_does_not_resolve_is_given_up_once() -> None:
    results = fetch_all([f"http://no-such.invalid/{number}.png" for number in range(100)])
    assert reasons(results) == {Reason.DNS}


@pytest.mark.usefixtures("impatient")
def test_host_that_never_answers_is_given_up_once() -> None:
    with raw_origin(_say_nothing) as url:
        started = time.monotonic()
        results = fetch_all([url] * 200)
    assert reasons(results) == {Reason.TIMEOUT}
    assert time.monotonic() - started < 8.0


def _say_nothing(client: socket.socket) -> None:
    client.recv(1)  # until the other side hangs up


def test_certificate_that_does_not_fit_is_found_out_once(tmp_path: Path) -> None:
    (tmp_path / "0.png").write_bytes(BODY)
    with https(tmp_path, tmp_path) as base:
        started = time.monotonic()
        results = fetch_all([f"{base}/{number}.png" for number in range(200)])
    assert reasons(results) == {Reason.CONNECT}
    assert "CERTIFICATE_VERIFY_FAILED" in str(results[0])
    assert time.monotonic() - started < 8.0


@pytest.mark.usefixtures("impatient")
def test_images_of_other_hosts_are_fetched_meanwhile(origin: FaultyOrigin) -> None:
    base, good = closed_port(), origin.add("/a.png", BODY)
    took: dict[str, float] = {}

    async def timed(fetcher: Fetcher, url: str) -> None:
        await _fetch(fetcher, url, time.monotonic() + 60.0)
        took[url] = max(took.get(url, 0.0), time.monotonic() - started)

    async def run() -> None:
        async with open_fetcher(LOOPBACK, QUICK, random.Random(0)) as fetcher:
            bad = [f"{base}/{number}.png" for number in range(50)]
            await asyncio.gather(*(timed(fetcher, url) for url in (*bad, good)))

    started = time.monotonic()
    asyncio.run(run())
    assert took[good] < 0.5 * min(taken for url, taken in took.items() if url != good)


def test_host_that_starts_again_loses_no_image(tmp_path: Path) -> None:
    """It refuses for two seconds and then answers; a hundred images wait for it."""

    async def run() -> list[bytes | ImageError]:
        async with open_fetcher(LOOPBACK, QUICK, random.Random(0)) as fetcher:
            fetches = [_fetch(fetcher, f"{base}/{n}.png", inf) for n in range(100)]
            waiting = [asyncio.create_task(one) for one in fetches]
            await asyncio.sleep(2.0)  # the outage
            server = await asyncio.start_server(_answer, "127.0.0.1", port)
            results = await asyncio.gather(*waiting)
            server.close()
            return results

    inf = float("inf")
    base = closed_port()
    port = int(base.rpartition(":")[2])
    assert reasons(asyncio.run(run())) == {None}


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok")
    await writer.drain()
    writer.close()


def test_host_is_asked_by_few_at_first(origin: FaultyOrigin) -> None:
    origin.add("/a.png", answer=Answer(BODY, delay_s=0.4))
    url = origin.url("/a.png")
    seen = 0

    async def run() -> None:
        nonlocal seen
        async with open_fetcher(LOOPBACK, FetchLimits(), random.Random(0)) as fetcher:
            tasks = [asyncio.create_task(_fetch(fetcher, url, 1e9)) for _ in range(20)]
            deadline = time.monotonic() + 5.0
            while not origin.hits("/a.png") and time.monotonic() < deadline:
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.1)  # time enough to ask for all of them
            seen = origin.hits("/a.png")
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(run())
    assert seen <= 2


def test_retry_after_pauses_the_host_and_not_only_the_image(origin: FaultyOrigin) -> None:
    busy = Answer(BODY, headers={"Retry-After": "1"}, fail_first=1)
    urls = [origin.add("/busy.png", answer=busy)]
    urls += [origin.add(f"/{number}.png", BODY) for number in range(20)]
    started = time.monotonic()
    assert reasons(fetch_all(urls)) == {None}
    assert time.monotonic() - started >= 1.0
    others = {request.path for request in origin.requests} - {"/busy.png"}
    assert len(others) == 20


def test_image_whose_turn_does_not_come_costs_no_attempt(origin: FaultyOrigin) -> None:
    url = origin.add("/slow.png", answer=Answer(BODY, delay_s=0.2))
    results = fetch_all([url] * 30, start_within_s=0.3)
    assert reasons(results) == {None, Reason.RATE_LIMIT}


def test_stalled_answer_is_asked_for_anew_while_others_come(origin: FaultyOrigin) -> None:
    """The first request for one image of many hangs; it is read all the same, and soon."""
    hangs = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = await reader.readline()
        if b"/hang.png" in line and not hangs.is_set():
            hangs.set()
            await reader.read()  # until the client gives it up
        else:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok")
        writer.close()

    async def run() -> list[bytes | ImageError]:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        base = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with open_fetcher(LOOPBACK, FetchLimits(), random.Random(0)) as fetcher:
            names = ["hang.png", *(f"{number}.png" for number in range(200))]
            results = await asyncio.gather(
                *(_fetch(fetcher, f"{base}/{name}", 1e9) for name in names)
            )
        server.close()
        return results

    started = time.monotonic()
    assert reasons(asyncio.run(run())) == {None}
    assert time.monotonic() - started < 5.0, "ten seconds is how long a first byte is waited for"


def test_stall_is_told_from_what_this_process_kept_waiting() -> None:
    """Answers take 400 ms, of which this process spends 390 on others: 200 ms idle are a stall."""

    async def run() -> Attempt:
        own, rng = OwnTime(), random.Random(0)
        origin = Origin("http://origin.lan", ByteBudget(MIB), own, rng)
        late, other = [await origin.enter(until=inf, may_hedge=True) for _ in range(2)]
        late.task = asyncio.create_task(asyncio.sleep(60.0))
        for attempt in (late, other):
            origin.note_connected(attempt)
        origin.note_answer(other)
        for _ in range(64):
            origin.limit.note_answer(time.monotonic(), 0.4, own_s=0.39, in_flight=2)
        origin.look_at(late, time.monotonic() + 0.05)
        assert not late.is_hedged
        origin.look_at(late, time.monotonic() + 0.2)
        own.close()
        return late

    assert asyncio.run(run()).is_hedged


def test_last_answer_of_all_that_stalls_is_asked_for_anew() -> None:
    """Nobody else is asked who could tell a stall from a slow origin; what it took before can."""

    async def run() -> list[bool]:
        own, rng = OwnTime(), random.Random(0)
        origin = Origin("http://origin.lan", ByteBudget(MIB), own, rng)
        last = await origin.enter(until=inf, may_hedge=True)
        last.task = asyncio.create_task(asyncio.sleep(60.0))
        origin.note_connected(last)
        seen = []
        for take_s in (None, 0.1, 0.01):  # nothing is known of it; it is slow; it is quick
            if take_s is not None:
                for _ in range(64):
                    origin.limit.note_answer(time.monotonic(), take_s, own_s=0.0, in_flight=1)
            origin.look_at(last, time.monotonic() + 0.4)
            seen.append(last.is_hedged)
        own.close()
        return seen

    assert asyncio.run(run()) == [False, False, True]


def test_attempt_that_came_in_after_the_last_look_is_looked_after() -> None:
    """Where timers go before what is ready, a look may find nobody just before one comes in."""
    uvloop = pytest.importorskip("uvloop")

    async def run() -> None:
        patience = Patience(silence_s=0.2, whole_s=0.2)
        origins = Origins(lambda: None, MIB, patience, random.Random(0))  # type: ignore[arg-type, return-value]
        origin = origins.of(URL("http://origin.lan"))
        first = [await origins.enter(origin, until=inf, may_hedge=False) for _ in range(2)]

        async def hang() -> None:
            origin.note_connected(await origins.enter(origin, until=inf, may_hedge=False))
            await asyncio.sleep(60.0)

        last = asyncio.create_task(hang())
        await asyncio.sleep(0)  # it waits for its turn
        for attempt in first:
            origins.leave(attempt)
        time.sleep(2 * LOOK_EVERY_S)
        ended, _ = await asyncio.wait([last], timeout=5.0)
        assert ended, "given up by nobody"
        await origins.close()

    uvloop.run(run())


def test_late_connection_is_noticed_though_answers_waited_for_this_process_alone() -> None:
    async def run() -> Attempt:
        own, rng = OwnTime(), random.Random(0)
        origin = Origin("http://origin.lan", ByteBudget(MIB), own, rng)
        late = await origin.enter(until=inf, may_hedge=True)
        late.task = asyncio.create_task(asyncio.sleep(60.0))
        for _ in range(64):
            origin.limit.note_answer(time.monotonic(), 0.4, own_s=0.4, in_flight=2)
        origin.look_at(late, time.monotonic() + 0.2)
        own.close()
        return late

    assert asyncio.run(run()).is_hedged


def test_states_say_what_holds_a_host_back(origin: FaultyOrigin) -> None:
    url = origin.add("/a.png", BODY)
    down = closed_port()

    async def run() -> dict[str, str]:
        async with open_fetcher(LOOPBACK, QUICK, random.Random(0)) as fetcher:
            await asyncio.gather(*(_fetch(fetcher, one, 1e9) for one in (url, *[down] * 5)))
            return {state.origin: state.held_by for state in fetcher.states()}

    assert asyncio.run(run()) == {origin.base: "", down: Reason.CONNECT}


def test_connections_of_few_hosts_stay_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.fetch.origins.MOST_OPEN", 4)
    opened: list[Origins] = []

    class Kept(Origins):
        def __init__(self, *arguments: object) -> None:
            super().__init__(*arguments)  # type: ignore[arg-type]
            opened.append(self)

    monkeypatch.setattr("workers.fetch.fetcher.Origins", Kept)

    async def run() -> int:
        servers = [await asyncio.start_server(_answer, "127.0.0.1", 0) for _ in range(20)]
        ports = [server.sockets[0].getsockname()[1] for server in servers]
        async with open_fetcher(LOOPBACK, QUICK, random.Random(0)) as fetcher:
            for port in ports:
                assert await fetcher.fetch(f"http://127.0.0.1:{port}/") == b"ok"
            stay_open = len(opened[0]._open)
        for server in servers:
            server.close()
            await server.wait_closed()
        return stay_open

    assert asyncio.run(run()) <= 4


def test_waiting_for_a_core_is_no_fault_of_an_origin() -> None:
    """Sleep as long as an answer takes: beside a busy process, on one core, waking takes longer."""
    cores = os.sched_getaffinity(0)
    own = OwnTime()
    os.sched_setaffinity(0, {min(cores)})
    try:
        with busy_process():  # on the same core
            began, worked = time.monotonic(), time.thread_time()
            mine = own.total_s(began)
            asleep_s = 0.0
            while time.monotonic() < began + 0.5:
                sum(range(20_000))
                time.sleep(0.002)
                asleep_s += 0.002
            ended = time.monotonic()
            wall_s, mine = ended - began, own.total_s(ended) - mine
            worked = time.thread_time() - worked
    finally:
        os.sched_setaffinity(0, cores)
        own.close()
    assert mine == pytest.approx(wall_s - asleep_s, abs=0.1 * wall_s)
    assert mine > 1.1 * worked  # the rest it waited for the core


@contextmanager
def busy_process() -> Iterator[None]:
    """Keep a core busy with nothing."""
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        process.kill()
        process.wait()

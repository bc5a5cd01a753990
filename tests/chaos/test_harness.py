"""The harness itself: its schedule, its proxy and its counting can be relied on."""

from __future__ import annotations

import os
import socket
import socketserver
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.chaos.faults import FIRST, LAST, Kind, Plan, schedule
from benchmarks.chaos.score import tally
from benchmarks.chaos.stack import KeptWorker, WorkerCommand
from pifleet.local.children import Child, end_child, start_child
from tests.support.tcp_proxy import tcp_proxy

PLAN = Plan(
    images=10_000,
    seed=3,
    kills=20,
    parents=4,
    stops=1,
    drains=2,
    redis_kills=3,
    wipes=2,
    producer_kills=2,
    half_open=5,
    stop_s=15.0,
    silent_s=20.0,
    workers=3,
    processes=2,
    delay_ms=100,
)


def test_schedule_holds_what_the_plan_asks_for() -> None:
    faults = schedule(PLAN)

    assert Counter(fault.kind for fault in faults) == PLAN.counts()
    assert sum(fault.kind in (Kind.CHILD_KILL, Kind.WORKER_KILL) for fault in faults) == 20
    assert [fault.after for fault in faults] == sorted(fault.after for fault in faults)


def test_faults_of_a_kind_are_spread_over_the_job() -> None:
    after = [fault.after for fault in schedule(PLAN) if fault.kind is Kind.HALF_OPEN]
    share = (LAST - FIRST) / 5 * PLAN.images
    begin = FIRST * PLAN.images

    assert [int((place - begin) // share) for place in after] == [0, 1, 2, 3, 4]


def test_schedule_follows_from_the_seed() -> None:
    assert schedule(PLAN) == schedule(PLAN)
    assert schedule(PLAN) != schedule(replace(PLAN, seed=4))


def test_lost_rows_and_double_ones_are_counted() -> None:
    counted = tally(["a", "b", "b", "c", "c", "c"], expected=5)
    assert (counted.rows, counted.lost, counted.twice) == (6, 2, 3)


class Echo(socketserver.BaseRequestHandler):
    """A connection to a server that sends back what it gets."""

    def handle(self) -> None:
        """Send it back."""
        with suppress(OSError):
            while data := self.request.recv(100):
                self.request.sendall(data)


@pytest.fixture
def echo() -> Iterator[tuple[str, int]]:
    """Run that server; gives its address."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Echo) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield ("127.0.0.1", server.server_address[1])
        server.shutdown()
        thread.join(timeout=5)


@pytest.mark.parametrize("new_ones_too", [False, True], ids=["new-ones-pass", "new-ones-too"])
def test_proxy_falls_silent_and_drops_in_the_end(echo: tuple[str, int], new_ones_too: bool) -> None:
    with tcp_proxy(echo) as proxy:
        address = ("127.0.0.1", proxy.port)
        with connected(address) as old, connected(address) as other:
            assert _asked(old) == _asked(other) == b"hello"

            proxy.freeze(new_ones_too=new_ones_too)
            old.settimeout(0.2)
            assert _asked(old) is None  # neither an answer nor an end
            with connected(address) as new:
                if new_ones_too:
                    new.settimeout(0.2)
                assert (_asked(new) is None) == new_ones_too
            other.close()
            assert _asked(old) is None

            proxy.drop()
            old.settimeout(10)
            with suppress(ConnectionResetError):
                assert old.recv(10) == b""
        with connected(address) as again:
            assert _asked(again) == b"hello"


def test_proxy_ends_a_connection_while_redis_is_away() -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # and does not listen
        with tcp_proxy(nobody.getsockname()) as proxy:
            for _ in range(2):  # the first leaves the proxy as it was
                with connected(("127.0.0.1", proxy.port)) as ended, suppress(ConnectionResetError):
                    assert ended.recv(10) == b""


def connected(address: tuple[str, int]) -> socket.socket:
    """Connect, and wait 10 s for each answer."""
    return socket.create_connection(address, timeout=10)


def _asked(connection: socket.socket) -> bytes | None:
    connection.sendall(b"hello")
    try:
        return connection.recv(10)
    except TimeoutError:
        return None


def test_only_processes_of_this_run_count_as_orphans(tmp_path: Path) -> None:
    def sleeper(folder: str) -> Child:
        variables = {"PIFLEET_WORKER_NAME": "w", "PIFLEET_STATE_DIR": folder}
        return start_child(["sleep", "60"], env={**os.environ, **variables})

    env = {**os.environ, "PIFLEET_WORKER_NAME": "w", "PIFLEET_STATE_DIR": str(tmp_path)}
    worker = KeptWorker(WorkerCommand(["sleep", "60"], env, tmp_path / "log"))
    left, foreign = sleeper(str(tmp_path)), sleeper("elsewhere")
    try:
        assert worker.orphans() == [left.pid]
    finally:
        for child in (left, foreign):
            end_child(child, grace_s=5)
        worker.end()

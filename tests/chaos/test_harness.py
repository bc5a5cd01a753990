"""The harness itself: its schedule, its proxy and its counting can be relied on."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.chaos.keeper import Command, Kept
from benchmarks.chaos.plan import FIRST, LAST, Kind, Plan, schedule
from benchmarks.chaos.programs import program
from benchmarks.chaos.score import tally
from pifleet.local.children import Child, end_child, start_child

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


@pytest.fixture
def echo() -> Iterator[int]:
    """Run a server that sends back what it gets; gives its port."""
    server = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=_echo, args=(server,), daemon=True)
    thread.start()
    yield server.getsockname()[1]
    with suppress(OSError):
        server.shutdown(socket.SHUT_RDWR)
    server.close()
    thread.join(timeout=5)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("is_dark", [False, True], ids=["new-ones-pass", "new-ones-too"])
def test_proxy_falls_silent_and_drops_in_the_end(echo: int, is_dark: bool) -> None:
    with program("benchmarks.chaos.proxy", str(echo), "1.5") as proxy:
        address = ("127.0.0.1", int(proxy.address))
        with socket.create_connection(address, timeout=10) as old:
            assert _asked(old) == b"hello"

            proxy.child.send_signal(signal.SIGUSR2 if is_dark else signal.SIGUSR1)
            old.settimeout(0.5)
            with pytest.raises(TimeoutError):  # neither an answer nor an end
                _wait_for_silence(old)
            with socket.create_connection(address, timeout=0.4) as new:
                assert (_asked(new) is None) == is_dark
            old.settimeout(10)
            with suppress(ConnectionResetError):
                assert old.recv(10) == b""
        with socket.create_connection(address, timeout=10) as again:
            assert _asked(again) == b"hello"


def _wait_for_silence(connection: socket.socket) -> None:
    """Ask until no answer comes: the signal takes its time."""
    for _ in range(1000):
        connection.sendall(b"hello")
        connection.recv(10)


def _asked(connection: socket.socket) -> bytes | None:
    connection.sendall(b"hello")
    try:
        return connection.recv(10)
    except TimeoutError:
        return None


def _echo(server: socket.socket) -> None:
    while True:
        try:
            connection, _ = server.accept()
        except OSError:
            return
        threading.Thread(target=_answer, args=(connection,), daemon=True).start()


def _answer(connection: socket.socket) -> None:
    with connection, suppress(OSError):
        while data := connection.recv(100):
            connection.sendall(data)


def test_only_processes_of_this_run_count_as_orphans(tmp_path: Path) -> None:
    def sleeper(folder: str) -> Child:
        variables = {"PIFLEET_WORKER_NAME": "w", "PIFLEET_STATE_DIR": folder}
        return start_child(["sleep", "60"], env={**os.environ, **variables})

    env = {**os.environ, "PIFLEET_WORKER_NAME": "w", "PIFLEET_STATE_DIR": str(tmp_path)}
    worker = Kept(Command("w", ["sleep", "60"], env, tmp_path / "log"))
    left, foreign = sleeper(str(tmp_path)), sleeper("elsewhere")
    try:
        assert worker.orphans() == [left.pid]
    finally:
        for child in (left, foreign):
            end_child(child, grace_s=5)
        worker.end()

"""`pifleet status --watch`: one screen with fifty Pis, in 80 columns and 24 lines."""

from __future__ import annotations

import os
import pty
import select
import struct
import subprocess
import termios
import time
from collections import Counter
from dataclasses import replace
from fcntl import ioctl
from pathlib import Path

import pytest
from rich.console import Console

from broker.heartbeats import Fleet
from broker.loads import OriginLoad
from broker.overview import Overview
from producer.job.spec import Counts
from producer.tables import state_words
from producer.watch.history import JobPaces, Pace, RecentFailures
from producer.watch.screen import ORDERS, Scene, View, draw
from tests.conftest import StartWorker
from tests.producer.test_tables import beat, job
from tests.support.commands import PIFLEET, fleet_env
from tests.workers.test_health import Clock

ORIGIN = OriginLoad("http://" + "images." * 20 + "example:80", 250, 100, 325.0, 85.0, "latency")


def scene(workers: int = 50, **changes: object) -> Scene:
    running = replace(job(), state="running", counts=Counts(1_000_000, 300_000, 10_000, 9))
    fleet = Fleet(
        tuple(beat(n, throttled=0, origins=(ORIGIN,), worker=f"pi{n:02}") for n in range(workers))
    )
    seen = Scene(
        overview=Overview(fleet, {"pi-attic": 95.0}, "7f3a9c21.3", 12.0, 3_000_000),
        jobs=[running] * 6,
        paces={running.spec.job: Pace(1234.0, 559.0)},
        failures=Counter({f"reason_{n}": 9 - n for n in range(9)}),
    )
    return replace(seen, **changes)  # type: ignore[arg-type]


def drawn(seen: Scene, view: View | None = None, *, width: int = 80, height: int = 24) -> list[str]:
    console = Console(width=width, height=height)
    with console.capture() as shown:
        console.print(draw(seen, view or View(), width=width, height=height))
    return shown.get().splitlines()


@pytest.mark.parametrize("workers", [0, 1, 50])
@pytest.mark.parametrize(("width", "height"), [(80, 24), (60, 20), (200, 60), (40, 10)])
def test_screen_never_needs_more_room_than_there_is(workers: int, width: int, height: int) -> None:
    lines = drawn(scene(workers), width=width, height=height)
    assert max(len(line) for line in lines) <= width
    assert len(lines) <= height or height < 20


def test_screen_of_fifty_in_80_columns_has_what_a_person_looks_for() -> None:
    text = "\n".join(drawn(scene()))
    for wanted in (
        *("50 workers · 61,700 img/s", "0 chunks waiting, 12s", "Redis 3.0 MB"),
        *("1,234/s", "310,000 of 1,000,000", "9m to go", "10,000 failed"),
        *("failed within a minute: reason_0 9", "12,500 of 16,250 in flight", "held by latency"),
        *("worker", "img/s", "°C", "hand", "MB", "version", "up", "state", "0.1.0", "1/12"),
        *("pi-attic", "silent for 1m", "of 50 workers", "!trouble", "q quits"),
    ):
        assert wanted in text, wanted


def test_trouble_comes_first_and_keys_sort_and_scroll() -> None:
    sick = beat(49, worker="pi49", slowed="84 °C", throttled=0x4)
    fleet = Fleet((*scene(49).overview.fleet.workers, sick))
    seen = scene(overview=Overview(fleet))
    lines = drawn(seen)
    first = lines[next(number for number, line in enumerate(lines) if "version" in line) + 1]
    assert first.startswith("pi49")
    assert "84 °C" in first
    assert "pi49" not in "\n".join(drawn(seen, View("n")))
    far = View("n")
    for _ in range(9):
        far = far.pressed("pagedown", page=10, workers=50)
    assert "pi49" in "\n".join(drawn(seen, far))
    assert far.pressed("x", page=10, workers=50) == far
    assert [View().pressed(key, page=10, workers=50).order for key in ORDERS] == list(ORDERS)
    assert View().pressed("up", page=10, workers=50) == View()


def test_pace_is_that_of_the_last_minute_and_says_when_the_job_ends() -> None:
    clock = Clock()
    paces = JobPaces(clock)
    running = replace(job(), counts=Counts(1000, 100, 0, 0))
    assert paces.note([running]) == {running.spec.job: Pace()}
    clock.now += 10
    later = replace(running, counts=Counts(1000, 190, 10, 0))
    assert paces.note([later]) == {running.spec.job: Pace(10.0, 80.0)}
    clock.now += 10
    revived = replace(running, counts=Counts(1000, 150, 0, 0))
    assert paces.note([revived]) == {running.spec.job: Pace()}


def test_failures_are_those_of_the_last_minute_whatever_restarts_or_lies() -> None:
    clock = Clock()
    recent = RecentFailures(clock)
    old = beat(1, reasons={"timeout": 500})
    assert recent.note(Fleet((old,))) == {}
    clock.now += 30
    fresh = beat(2, reasons={"dns": 3})
    assert recent.note(Fleet((beat(1, reasons={"timeout": 502}), fresh))) == {
        "timeout": 2,
        "dns": 3,
    }
    clock.now += 40
    assert recent.note(Fleet((beat(1, reasons={"timeout": 1}), fresh))) == {}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"resting": "its failures stand out"}, "rests: its failures stand out"),
        ({"slowed": "84 °C"}, "84 °C"),
        ({"refused": {"a": "no key"}}, "refuses a model"),
        ({"throttled": 0x8}, "soft temperature limit"),
        ({"throttled": 0x50000}, "was under-voltage"),
        ({"throttled": None, "in_hand": ()}, "idle"),
    ],
)
def test_state_of_a_worker_is_a_few_words(changes: dict[str, object], words: str) -> None:
    assert state_words(beat(1, **changes)).plain == words


@pytest.mark.redis
def test_watch_draws_takes_keys_and_quits(
    redis_url: str, tmp_path: Path, start_worker: StartWorker
) -> None:
    start_worker(name="pi7")
    ours, theirs = pty.openpty()
    ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    env = {**fleet_env(redis_url, tmp_path), "TERM": "xterm"}
    watching = subprocess.Popen(
        [*PIFLEET, "status", "--watch"], stdin=theirs, stdout=theirs, stderr=theirs, env=env
    )
    os.close(theirs)
    assert "pi7" in read_until(ours, "quits")
    os.write(ours, b"t\x1b[B")
    read_until(ours, "pi7")
    os.write(ours, b"q")
    assert watching.wait(timeout=10) == 0
    os.close(ours)


@pytest.mark.redis
def test_watch_without_a_terminal_is_refused_in_a_line(redis_url: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [*PIFLEET, "status", "--watch"],
        env=fleet_env(redis_url, tmp_path),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert "--json is for programs" in done.stderr


def read_until(terminal: int, wanted: str) -> str:
    """Read what is drawn until a word stands in it."""
    seen, give_up_at = "", time.monotonic() + 20.0
    while wanted not in seen:
        assert time.monotonic() < give_up_at, seen
        if select.select([terminal], [], [], 0.1)[0]:
            seen += os.read(terminal, 65536).decode(errors="replace")
    return seen

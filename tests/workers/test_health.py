"""What a worker tells of itself: counts, rates, temperature, heartbeat; and when it is stalled."""

from __future__ import annotations

import json
import logging
import os
from dataclasses import dataclass
from pathlib import Path

import pytest

from broker.connection import connect
from broker.heartbeats import (
    FORGET_S,
    WORKERS_KEY,
    Heartbeat,
    beat,
    forget_silent,
    heartbeat_key,
    sign_off,
)
from contract.errors import SettingsError
from contract.settings import Settings
from workers.health.heartbeat import Identity, observe
from workers.health.host import processes_for, rss_mb, temperature_c, throttled_flags
from workers.health.stall import StallDetector
from workers.health.statistics import Statistics
from workers.naming import choose_name, node_name, worker_of
from workers.process import ChunkSummary
from workers.tasks import crash_detail, parse_summary


@dataclass(slots=True)
class Clock:
    """A clock that a test sets."""

    now: float = 1000.0

    def __call__(self) -> float:  # noqa: D102
        return self.now


def test_rate_is_that_of_the_last_ten_seconds() -> None:
    clock = Clock()
    statistics = Statistics(clock)
    clock.now += 2
    statistics.note_done(images=64, failed=4)
    assert statistics.images_per_s() == 32
    clock.now += 100
    statistics.note_done(images=50, failed=0)
    assert statistics.images_per_s() == 5
    clock.now += 11
    assert (statistics.images_per_s(), statistics.images, statistics.failed) == (0, 114, 4)


@pytest.mark.parametrize(
    ("returned", "images"),
    [
        (repr(ChunkSummary(64, 3, 0.1).to_text()), 64),
        (repr('{"images": 64, "fai...'), 0),
        ("'{\"images\": 64, 'fai...", 0),
        ({"images": 64, "failed": 3}, 0),
        ("__import__('os')", 0),
        (None, 0),
    ],
)
def test_counts_are_read_from_what_celery_passes_on(returned: object, images: int) -> None:
    assert parse_summary(returned).images == images


def test_crash_is_told_in_one_line() -> None:
    assert crash_detail(SystemExit(1)) == "its process died: 1"
    assert crash_detail(ValueError("x")) == "its process failed: ValueError('x')"


@pytest.mark.parametrize(
    ("text", "wanted"),
    [("48312\n", 48.312), ("hot", None), ("2147483647", None), ("-274000", None)],
)
def test_temperature_is_read_in_degrees(tmp_path: Path, text: str, wanted: float | None) -> None:
    path = tmp_path / "temp"
    path.write_text(text)
    assert temperature_c(path) == wanted
    assert temperature_c(tmp_path / "missing") is None


def test_throttle_flags_are_read_as_hexadecimal(tmp_path: Path) -> None:
    path = tmp_path / "get_throttled"
    path.write_text("50005\n")
    assert throttled_flags(path) == 0x50005


def test_throttle_flags_come_from_vcgencmd_where_there_is_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "vcgencmd"
    program.write_text("#!/bin/sh\necho throttled=0x50000\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert throttled_flags(tmp_path / "missing") == 0x50000


def test_throttle_flags_are_unknown_on_other_machines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert throttled_flags(tmp_path / "missing") is None


def test_memory_of_a_process_that_is_gone_counts_nothing() -> None:
    assert rss_mb([os.getpid()]) > 5
    assert rss_mb([2**22 + 1]) == 0


@pytest.mark.parametrize(
    ("cores", "free_mb", "processes"),
    [(4, 8000, 12), (4, 400, 5), (4, 100, 1), (1, 4000, 3)],
    ids=["Pi 5", "Pi Zero 2", "nearly full", "one core"],
)
def test_processes_suit_cores_and_memory(cores: int, free_mb: float, processes: int) -> None:
    assert processes_for(cores=cores, free_mb=free_mb) == processes


def look(settings: Settings, name: str = "pi1") -> Heartbeat:
    who = Identity(worker=name, pid=os.getpid(), processes=2)
    return observe(who, settings, Statistics(), in_hand={"j.2", "j.1"}, pids=[os.getpid()])


@pytest.mark.redis
def test_heartbeat_is_listed_and_those_of_an_hour_ago_are_forgotten(
    redis_url: str, tmp_path: Path
) -> None:
    sent = look(Settings(cache_dir=tmp_path))
    with connect(redis_url) as redis:
        redis.zadd(WORKERS_KEY, {"long gone": 0, "never was": float("inf")})
        redis.hset(heartbeat_key("long gone"), "beat", "{}")
        assert beat(redis, sent) == ""
        forget_silent(redis)
        assert not redis.exists(heartbeat_key("long gone"))
        read = Heartbeat.from_json(redis.hget(heartbeat_key("pi1"), "beat") or b"")
        seconds, _ = redis.time()
        ((name, score),) = redis.zrange(WORKERS_KEY, 0, -1, withscores=True)
    assert read == sent
    assert read.in_hand == ("j.1", "j.2")
    assert (name, abs(score - seconds) < FORGET_S / 100) == (b"pi1", True)


@pytest.mark.redis
def test_worker_that_signs_off_is_gone_at_once(redis_url: str, tmp_path: Path) -> None:
    with connect(redis_url) as redis:
        beat(redis, look(Settings(cache_dir=tmp_path)))
        sign_off(redis, "pi1")
        assert not redis.exists(heartbeat_key("pi1"), WORKERS_KEY)


def test_name_survives_celery() -> None:
    assert worker_of(node_name("pi1")) == "pi1"
    assert worker_of("celery@other") == "celery@other"


@pytest.mark.redis
@pytest.mark.parametrize("name", ["pi 1", "pi@home", "x" * 65, "pi/1"])
def test_name_with_odd_letters_is_refused(redis_url: str, name: str) -> None:
    with connect(redis_url) as redis, pytest.raises(SettingsError, match="PIFLEET_WORKER_NAME"):
        choose_name(Settings(worker_name=name), redis)


def test_worker_is_stalled_when_work_waits_and_none_arrives() -> None:
    clock = Clock()
    stall = StallDetector(after_s=60, clock=clock)
    assert not stall.is_stalled(waiting=5, has_idle_process=True, received_at=990.0)
    clock.now += 59
    assert not stall.is_stalled(waiting=5, has_idle_process=True, received_at=990.0)
    clock.now += 1
    assert stall.is_stalled(waiting=5, has_idle_process=True, received_at=990.0)


@pytest.mark.parametrize("change", ["empty queue", "busy", "received", "Redis away"])
def test_worker_that_could_not_or_did_receive_is_not_stalled(change: str) -> None:
    clock = Clock()
    stall = StallDetector(after_s=60, clock=clock)
    stall.is_stalled(waiting=5, has_idle_process=True, received_at=990.0)
    clock.now += 30
    received_at = 990.0
    if change == "Redis away":
        stall.forget()
    elif change == "received":
        received_at = clock.now
    else:
        stall.is_stalled(
            waiting=0 if change == "empty queue" else 5,
            has_idle_process=change != "busy",
            received_at=990.0,
        )
    clock.now += 40
    assert not stall.is_stalled(waiting=5, has_idle_process=True, received_at=received_at)


def test_heartbeat_is_one_line_of_json(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        text = look(Settings(cache_dir=tmp_path)).to_json()
    assert json.loads(text)["worker"] == "pi1"
    assert caplog.records == []

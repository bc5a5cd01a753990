"""The doctor names the next step for each thing that ails a Pi, and a worker waits for the time."""

from __future__ import annotations

import logging
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from msgspec.structs import replace

from broker.connection import connect
from broker.heartbeats import beat
from contract.errors import ServiceError
from contract.settings import Settings
from pifleet.access import authority
from pifleet.access.access import admin_url, grant_user, revoke_user
from pifleet.access.roles import WORKER
from pifleet.local import machine_checks
from pifleet.local.broker_checks import check_certificate, check_redis, check_versions
from pifleet.local.machine_checks import Finding, Level
from tests.broker.test_messages import BEAT
from tests.support.control_node import broker_with_access, needs
from workers.health import clock
from workers.health.clock import connect_in_time

NEEDS = pytest.mark.skipif(bool(needs()), reason=needs() or "-")
LATER_S = 4.0


def trouble(url: str) -> Finding:
    (found,) = (one for one in check_redis(url) if one.level is Level.FAIL)
    return found


def test_doctor_says_that_no_address_is_set(tmp_path: Path) -> None:
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    command = [sys.executable, "-m", "pifleet", "doctor"]
    root = Path(__file__).parents[2]
    done = subprocess.run(command, cwd=root, env=env, capture_output=True, text=True, check=False)
    assert "broker: no address is set: this machine is taken\n      a Pi: sudo pifleet join" in (
        done.stdout
    )


@NEEDS
@pytest.mark.redis
def test_doctor_knows_a_pi_that_was_revoked(tmp_path: Path) -> None:
    with broker_with_access(tmp_path):
        access = tmp_path / "access"
        granted = grant_user(access, "pi7", WORKER, offline=False)
        url = f"{granted.url}?ssl_ca_certs={access / 'ca.crt'}"
        assert [one for one in check_redis(url) if one.level is not Level.OK] == []
        revoke_user(access, "pi7", offline=False)
        found = trouble(url)
    assert found.subject == "redis url"
    assert "a revoked machine joins anew" in found.text


@NEEDS
@pytest.mark.redis
def test_doctor_knows_a_certificate_that_has_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(authority, "SERVER_LIFE", timedelta(hours=-1))
    with broker_with_access(tmp_path):
        found = trouble(admin_url(tmp_path / "access"))
    assert "certificate has expired" in found.text
    assert "`pifleet access renew` makes another, if it is 20" in found.text


@NEEDS
@pytest.mark.redis
def test_doctor_says_when_a_certificate_will_end(tmp_path: Path) -> None:
    with broker_with_access(tmp_path):
        url = admin_url(tmp_path / "access")
        (good,) = check_certificate(url, time.time())
        (ending,) = check_certificate(url, time.time() + 800 * 86400)
    assert (good.level, good.text) == (Level.OK, "good for 825 days")
    assert (ending.level, ending.text) == (Level.WARN, "ends in 25 days")
    assert "pifleet access renew" in ending.advice


@NEEDS
@pytest.mark.redis
def test_worker_and_doctor_wait_for_the_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(authority, "SKEW", timedelta(seconds=-LATER_S))
    monkeypatch.setattr(clock, "POLL_S", 0.2)
    monkeypatch.chdir(tmp_path)
    with systemd(Path("notify")) as heard, broker_with_access(tmp_path):
        url = admin_url(tmp_path / "access")
        found = trouble(url)
        assert "let this machine find a time server" in found.text
        with caplog.at_level(logging.WARNING), connect_in_time(settings(url)) as redis:
            assert redis.ping()
        assert heard.recv(100) == clock.MORE_TIME.encode()
    assert "waiting for a time server" in caplog.text


def settings(url: str) -> Settings:
    return Settings(redis_url=url, notify_socket="notify")


@contextmanager
def systemd(path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(path))
        listening.settimeout(5)
        yield listening


def test_worker_waits_for_nothing_but_the_time() -> None:
    started = time.monotonic()
    with pytest.raises(ServiceError):
        connect_in_time(Settings(redis_url="redis://127.0.0.1:1/0"))
    assert time.monotonic() - started < clock.POLL_S


@pytest.mark.parametrize(
    ("flags", "level", "text"),
    [
        (None, Level.OK, "this machine does not tell"),
        (0x0, Level.OK, "the voltage was never too low"),
        (0x50005, Level.WARN, "the voltage is too low now (throttled=0x50005)"),
        (0x50000, Level.WARN, "the voltage was too low since it started (throttled=0x50000)"),
        (0x40004, Level.OK, "the voltage was never too low"),  # hot, and not short of voltage
    ],
)
def test_doctor_looks_at_the_power_supply(flags: int | None, level: Level, text: str) -> None:
    found = machine_checks.check_power(flags)
    assert (found.level, found.text) == (level, text)
    assert bool(found.advice) == (level is Level.WARN)


def test_doctor_knows_a_full_card(tmp_path: Path) -> None:
    with small_disk(tmp_path) as disk:
        if disk is None:
            pytest.skip("no small disk can be mounted here")
        cache, _ = machine_checks.check_folders(Settings(cache_dir=disk, state_dir=tmp_path))
    assert (cache.level, cache.text) == (Level.FAIL, "the card is full: 1 MB are free")
    assert "journalctl --vacuum-size" in cache.advice


@contextmanager
def small_disk(folder: Path) -> Iterator[Path | None]:
    place = folder / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1M", "none", str(place)]
    try:
        mounted = subprocess.run(mount, check=False, capture_output=True).returncode == 0
    except OSError:
        mounted = False
    try:
        yield place if mounted else None
    finally:
        if mounted:
            subprocess.run(["umount", str(place)], check=True)


def test_doctor_knows_a_machine_without_a_runtime(monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> str:
        raise ServiceError("no TFLite runtime is installed")

    monkeypatch.setattr("recognition.interpreter.runtime_name", none)
    found = machine_checks.check_runtime()
    assert (found.level, found.text) == (Level.WARN, "none")
    assert "only a worker needs one" in found.advice


@pytest.mark.redis
def test_doctor_compares_versions_with_the_fleet(redis_url: str) -> None:
    with connect(redis_url) as redis:
        assert check_versions(redis, "0.1.0").text == "0.1.0"
        beat(redis, replace(BEAT, worker="pi1", version="0.1.0"))
        assert check_versions(redis, "0.1.0").text == "0.1.0, as all 1 workers have"
        beat(redis, replace(BEAT, worker="pi2", version="0.2.0"))
        found = check_versions(redis, "0.1.0")
    assert (found.level, found.text) == (Level.WARN, "0.1.0 here, 0.2.0 in the fleet")

"""What systemd hears of a worker: ready once, and a sign of life while it gets on."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from tests.conftest import StartWorker
from workers.health.systemd import ALIVE, READY, STUCK_AFTER_S, is_getting_on, notify


@pytest.mark.parametrize("abstract", [False, True], ids=["path", "abstract"])
def test_state_arrives_as_one_datagram(tmp_path: Path, abstract: bool) -> None:
    name = f"@{tmp_path}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind("\0" + name[1:] if abstract else name)

        assert notify(name, READY)

        systemd.settimeout(5)
        assert systemd.recv(100) == b"READY=1"


def test_without_systemd_nobody_is_told(tmp_path: Path) -> None:
    assert not notify(None, ALIVE)
    assert not notify(str(tmp_path / "nobody"), ALIVE)


@pytest.mark.parametrize(
    ("in_hand", "idle_s", "is_fed"),
    [(0, 10 * STUCK_AFTER_S, True), (3, 1.0, True), (3, STUCK_AFTER_S + 1.0, False)],
    ids=["idle", "reading", "stuck"],
)
def test_watchdog_is_fed_by_progress(in_hand: int, idle_s: float, is_fed: bool) -> None:
    assert is_getting_on(in_hand=in_hand, moved_at=0.0, now=idle_s) == is_fed


@pytest.mark.redis
@pytest.mark.timeout(60)
def test_worker_tells_systemd_that_it_is_ready_and_lives(
    start_worker: StartWorker, tmp_path: Path
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(20)
        start_worker(env={"NOTIFY_SOCKET": str(tmp_path / "notify")})

        assert [systemd.recv(100), systemd.recv(100)] == [b"READY=1", b"WATCHDOG=1"]

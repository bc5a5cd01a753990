"""The local fleet starts its workers, restarts those that die, and ends them all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from broker.connection import connect
from broker.heartbeats import Heartbeat, heartbeat_key
from contract.errors import ServiceError
from pifleet.local.supervisor import FleetOptions, LocalFleet, local_fleet, worker_env
from tests.conftest import wait_until

pytestmark = pytest.mark.redis


@pytest.fixture
def options(redis_url: str, tmp_path: Path) -> FleetOptions:
    return FleetOptions(2, redis_url, dict(os.environ), tmp_path, tmp_path / "cache")


@pytest.fixture
def fleet(options: FleetOptions) -> Iterator[LocalFleet]:
    with local_fleet(options) as running:
        running.wait_ready()
        yield running


def test_killed_worker_is_started_again(fleet: LocalFleet, redis_url: str) -> None:
    victim = fleet.workers[0]
    old = victim.child
    old.kill()

    def is_new() -> bool:
        fleet.tick()
        return victim.child is not old

    def is_back() -> bool:
        with connect(redis_url) as redis:
            text = redis.hget(heartbeat_key(victim.name), "beat")
        return isinstance(text, bytes) and Heartbeat.from_json(text).pid == victim.child.pid

    wait_until(is_new, what="a new process")
    wait_until(is_back, timeout_s=30, what="a heartbeat of the new process")
    assert victim.backoff_s > 1  # the next one waits longer


def test_all_workers_end_with_the_block(options: FleetOptions) -> None:
    with local_fleet(options) as running:
        running.wait_ready()
        children = [worker.child for worker in running.workers]
    assert all(child.returncode is not None for child in children)


def test_worker_that_cannot_start_is_told_with_its_last_words(
    options: FleetOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.executable", "/bin/false")
    with (
        pytest.raises(ServiceError, match="worker local-1 did not start: it said nothing"),
        local_fleet(options) as running,
    ):
        running.wait_ready()


def test_worker_may_fetch_from_this_machine_and_where_the_user_allows(
    options: FleetOptions,
) -> None:
    options.env["PIFLEET_FETCH_ALLOW"] = "fd00::/8"  # type: ignore[index]  # a dict in this test
    env = worker_env(options, "local-1")
    assert env["PIFLEET_FETCH_ALLOW"] == "fd00::/8,127.0.0.0/8"
    assert env["PIFLEET_REDIS_URL"] == options.redis_url

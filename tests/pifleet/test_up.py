"""``pifleet up`` keeps a stack that a person can paste from, and only one of them."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from broker.connection import connect
from broker.heartbeats import WORKERS_KEY
from contract.errors import ServiceError
from pifleet.local.children import Child, end_child, start_child
from pifleet.local.up import UpOptions, advice
from tests.conftest import wait_until
from tests.support.ports import free_port

COMMAND = [sys.executable, "-m", "pifleet", "up", "--workers", "1"]


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    return {**os.environ, "PIFLEET_STATE_DIR": str(tmp_path), "PIFLEET_CACHE_DIR": str(tmp_path)}


@pytest.fixture
def stack(env: dict[str, str], tmp_path: Path) -> Iterator[Child]:
    command = [*COMMAND, "--redis-port", str(free_port())]
    child = start_child(command, env=env, stdout=tmp_path / "said")
    yield child
    end_child(child, grace_s=30)


@pytest.mark.redis
def test_stack_prints_a_broker_that_has_its_workers_and_takes_it_away_at_the_end(
    stack: Child, env: dict[str, str], tmp_path: Path
) -> None:
    said = tmp_path / "said"
    wait_until(lambda: "Only this machine" in said.read_text(), timeout_s=30, what="the advice")
    exported = re.search(r"export PIFLEET_REDIS_URL=(\S+)", said.read_text())
    assert exported is not None
    with connect(exported[1]) as redis:
        assert redis.zcard(WORKERS_KEY) == 1
        assert redis.config_get("appendonly") == {"appendonly": "yes"}

    second = subprocess.run(COMMAND, env=env, check=False, stderr=subprocess.PIPE, text=True)
    assert second.returncode == 2
    assert "another `pifleet up` runs already" in second.stderr

    stack.send_signal(signal.SIGINT)
    assert stack.wait(timeout=30) == 0
    with pytest.raises(ServiceError):
        connect(exported[1])


def test_advice_for_a_stack_that_others_may_join_names_an_address_they_can_reach() -> None:
    options = UpOptions(workers=2, redis_port=None, bind="0.0.0.0", folder=Path("state"))
    told = advice("redis://:secret@127.0.0.1:6390/0", options)
    joining = re.search(r"PIFLEET_REDIS_URL=(\S+) pifleet worker", told)
    assert joining is not None
    assert "@127.0.0.1" not in joining[1]


def test_advice_shows_the_decision_about_the_lan() -> None:
    options = UpOptions(workers=2, redis_port=None, bind="0.0.0.0", folder=Path("state"))
    told = advice("redis://:secret@127.0.0.1:6390/0", options)
    assert re.search(
        r"^  PIFLEET_FETCH_ALLOW=lan PIFLEET_REDIS_URL=\S+ pifleet worker$", told, re.M
    )
    assert "a router too" in told

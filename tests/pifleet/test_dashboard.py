"""Flower shows this fleet, to whoever has the password."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from contract.errors import SettingsError, UserError
from pifleet.dashboard import DashboardOptions, check_flower, parse_login, run_dashboard
from pifleet.local.children import end_child, start_child
from tests.conftest import StartWorker, wait_until
from tests.support.ports import free_port

LOGIN = ("me", "secret")


@pytest.fixture
def flower_url(redis_url: str, tmp_path: Path) -> Iterator[str]:
    pytest.importorskip("flower")
    port = free_port()
    command = [sys.executable, "-m", "pifleet", "dashboard", "--port", str(port)]
    env = {**os.environ, "PIFLEET_REDIS_URL": redis_url, "FLOWER_BASIC_AUTH": ":".join(LOGIN)}
    log = tmp_path / "flower.log"
    child = start_child(command, env=env, log=log)
    url = f"http://127.0.0.1:{port}"
    try:
        wait_until(lambda: _status(url) == 401, timeout_s=30, what=f"Flower ({log})")
        yield url
    finally:
        end_child(child, grace_s=10)


@pytest.mark.redis
def test_flower_shows_the_worker_to_whoever_has_the_password(
    flower_url: str, start_worker: StartWorker
) -> None:
    worker = start_worker()

    def shows_worker() -> bool:
        page = requests.get(f"{flower_url}/workers?json=1", auth=LOGIN, timeout=5)
        return any(worker.name in name for name in str(page.json()).split("'"))

    wait_until(shows_worker, timeout_s=30, what=f"{worker.name} in Flower")
    for page in ("workers", "tasks", "metrics", "api/workers"):
        assert requests.get(f"{flower_url}/{page}", timeout=5).status_code == 401, page
    metrics = requests.get(f"{flower_url}/metrics", auth=LOGIN, timeout=5)
    assert "flower_worker_online" in metrics.text


def test_login_is_made_up_anew_where_none_is_given() -> None:
    assert parse_login("me:secret") == "me:secret"
    assert parse_login(None) != parse_login(None)


@pytest.mark.parametrize("value", ["secret", ":secret", "me:"])
def test_login_without_user_or_password_is_refused_and_not_shown(value: str) -> None:
    with pytest.raises(SettingsError, match="give user:password") as refused:
        parse_login(value)
    assert "secret" not in str(refused.value)


def test_dashboard_says_that_its_port_is_taken() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(SettingsError, match=f"--port={port}"):
            run_dashboard(DashboardOptions(redis_url="redis://", login="a:b", port=port))


def test_old_flower_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.metadata.version", lambda name: "2.0.1")
    with pytest.raises(UserError, match=r"Flower 2\.0\.1 is too old: .*pip install"):
        check_flower()


def _status(url: str) -> int:
    try:
        return requests.get(url, timeout=5).status_code
    except requests.ConnectionError:
        return 0

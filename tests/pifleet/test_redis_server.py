"""The embedded Redis is ours alone, and leaves nothing behind."""

from __future__ import annotations

import socket
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError
from redis.retry import Retry

from broker.connection import connect
from contract.errors import ServiceError, SettingsError
from pifleet.local.redis_server import RedisOptions, embedded_redis

pytestmark = pytest.mark.redis


def test_embedded_redis_evicts_nothing_and_dumps_nothing(redis_url: str) -> None:
    with connect(redis_url) as redis:
        assert redis.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
        assert redis.config_get("save") == {"save": ""}


def test_embedded_redis_refuses_whoever_lacks_the_password(redis_url: str) -> None:
    port = urlsplit(redis_url).port
    once = Retry(NoBackoff(), 0)
    stranger = Redis(host="127.0.0.1", port=port or 0, retry=once)
    with stranger, pytest.raises(AuthenticationError):
        stranger.ping()


def test_embedded_redis_is_gone_after_its_block() -> None:
    with embedded_redis() as url:
        connect(url).close()
    with pytest.raises(ServiceError, match="start one with"):
        connect(url)


def test_embedded_redis_keeps_its_folder_for_the_next_one(tmp_path: Path) -> None:
    options = RedisOptions(folder=tmp_path, password="same")
    with embedded_redis(options) as url, connect(url) as redis:
        redis.set("kept", "yes")
    with embedded_redis(options) as url, connect(url) as redis:
        assert redis.get("kept") == b"yes"


def test_embedded_redis_says_which_port_is_taken() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(SettingsError, match=f"--redis-port={port}"):
            embedded_redis(RedisOptions(port=port)).__enter__()


def test_missing_redis_server_is_said_with_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ServiceError, match=r"pip install .*\[demo\]"), embedded_redis():
        pass

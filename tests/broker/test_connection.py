"""What connecting waits for, and what it does not: a Redis that loads, and one that refuses."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import broker.connection
from broker.connection import connect, make_client, redis_errors
from contract.errors import AccessError, ServiceError
from contract.exit_codes import USAGE, exit_code
from pifleet.local import redis_server
from pifleet.local.redis_server import RedisOptions, embedded_redis
from tests.support.secured_redis import redis_with_users, url_of

pytestmark = pytest.mark.redis

KEYS = 20_000
LOAD_DELAY_US = 100  # a key; Redis's own setting for tests like this one


def slowly(options: RedisOptions, scratch: Path) -> str:
    return f"{ORIGINAL_CONF(options, scratch)}\nkey-load-delay {LOAD_DELAY_US}\n"


ORIGINAL_CONF = redis_server.redis_conf


@pytest.fixture
def loading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RedisOptions:
    """Fill an append-only file that takes seconds to load."""
    options = RedisOptions(folder=tmp_path, password="same")
    with embedded_redis(options) as url, connect(url) as redis:
        pipeline = redis.pipeline(transaction=False)
        for number in range(KEYS):
            pipeline.set(f"key{number}", "x" * 300)
        pipeline.execute()
    monkeypatch.setattr(redis_server, "redis_conf", slowly)
    return options


def test_stack_that_loads_its_data_is_waited_for_with_a_line(
    loading: RedisOptions, caplog: pytest.LogCaptureFixture
) -> None:
    with embedded_redis(loading) as url, make_client(url) as redis:
        assert redis.dbsize() == KEYS
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "is loading its data" in caplog.text


def test_redis_that_loads_for_too_long_is_a_service_that_is_away(
    loading: RedisOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broker.connection, "LOADING_S", 0.1)
    monkeypatch.setattr(redis_server, "START_S", 0.1)
    with pytest.raises(ServiceError, match="loading"), embedded_redis(loading):
        pass


@contextmanager
def bob(folder: Path, *rights: str) -> Iterator[str]:
    with redis_with_users(folder) as port:
        with connect(url_of("admin", port)) as admin:
            rules = ("on", ">bob", "~*", "&*", "+ping", "+info", "+time", *rights)
            admin.execute_command("ACL", "SETUSER", "bob", *rules)
        yield url_of("bob", port)


def test_wrong_password_is_for_its_person_to_mend(tmp_path: Path) -> None:
    with bob(tmp_path) as url, pytest.raises(AccessError, match="check the user and") as refused:
        connect(url.replace("bob:bob", "bob:wrong"))
    assert exit_code(refused.value) == USAGE
    assert "wrong" not in str(refused.value)


def test_right_that_is_missing_is_for_its_person_to_mend(tmp_path: Path) -> None:
    with (
        bob(tmp_path) as url,
        connect(url) as redis,
        pytest.raises(AccessError, match="sadd"),
        redis_errors(url),
    ):
        redis.sadd("a", "1")

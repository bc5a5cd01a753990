"""Automata on a worker: fetched once, mapped from disk, and never believed without their digest."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from broker.automata import automaton_key, push_automaton
from broker.connection import connect
from broker.values import put_value
from contract.errors import ModelError
from recognition.automaton import digest_of, pack
from recognition.charset import Charset
from recognition.lexicon import compile_lexicon
from workers.automaton_store import ON_DISK, AutomatonStore
from workers.model_store import NoModel

if TYPE_CHECKING:
    from redis import Redis

pytestmark = pytest.mark.redis

CHARSET = Charset("abc")
AB = CHARSET.encode("ab")
OTHER = compile_lexicon(["cc"], CHARSET).to_bytes()


@pytest.fixture
def redis(redis_url: str) -> Iterator[Redis]:
    with connect(redis_url) as client:
        yield client


def push(redis: Redis, *words: str) -> str:
    data = compile_lexicon(words, CHARSET).to_bytes()
    push_automaton(redis, digest_of(data), pack(data))
    return digest_of(data)


def test_automaton_is_fetched_once_and_found_on_disk_afterwards(
    redis: Redis, tmp_path: Path
) -> None:
    digest = push(redis, "ab")
    assert AutomatonStore(tmp_path, redis).automaton(digest).accepts(AB)
    redis.delete(automaton_key(digest))
    assert AutomatonStore(tmp_path, redis).automaton(digest).accepts(AB)


@pytest.mark.parametrize("damage", [b"", b"nothing", None], ids=["empty", "short", "altered"])
def test_damaged_file_is_thrown_away_and_fetched_anew(
    redis: Redis, tmp_path: Path, damage: bytes | None
) -> None:
    digest = push(redis, "ab")
    path = tmp_path / "automata" / f"{digest}.automaton"
    path.parent.mkdir()
    path.write_bytes(OTHER if damage is None else damage)
    assert AutomatonStore(tmp_path, redis).automaton(digest).accepts(AB)
    assert digest_of(path.read_bytes()) == digest


@pytest.mark.parametrize(
    "lies_there",
    [
        None,
        b"",
        b"nothing",
        zlib.compress(b"\0" * 100),
        pack(OTHER),
    ],
    ids=["nothing", "empty", "odd", "zeros", "another"],
)
def test_what_redis_does_not_hold_whole_is_asked_for_again(
    redis: Redis, tmp_path: Path, lies_there: bytes | None
) -> None:
    digest = digest_of(compile_lexicon(["ab"], CHARSET).to_bytes())
    if lies_there is not None:
        put_value(redis, automaton_key(digest), lies_there, ttl_s=60)
    with pytest.raises(NoModel):
        AutomatonStore(tmp_path, redis).automaton(digest)
    push(redis, "ab")
    assert AutomatonStore(tmp_path, redis).automaton(digest).accepts(AB)


def test_disk_holds_the_last_few(redis: Redis, tmp_path: Path) -> None:
    store = AutomatonStore(tmp_path, redis)
    for n in range(1, ON_DISK + 3):
        assert store.automaton(push(redis, "a" * n)).accepts([1] * n)
    assert len(list((tmp_path / "automata").iterdir())) == ON_DISK


def test_unwritable_cache_costs_only_the_cache(redis: Redis, tmp_path: Path) -> None:
    (tmp_path / "automata").write_text("no folder")
    assert AutomatonStore(tmp_path, redis).automaton(push(redis, "ab")).accepts(AB)


def test_what_is_no_digest_never_becomes_a_path(redis: Redis, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no SHA-256"):
        AutomatonStore(tmp_path, redis).automaton("../../etc/passwd")

"""A producer's memory, and what others add to its stream while it reads."""

from __future__ import annotations

from typing import Any

import pytest

from broker.connection import connect
from broker.results import RESULT_FIELD, ChunkResult, Outcome, ResultStream, results_key

RESULT = ChunkResult(1, "pi", Outcome.NO_MODEL, "token")
ANSWER = {RESULT_FIELD: RESULT.to_json()}


@pytest.mark.redis
def test_large_answers_added_since_the_measuring_are_not_read_with_it(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with connect(redis_url) as client:
        stream = ResultStream(client, "job1")
        stream.make()
        stream.trim()
        client.xadd(results_key("job1"), ANSWER)
        read: list[int] = []
        ask = client.xread

        def add_first(*args: Any, **options: Any) -> Any:
            for _ in range(5):
                client.xadd(results_key("job1"), {RESULT_FIELD: b"x" * 20_000_000})
            found: Any = ask(*args, **options)
            read.append(len(found[0][1]) if found else 0)
            return found

        with monkeypatch.context() as patched:
            patched.setattr(client, "xread", add_first)
            answers, stream.position, has_more = stream.read(wait_ms=0)
        assert answers == [RESULT]
        assert read == [1]
        assert not has_more


@pytest.mark.redis
@pytest.mark.parametrize("entries", [0, 1, 99, 100, 101, 250])
def test_stream_is_read_to_its_end_and_each_entry_once(redis_url: str, entries: int) -> None:
    with connect(redis_url) as client:
        stream = ResultStream(client, "job1")
        stream.make()
        for _ in range(entries):
            client.xadd(results_key("job1"), ANSWER)
        read, has_more = 0, True
        while has_more:
            answers, stream.position, has_more = stream.read(wait_ms=0)
            read += len(answers)
        assert read == entries
        assert stream.read(wait_ms=10) == ([], stream.position, False)


@pytest.mark.redis
@pytest.mark.parametrize("entry", ["*", "1-18446744073709551615"])
def test_trimmed_stream_holds_nothing_and_is_there(redis_url: str, entry: str) -> None:
    with connect(redis_url) as client:
        key = results_key("job1")
        client.xadd(key, {RESULT_FIELD: b"x" * 20_000_000}, id=entry)
        stream = ResultStream(client, "job1")
        _, stream.position, _ = stream.read(wait_ms=0)
        stream.trim()
        assert client.xlen(key) == (0 if entry == "*" else 1)  # none could come after that one
        assert stream.is_there()
        assert stream.read(wait_ms=0) == ([], stream.position, False)


@pytest.mark.redis
def test_looking_after_a_stream_of_large_entries_reads_none(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with connect(redis_url) as client:
        client.xadd(results_key("job1"), {RESULT_FIELD: b"x" * 20_000_000})
        asked: list[str] = []
        monkeypatch.setattr(client, "xinfo_stream", asked.append)  # gives first and last entry
        assert ResultStream(client, "job1").is_there()
        assert asked == []

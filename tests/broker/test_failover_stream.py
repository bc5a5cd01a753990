"""A stream whose broker failed over to one that is behind, with a clock that is behind too."""

from __future__ import annotations

import pytest

from broker.connection import connect
from broker.results import RESULT_FIELD, ChunkResult, Outcome, ResultStream, results_key


@pytest.mark.redis
def test_answers_that_stand_before_the_position_are_read(redis_url: str) -> None:
    result = ChunkResult(1, "pi", Outcome.NO_MODEL, "token")
    with connect(redis_url) as client:
        key = results_key("job1")
        client.xadd(key, {RESULT_FIELD: result.to_json()}, id="1000-0")
        stream = ResultStream(client, "job1", position="5000-3")

        assert stream.is_there()
        stream.trim()

        assert stream.read(wait_ms=0) == ([result], "1000-0", False)
        stream.position = "1000-0"
        assert stream.is_there()
        assert stream.position == "1000-0"


@pytest.mark.redis
def test_stream_that_is_too_large_to_be_asked_is_read_again_once_it_is_trimmed(
    redis_url: str,
) -> None:
    """Its large entries are given up, with any answers beside them: these chunks go out again."""
    result = ChunkResult(1, "pi", Outcome.NO_MODEL, "token")
    with connect(redis_url) as client:
        key = results_key("job1")
        client.xadd(key, {RESULT_FIELD: b"x" * 20_000_000}, id="1000-0")
        stream = ResultStream(client, "job1", position="5000-3")
        assert stream.is_there()
        assert stream.read(wait_ms=0) == ([], "5000-3", False)
        stream.trim()
        client.xadd(key, {RESULT_FIELD: result.to_json()}, id="1000-1")

        assert stream.is_there()

        assert stream.read(wait_ms=0) == ([result], "1000-1", False)

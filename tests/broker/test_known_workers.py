"""A worker whose name somebody took off the list, which each worker may write, beats on."""

from __future__ import annotations

import msgspec
import pytest

from broker.connection import connect
from broker.heartbeats import WORKERS_KEY, beat, look
from tests.producer.test_reconcile import BEAT


@pytest.mark.redis
@pytest.mark.parametrize("score", [None, 0.0, float("inf")], ids=["gone", "old", "to-come"])
def test_worker_that_was_met_is_found_though_it_is_off_the_list(
    redis_url: str, score: float | None
) -> None:
    heartbeat = msgspec.structs.replace(BEAT, worker="pi1")
    with connect(redis_url) as client:
        beat(client, heartbeat)
        client.zrem(WORKERS_KEY, "pi1")
        if score is not None:
            client.zadd(WORKERS_KEY, {"pi1": score})

        assert look(client).workers == ()
        assert look(client, known=["pi1", "nobody"]).workers == (heartbeat,)

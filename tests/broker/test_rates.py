"""The fleet's politeness: turns at a shared bucket."""

from __future__ import annotations

import threading

import pytest

from broker.connection import connect
from broker.rates import RateLimits, make_gate, rate_key, reserve
from contract.errors import ImageError

pytestmark = pytest.mark.redis

KEY = rate_key("host:h")


def test_turns_of_many_processes_are_one_interval_apart(redis_url: str) -> None:
    turns: list[float] = []
    with connect(redis_url) as redis:
        seconds, micros = redis.time()
        began = seconds + micros / 1e6

        def take() -> None:
            with connect(redis_url) as own:
                for _ in range(10):
                    wait_s = reserve(own, KEY, 10.0, within_s=100.0)
                    now, us = own.time()
                    turns.append(now + us / 1e6 + wait_s - began)

        threads = [threading.Thread(target=take) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=15)

    assert len(turns) == 40
    assert max(turns) == pytest.approx(3.9, abs=0.5)  # 40 turns, 0.1 s apart, whoever took them


def test_turn_that_comes_too_late_is_not_reserved(redis_url: str) -> None:
    with connect(redis_url) as redis:
        reserve(redis, KEY, 0.1, within_s=1.0)
        for _ in range(3):
            with pytest.raises(ImageError, match="rate_limit: its turn would come in"):
                reserve(redis, KEY, 0.1, within_s=1.0)
        assert reserve(redis, KEY, 0.1, within_s=11.0) == pytest.approx(10.0, abs=1.0)


def test_job_without_limits_has_no_gate(redis_url: str) -> None:
    with connect(redis_url) as redis:
        assert make_gate(redis, RateLimits("job"), until=0.0) is None
        assert make_gate(redis, RateLimits("job", rate=1.0), until=0.0) is not None


def test_each_limit_has_a_bucket_of_its_own() -> None:
    limits = RateLimits("job", rate=5.0, per_host=2.0)

    assert limits.buckets("Example.ORG") == [
        (rate_key("job:job"), 5.0),
        (rate_key("host:example.org"), 2.0),
    ]

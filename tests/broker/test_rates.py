"""The fleet's politeness: turns at a shared bucket."""

from __future__ import annotations

import threading

import pytest
from redis import Redis

from broker.connection import connect
from broker.keys import JOB_TTL_S
from broker.rates import (
    HOST_BUCKET_S,
    RateLimits,
    forget_limits,
    keep_limits,
    make_gate,
    rate_key,
    reserve,
)
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


def test_bucket_of_a_redirect_target_gets_an_end_with_the_job(redis_url: str) -> None:
    with connect(redis_url) as redis:
        reserve(redis, rate_key("host:elsewhere"), 10.0, within_s=1.0)  # as a worker does
        reserve(redis, KEY, 10.0, within_s=1.0)
        reserve(redis, rate_key("job:j"), 10.0, within_s=1.0)
        redis.set("of-another-program", "1")
        forget_limits(redis, "j", {"h"})
        assert 0 < ends_in(redis, "host:h") <= HOST_BUCKET_S
        assert 0 < ends_in(redis, "host:elsewhere") <= JOB_TTL_S
        assert not redis.exists(rate_key("job:j"))
        assert redis.ttl("of-another-program") == -1


def test_buckets_of_a_job_that_is_left_alone_end(redis_url: str) -> None:
    with connect(redis_url) as redis:
        keep_limits(redis, "j", {"h"})
        reserve(redis, KEY, 10.0, within_s=1.0)
        reserve(redis, rate_key("job:j"), 10.0, within_s=1.0)
        assert 0 < ends_in(redis, "host:h") <= JOB_TTL_S
        assert 0 < ends_in(redis, "job:j") <= JOB_TTL_S


def ends_in(redis: Redis, scope: str) -> int:
    return int(redis.ttl(rate_key(scope)))

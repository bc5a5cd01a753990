"""What an origin bears: the limit against an origin that a few lines of arithmetic play."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable

from workers.fetch.limit import BUSY, LEAST, MOST, SLACK_S, STRIDE, TOLERANCE, ConcurrencyLimit


def play(
    limit: ConcurrencyLimit, wait_s: Callable[[float], float], *, start: float, seconds: float
) -> float:
    """Answer requests for a while, as long after each as the origin takes; returns the end."""
    now = start
    while now < start + seconds:
        took_s = wait_s(limit.size)
        now += took_s / limit.size  # so many are on their way at once
        limit.note_answer(now, took_s, own_s=0.0, in_flight=max(1, int(limit.size)))
    return now


def far(_: float) -> float:
    """Take 80 ms, however many there are."""
    return 0.080


def queue_of(served_per_s: float) -> Callable[[float], float]:
    """Serve one after the other: who asks for more waits longer."""
    return lambda in_flight: max(0.002, in_flight / served_per_s)


def test_limit_starts_small() -> None:
    assert ConcurrencyLimit().size == 2.0


def test_limit_reaches_64_within_a_second_where_answers_stay_quick() -> None:
    limit = ConcurrencyLimit()
    play(limit, far, start=0.0, seconds=1.0)
    assert limit.size >= 64


def test_limit_stops_where_answers_queue() -> None:
    limit = ConcurrencyLimit()
    play(limit, queue_of(500.0), start=0.0, seconds=20.0)
    tolerated = 500.0 * (TOLERANCE * 0.002 + SLACK_S)
    assert 1.0 <= limit.size <= STRIDE * tolerated


def test_limit_follows_an_origin_that_becomes_slow() -> None:
    limit = ConcurrencyLimit()
    now = play(limit, far, start=0.0, seconds=2.0)
    play(limit, queue_of(50.0), start=now, seconds=5.0)
    assert limit.size < 16


def test_loss_halves_the_limit_once_a_round() -> None:
    limit = ConcurrencyLimit()
    now = play(limit, far, start=0.0, seconds=2.0)
    for _ in range(10):
        limit.note_loss(now + 1.0, started=now)
    assert limit.size == MOST / 2


def test_limit_after_a_loss_comes_back_near_where_it_was_within_seconds() -> None:
    limit = ConcurrencyLimit()
    now = play(limit, far, start=0.0, seconds=2.0)
    limit.note_loss(now, started=now)
    play(limit, far, start=now, seconds=5.0)
    assert limit.size > 0.9 * MOST


def test_losses_take_the_limit_below_one_request_but_not_to_none() -> None:
    limit = ConcurrencyLimit()
    for second in range(100):
        limit.note_loss(float(second), started=float(second))
    assert limit.size == LEAST


def test_limit_that_was_crowded_out_is_back_at_one_with_an_answer() -> None:
    """Each of its requests follows a pause of seconds, and its last answer is long ago."""
    limit = ConcurrencyLimit()
    now = play(limit, queue_of(50.0), start=0.0, seconds=1.0)
    for _ in range(8):
        now += 1.0
        limit.note_loss(now, started=now)
    assert limit.size < 0.05
    limit.note_answer(now + 2.0, 0.02, own_s=0.0, in_flight=1)
    assert limit.size == 1.0


def test_delay_alone_leaves_one_request() -> None:
    limit = ConcurrencyLimit()
    now = play(limit, lambda _: 0.001, start=0.0, seconds=0.1)
    for number in range(2000):
        limit.note_answer(now + 0.001 * number, 0.5, own_s=0.0, in_flight=1)
    assert limit.size == 1.0


def test_stall_of_one_answer_in_a_hundred_changes_nothing() -> None:
    limit, rng = ConcurrencyLimit(), random.Random(0)
    play(limit, lambda _: 3.0 if rng.random() < 0.01 else 0.080, start=0.0, seconds=10.0)
    assert limit.size >= 64


def test_wait_for_this_process_itself_is_not_blamed_on_the_origin() -> None:
    limit = ConcurrencyLimit()
    now = play(limit, far, start=0.0, seconds=1.0)
    before = limit.size
    for number in range(300):
        limit.note_answer(now + 0.01 * number, 0.4, own_s=0.35, in_flight=int(before))
    assert limit.size == before
    assert (limit.typical_s, round(limit.blamed_s, 3)) == (0.4, 0.05)


def test_idle_time_does_not_make_bold() -> None:
    limit = ConcurrencyLimit()
    limit.note_answer(1.0, 0.01, own_s=0.0, in_flight=1)
    limit.note_loss(1.0, started=1.0)
    for number in range(8):
        limit.note_answer(600.0 + 0.01 * number, 0.01, own_s=0.0, in_flight=1)
    assert limit.size <= 1.5


def test_limit_that_is_not_used_does_not_grow() -> None:
    limit = ConcurrencyLimit()
    for number in range(500):
        limit.note_answer(0.08 * number, 0.08, own_s=0.0, in_flight=1)
    assert limit.size <= 4.0


def test_two_processes_come_to_fair_shares() -> None:
    """One knows the origin when the other comes; both lose when too much is on its way."""
    old, new = ConcurrencyLimit(), ConcurrencyLimit()
    now = play(old, far, start=0.0, seconds=2.0)
    sums = [0.0, 0.0]
    for _ in range(2000):
        now += 0.08
        is_too_much = old.size + new.size > 40.0
        for limit in (old, new):
            for _ in range(max(1, int(limit.size))):
                limit.note_answer(now, 0.08, own_s=0.0, in_flight=max(1, int(limit.size)))
            if is_too_much:
                limit.note_loss(now, started=now)
        sums = [sums[0] + old.size, sums[1] + new.size]
    assert 0.5 < sums[0] / sums[1] < 2.0


def test_fractions_of_a_request_come_to_fair_shares_of_what_is_allowed() -> None:
    """Six processes before nginx's ``limit_req rate=400r/s burst=10``, each answer in 0.6 ms."""
    rng, allowed, took_s, seconds = random.Random(0), 400.0, 0.0006, 20.0
    limits = [ConcurrencyLimit(first=0.5) for _ in range(6)]
    answered = [0] * 6
    tokens, before = 10.0, 0.0
    arrivals = [(0.0, number) for number in range(6)]
    while arrivals[0][0] < seconds:
        now, number = heapq.heappop(arrivals)
        tokens, before = min(10.0, tokens + (now - before) * allowed), now
        limit = limits[number]
        if tokens >= 1.0:
            tokens -= 1.0
            answered[number] += 1
            limit.note_answer(now, took_s, own_s=0.0, in_flight=1)
        else:
            limit.note_loss(now, started=now - took_s, factor=BUSY)
        pause_s = took_s * (1.0 / min(1.0, limit.size) - 1.0) * rng.uniform(0.5, 1.5)
        heapq.heappush(arrivals, (now + took_s + pause_s, number))
    assert sum(answered) > 0.95 * allowed * seconds
    assert min(answered) > 0.5 * max(answered)

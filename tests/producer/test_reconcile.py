"""The reconciler's rules, one by one, on a clock of our own."""

from __future__ import annotations

import msgspec
import pytest

from broker.heartbeats import Fleet, Heartbeat
from contract.clocks import USUAL
from producer.job.reconciler import DEADLINE_MIN_S, Cause, Reconciler

BEAT = Heartbeat(
    worker="pi1",
    pid=7,
    host="pi1",
    processes=2,
    in_hand=(),
    proofs=(),
    images=0,
    failed=0,
    images_per_s=0.0,
    started_at=0.0,
    temperature_c=None,
    throttled=None,
    rss_mb=1.0,
    version="0",
    runtime="litert",
    models=(),
)


def fleet(*held: int, waiting: int = 0, job: str = "j", pid: int = 7) -> Fleet:
    in_hand = tuple(f"{job}.{delivery}" for delivery in held)
    proofs = tuple(f"proof of {task}" for task in in_hand)
    return Fleet(
        workers=(msgspec.structs.replace(BEAT, in_hand=in_hand, proofs=proofs, pid=pid),),
        waiting=waiting,
    )


@pytest.fixture
def reconciler() -> Reconciler:
    made = Reconciler("j")
    for delivery in (1, 2, 3):
        made.sent(delivery, 64, 0.0, proof=f"proof of j.{delivery}")
    return made


def causes(reconciler: Reconciler, seen: Fleet, now: float) -> dict[int, Cause]:
    return {loss.delivery: loss.cause for loss in reconciler.look(seen, now)}


def test_what_waits_in_the_queue_is_left_alone(reconciler: Reconciler) -> None:
    for now in range(0, 1000, 10):
        assert causes(reconciler, fleet(waiting=3), float(now)) == {}


def test_what_is_nowhere_is_lost_after_the_grace(reconciler: Reconciler) -> None:
    assert causes(reconciler, fleet(1, 2), 1.0) == {}
    assert causes(reconciler, fleet(1, 2), 1.0 + USUAL.grace_s) == {}
    assert causes(reconciler, fleet(1, 2), 1.1 + USUAL.grace_s) == {3: Cause.VANISHED}


def test_earlier_one_is_lost_when_a_later_one_left_the_queue(reconciler: Reconciler) -> None:
    reconciler.answered(2, 0.1)  # first in, first out: 1 must have left before it

    assert causes(reconciler, fleet(waiting=5), 1.0) == {}
    assert causes(reconciler, fleet(waiting=5), 1.1 + USUAL.grace_s) == {1: Cause.VANISHED}


OTHERS = Fleet(workers=(msgspec.structs.replace(BEAT, worker="pi2"),), waiting=2)


def test_dead_workers_chunks_are_lost_once_its_next_heartbeat_is_missed_too(
    reconciler: Reconciler,
) -> None:
    causes(reconciler, fleet(1, waiting=2), 1.0)

    assert reconciler.look(OTHERS, 2.0) == []
    losses = reconciler.look(OTHERS, 2.1 + USUAL.missed_s)

    assert [(v.delivery, v.cause, v.is_death) for v in losses] == [(1, Cause.WORKER_GONE, True)]


def test_worker_that_was_restarted_under_its_name_holds_nothing(reconciler: Reconciler) -> None:
    causes(reconciler, fleet(1, waiting=2), 1.0)

    assert causes(reconciler, fleet(waiting=2, pid=8), 2.0) == {1: Cause.WORKER_GONE}


def test_another_jobs_chunk_of_the_same_number_is_not_ours(reconciler: Reconciler) -> None:
    seen = fleet(1, 2, 3, job="other")

    assert causes(reconciler, seen, 1.0) == {}
    assert set(causes(reconciler, seen, 1.1 + USUAL.grace_s)) == {1, 2, 3}


def test_straggler_is_read_again_only_by_idle_workers(reconciler: Reconciler) -> None:
    reconciler.answered(2, 1.0)
    reconciler.answered(3, 1.0)
    causes(reconciler, fleet(1), 1.0)
    late = 1.1 + USUAL.straggler_s

    assert causes(reconciler, fleet(1, waiting=4), late) == {}
    assert causes(reconciler, fleet(1), late) == {1: Cause.STRAGGLER}


def test_held_for_ever_is_overdue(reconciler: Reconciler) -> None:
    causes(reconciler, fleet(1, 2, 3), 1.0)

    assert causes(reconciler, fleet(1, 2, 3), DEADLINE_MIN_S) == {}
    assert set(causes(reconciler, fleet(1, 2, 3), DEADLINE_MIN_S + 2.0)) == {1, 2, 3}


def test_worker_that_only_said_so_accuses_no_image_by_its_death(reconciler: Reconciler) -> None:
    liar = msgspec.structs.replace(BEAT, in_hand=("j.1",), pid=8)
    honest = fleet(2)
    reconciler.look(Fleet((*honest.workers, liar), waiting=1), 0.0)

    reconciler.look(honest, 1.0)
    losses = reconciler.look(honest, 1.1 + USUAL.missed_s)

    assert [(loss.delivery, loss.is_death) for loss in losses] == [(1, False)]


def test_what_is_said_to_be_held_for_long_without_a_proof_is_lost(reconciler: Reconciler) -> None:
    liar = msgspec.structs.replace(BEAT, in_hand=("j.1", "j.2", "j.3"))
    lost: set[int] = set()
    for now in range(0, 120, 2):
        lost |= {loss.delivery for loss in reconciler.look(Fleet((liar,)), float(now))}
    assert lost == {1, 2, 3}


def test_worker_whose_heartbeat_redis_lost_is_not_dead(reconciler: Reconciler) -> None:
    """Redis set its clock, or somebody struck it off: its next heartbeat is there."""
    held = fleet(1, 2, 3, waiting=2)
    for now in range(0, 60, 3):
        assert reconciler.look(held, float(now)) == []
        assert reconciler.look(OTHERS, now + 1.0) == []
        assert reconciler.look(OTHERS, now + 2.0) == []


def test_worker_that_let_go_of_a_delivery_does_not_die_with_it(reconciler: Reconciler) -> None:
    """Its answer was lost; that it is started again then accuses no image."""
    causes(reconciler, fleet(1, waiting=2), 1.0)
    causes(reconciler, fleet(waiting=2), 3.0)

    losses = reconciler.look(fleet(waiting=2, pid=8), 30.0)

    assert not any(loss.is_death for loss in losses)

"""An outage of Redis silences all workers at once; none of them is dead because of it."""

from __future__ import annotations

from msgspec.structs import replace

from broker.heartbeats import Fleet
from contract.clocks import USUAL
from producer.job.reconciler import Cause, Reconciler
from tests.producer.test_reconcile import BEAT, fleet


def holding_two() -> Reconciler:
    reconciler = Reconciler("j")
    for delivery in (1, 2):
        reconciler.sent(delivery, 64, 0.0)
    reconciler.look(fleet(1, 2), 1.0)
    return reconciler


def test_nobody_is_dead_while_no_worker_is_heard() -> None:
    reconciler = holding_two()
    for now in (2.0, 3.0 + USUAL.grace_s):  # wiped between two looks, say
        assert reconciler.look(Fleet(), now) == []
    assert reconciler.look(fleet(1, 2), 4.0 + USUAL.grace_s) == []


def test_worker_that_is_late_after_an_outage_is_not_dead() -> None:
    reconciler = holding_two()
    reconciler.interrupted()
    other = Fleet(workers=(replace(BEAT, worker="pi2", pid=8),))

    assert reconciler.look(other, 2.0) == []  # pi1 has not yet found its way back
    assert reconciler.look(fleet(1), 4.0) == []

    losses = reconciler.look(fleet(1), 2.1 + USUAL.grace_s)
    assert [(v.delivery, v.cause, v.is_death) for v in losses] == [(2, Cause.VANISHED, False)]


def test_lost_delivery_is_missed_though_other_jobs_fill_the_queue() -> None:
    reconciler = Reconciler("j")
    reconciler.sent(1, 64, 0.0)

    found = [
        (now, loss.cause)
        for now in range(60)  # each second two more chunks of the other job are in hand
        for loss in reconciler.look(fleet(2 * now, 2 * now + 1, job="o", waiting=20), now)
    ]

    began = found[0][0]
    assert found[0][1] is Cause.VANISHED
    assert 20 / 2 + USUAL.grace_s < began < 30


def test_queue_that_does_not_move_is_waited_for() -> None:
    reconciler = Reconciler("j")
    reconciler.sent(1, 64, 0.0)

    for now in range(0, 2000, 10):
        assert reconciler.look(fleet(7, 8, job="o", waiting=20), float(now)) == []

"""Decide which deliveries will never be answered; pure, so that every rule can be tested.

Celery on Redis loses tasks whatever its settings: the message is popped in one step and noted as
unacknowledged in another. Three facts tell a lost delivery from a slow one:

* The queue is first in, first out. Once a later delivery of this job has left it, an earlier one
  has left it too; if no live worker holds it and no answer came, it is lost.
* The same is true once as many chunks of any job were seen to leave the queue as stood in it: other
  jobs may keep it from ever being empty, and this one may have nothing later to send.
* If the queue is empty and no live worker holds a delivery, it is lost as well.
* A worker that holds a delivery and whose heartbeat has gone is dead, and the delivery with it.

An answer goes into the stream before the worker lets go of the delivery, and the stream is read
after the heartbeats; so "not held, not answered" can only be wrong for as long as a heartbeat is
old, which ``Clocks.grace_s`` waits out.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from statistics import median

from broker.chunks import task_id
from broker.heartbeats import Fleet
from contract.clocks import HARD_LIMIT_S, USUAL, Clocks

STRAGGLER_FACTOR = 4.0  # a chunk four times as slow as the median is read again by idle workers
UNPROVEN_HEARTBEATS = (
    30  # said to be held, and no proof of a claim: a worker that lies, or is stuck
)
DEADLINE_FACTOR = 20.0  # held this much longer than the median: its worker hangs
DEADLINE_MIN_S = HARD_LIMIT_S + 30.0  # until then the worker itself ends what hangs
TIMES_KEPT = 200  # recent chunk times, for the median


class Cause(StrEnum):
    """Why a delivery is sent again."""

    WORKER_GONE = "worker_gone"
    """Its worker's heartbeat has gone while it held it."""
    VANISHED = "vanished"
    """Nobody holds it and it is not in the queue."""
    OVERDUE = "overdue"
    """Held for far longer than any chunk takes."""
    STRAGGLER = "straggler"
    """Slow, while others stand idle."""


@dataclass(slots=True)
class Out:
    """A delivery that is out, as this producer has seen it.

    Attributes:
        since: monotonic time at which this producer sent it or first knew of it, seconds.
        images: how many it holds.
        proof: by which a heartbeat shows that its worker has claimed it.
        may_hedge: whether a second worker may read it for being slow.
        holder: the start of a worker that held it when last looked; empty if none did.
        is_proven: whether that worker has shown that it claimed it.
        held_since: monotonic time of the first look at which it was held.
        missing_since: monotonic time since which it must be somewhere and is nowhere.
        gone_since: monotonic time since which its holder is not heard, while others are.
        ahead: of ``Reconciler.taken``, when all that stood before it in the queue has left it.
    """

    since: float
    images: int
    proof: str = ""
    may_hedge: bool = True
    holder: str = ""
    is_proven: bool = False
    held_since: float | None = None
    missing_since: float | None = None
    gone_since: float | None = None
    ahead: int | None = None


@dataclass(frozen=True, slots=True)
class Loss:
    """A delivery to give up, and why."""

    delivery: int
    cause: Cause
    holder: str = ""
    is_proven: bool = False

    @property
    def is_death(self) -> bool:
        """Whether its worker died with it in hand: one that only said so accuses no image."""
        return self.cause is Cause.WORKER_GONE and self.is_proven


@dataclass(slots=True)
class Reconciler:
    """What is out, what was seen of it, and how long chunks take."""

    job: str
    hedge: bool = True
    """Whether idle processes may read a slow chunk again; not while all wait for their turns."""
    clocks: Clocks = USUAL
    out: dict[int, Out] = field(default_factory=dict)
    images: int = 0
    """How many are out."""
    took_s: deque[float] = field(default_factory=partial(deque, maxlen=TIMES_KEPT))
    image_s: deque[float] = field(default_factory=partial(deque, maxlen=TIMES_KEPT))
    popped: int = 0
    """The latest delivery that was seen to have left the queue."""
    taken: int = 0
    """Chunks of any job that were seen to leave the queue; a look misses those that were quick."""
    _in_hand: frozenset[str] = frozenset()

    def sent(
        self, delivery: int, images: int, now: float, *, proof: str = "", may_hedge: bool = True
    ) -> None:
        """Note a delivery as out."""
        self.images += images
        self.out[delivery] = Out(since=now, images=images, proof=proof, may_hedge=may_hedge)

    def answered(self, delivery: int, took_s: float) -> None:
        """Note an answer: the delivery is no longer out."""
        self.popped = max(self.popped, delivery)
        self.took_s.append(took_s)
        if delivery in self.out:
            self.image_s.append(took_s / self.out[delivery].images)
        self.ended(delivery)

    def ended(self, delivery: int) -> None:
        """Forget a delivery that was given up."""
        out = self.out.pop(delivery, None)
        self.images -= out.images if out else 0

    def interrupted(self) -> None:
        """Forget who held what: Redis was away, and with it every heartbeat.

        A worker that has not been heard since is not dead; what it holds is named by its next beat,
        or is nowhere and sent again after the grace.
        """
        for out in self.out.values():
            out.holder, out.held_since, out.missing_since = "", None, None
            out.gone_since = None

    def look(self, fleet: Fleet, now: float) -> list[Loss]:
        """Update what is known, and name the deliveries to give up.

        Args:
            fleet: read before the stream was last read to its end.
            now: monotonic time, seconds.
        """
        in_hand, proven = fleet.in_hand, fleet.proven
        alive = fleet.instances
        unproven_s = max(
            UNPROVEN_HEARTBEATS * self.clocks.heartbeat_s, STRAGGLER_FACTOR * self.typical_s
        )
        held: dict[int, str | None] = {}
        for delivery, out in self.out.items():
            out.is_proven = out.is_proven or out.proof in proven
            said = in_hand.get(task_id(self.job, delivery))
            held[delivery] = proven.get(out.proof) or _believed(said, out, now, unproven_s)
        self.popped = max([self.popped, *(delivery for delivery, holder in held.items() if holder)])
        self._count_taken(fleet)
        losses = [
            self._judge(delivery, held[delivery], alive=alive, queue=fleet.waiting, now=now)
            for delivery in list(self.out)
        ]
        lost = [loss for loss in losses if loss is not None]
        return lost or self._straggler(fleet, now)

    def _count_taken(self, fleet: Fleet) -> None:
        """Count what was taken since the last look, and note what stands before new deliveries."""
        before, self._in_hand = self._in_hand, frozenset(fleet.in_hand)
        self.taken += len(self._in_hand - before)
        for out in self.out.values():
            if out.ahead is None:  # a chunk that a worker gives back jumps the queue, hence more
                out.ahead = self.taken + fleet.waiting + 2 * fleet.processes

    def _judge(
        self, delivery: int, holder: str | None, *, alive: set[str], queue: int, now: float
    ) -> Loss | None:
        out = self.out[delivery]
        if holder:
            out.holder, out.missing_since, out.gone_since = holder, None, None
            out.held_since = now if out.held_since is None else out.held_since
            return self._overdue(delivery, out, now)
        if out.holder and not alive:
            out.gone_since = None
            return None  # all at once: Redis lost the beats, or nobody is there to read it anyway
        if out.holder and out.holder not in alive:
            is_dead = self._is_dead(out, alive, now)
            return Loss(delivery, Cause.WORKER_GONE, out.holder, out.is_proven) if is_dead else None
        if out.holder:  # alive, and has let go of it: it does not die with it in hand any more
            out.holder, out.is_proven, out.gone_since = "", False, None
        if queue and delivery > self.popped and self.taken <= (out.ahead or 0):
            out.missing_since = None  # it may well be in the queue
            return None
        out.missing_since = now if out.missing_since is None else out.missing_since
        is_lost = now - max(out.missing_since, out.since) > self.clocks.grace_s
        return Loss(delivery, Cause.VANISHED) if is_lost else None

    def _is_dead(self, out: Out, alive: set[str], now: float) -> bool:
        """Tell whether a holder is dead that is not heard: it was started again, or stays away.

        Redis may lose heartbeats, or set its clock; then each worker is heard again by its next.
        """
        name = out.holder.partition("#")[0] + "#"
        if any(instance.startswith(name) for instance in alive):
            return True
        out.gone_since = now if out.gone_since is None else out.gone_since
        return now - out.gone_since > self.clocks.missed_s

    def _overdue(self, delivery: int, out: Out, now: float) -> Loss | None:
        limit = max(DEADLINE_MIN_S, DEADLINE_FACTOR * self.typical_s)
        is_overdue = out.held_since is not None and now - out.held_since > limit
        return Loss(delivery, Cause.OVERDUE, out.holder) if is_overdue else None

    def _straggler(self, fleet: Fleet, now: float) -> list[Loss]:
        """Name the slowest delivery, if it is far behind and somebody could read it meanwhile."""
        held = [
            (out.held_since, delivery)
            for delivery, out in self.out.items()
            if out.held_since is not None and out.may_hedge
        ]
        if not (held and self.hedge and fleet.is_idle and self.took_s):
            return []
        since, delivery = min(held)
        limit = max(self.clocks.straggler_s, STRAGGLER_FACTOR * self.typical_s)
        if now - since <= limit:
            return []
        return [Loss(delivery, Cause.STRAGGLER, self.out[delivery].holder)]

    @property
    def typical_s(self) -> float:
        """The median time that a chunk took, in seconds; 0 before the first."""
        return median(self.took_s) if self.took_s else 0.0

    @property
    def typical_image_s(self) -> float | None:
        """The median of a chunk's time over its images, in seconds; None before the first."""
        return median(self.image_s) if self.image_s else None


def _believed(holder: str | None, out: Out, now: float, patience_s: float) -> str | None:
    """Believe who says that it took a delivery, but not for long without a proof.

    A worker takes one chunk ahead, and claims it when it begins.
    """
    since = out.held_since
    return holder if not out.proof or since is None or now - since <= patience_s else None

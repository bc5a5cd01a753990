"""What goes wrong and when: a schedule that follows from the plan and its seed alone."""

from __future__ import annotations

import random
from dataclasses import dataclass
from enum import StrEnum

FIRST, LAST = 0.03, 0.92  # of the job's progress: a fault at its very end would miss it


class Kind(StrEnum):
    """A fault."""

    CHILD_KILL = "kill of a pool process"
    WORKER_KILL = "kill of a whole worker"
    STOP = "worker frozen"
    DRAIN = "worker drained"
    REDIS_KILL = "kill of Redis"
    WIPE = "wipe of Redis"
    PRODUCER_KILL = "kill of the producer"
    HALF_OPEN = "half-open connection"


@dataclass(frozen=True, slots=True)
class Plan:
    """A run of the harness.

    Attributes:
        images: of the job.
        seed: of the schedule.
        kills: SIGKILLs of worker processes, ``parents`` of them of a worker's main process.
        parents: see there.
        stops: workers frozen by SIGSTOP for ``stop_s``, longer than a heartbeat lives.
        drains: workers ended by SIGTERM.
        redis_kills: SIGKILLs of Redis, which comes back with its append-only file.
        wipes: FLUSHALLs.
        producer_kills: SIGKILLs of ``pifleet submit``, which is then run again.
        half_open: times that a worker's connections fall silent for ``silent_s``.
        stop_s: seconds.
        silent_s: seconds.
        workers: on this machine; all but the first reach Redis through a proxy.
        processes: chunks that each of them reads at once.
        delay_ms: that the origin waits before each answer, as a network does.
    """

    images: int
    seed: int
    kills: int
    parents: int
    stops: int
    drains: int
    redis_kills: int
    wipes: int
    producer_kills: int
    half_open: int
    stop_s: float
    silent_s: float
    workers: int
    processes: int
    delay_ms: int

    def counts(self) -> dict[Kind, int]:
        """Give how many faults of each kind are asked for."""
        parents = min(self.parents, self.kills)
        return {
            Kind.CHILD_KILL: self.kills - parents,
            Kind.WORKER_KILL: parents,
            Kind.STOP: self.stops,
            Kind.DRAIN: self.drains,
            Kind.REDIS_KILL: self.redis_kills,
            Kind.WIPE: self.wipes,
            Kind.PRODUCER_KILL: self.producer_kills,
            Kind.HALF_OPEN: self.half_open,
        }


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault: what, after how many images, and a number in [0, 1) that picks its victim."""

    kind: Kind
    after: int
    pick: float


def schedule(plan: Plan) -> list[Fault]:
    """Spread the faults of each kind evenly over the job, each within its own slot by chance."""
    rng = random.Random(plan.seed)
    faults = [
        Fault(kind, _place(slot, count, plan.images, rng), rng.random())
        for kind, count in plan.counts().items()
        for slot in range(count)
    ]
    return sorted(faults, key=lambda fault: fault.after)


def _place(slot: int, slots: int, images: int, rng: random.Random) -> int:
    share = (slot + rng.random()) / slots
    return int(images * (FIRST + (LAST - FIRST) * share))

"""What goes wrong and when, and what is done to the stack then.

The schedule follows from the plan and its seed alone; the injector does what it says as the job
gets on, and undoes what does not end by itself.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum

from redis.exceptions import RedisError

from benchmarks.chaos.stack import Stage, Victim, kill

SETTLE_S = 5.0  # after a silence, before the same worker falls silent again
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
        delay_ms: that the origin waits before each answer.
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
        """Count the faults of each kind that are asked for."""
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


@dataclass(slots=True)
class Injector:
    """Injects faults as the job gets on; call ``tick`` a few times a second.

    Attributes:
        plan: of the run.
        stage: the stack that they are done to.
        kill_producer: kills the producer, and says whether there was one.
        struck: called after each fault with its kind.
    """

    plan: Plan
    stage: Stage
    kill_producer: Callable[[], bool] = lambda: False
    struck: Callable[[Kind], None] = lambda _: None
    done: Counter[Kind] = field(default_factory=Counter)
    _due: list[Fault] = field(default_factory=list)
    _undo: list[tuple[float, Callable[[], None]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._due = schedule(self.plan)

    @property
    def missed(self) -> int:
        """Faults that had no chance to happen."""
        return len(self._due)

    def tick(self, images: int) -> None:
        """Inject what is due after so many images, and undo what lasted long enough."""
        now = time.monotonic()
        for at, undo in [entry for entry in self._undo if entry[0] <= now]:
            self._undo.remove((at, undo))
            undo()
        due = [fault for fault in self._due if fault.after <= images]
        for fault in due:  # one that finds no victim now waits for one
            if self._strike(fault, now):
                self._due.remove(fault)
                self.done[fault.kind] += 1
                self.struck(fault.kind)

    def release(self) -> None:
        """Undo everything at once."""
        for _, undo in self._undo:
            undo()
        self._undo.clear()

    def _strike(self, fault: Fault, now: float) -> bool:
        """Do it, and say whether there was anybody to do it to."""
        ways: dict[Kind, Callable[[], bool]] = {
            Kind.CHILD_KILL: lambda: self._kill_child(fault.pick),
            Kind.WORKER_KILL: lambda: self._kill_worker(fault.pick),
            Kind.STOP: lambda: self._stop(fault.pick, now),
            Kind.DRAIN: lambda: self._drain(fault.pick, now),
            Kind.HALF_OPEN: lambda: self._silence(fault.pick, now),
            Kind.PRODUCER_KILL: self.kill_producer,
            Kind.REDIS_KILL: self.stage.broker.restart,
            Kind.WIPE: self._wipe,
        }
        return ways[fault.kind]()

    def _kill_child(self, pick: float) -> bool:
        pids = [pid for victim in self.stage.victims for pid in victim.worker.pool()]
        return bool(pids) and kill(pids[int(pick * len(pids))])

    def _kill_worker(self, pick: float) -> bool:
        pids = [victim.worker.pid for victim in self.stage.victims if victim.worker.pid]
        return bool(pids) and kill(pids[int(pick * len(pids))])

    def _stop(self, pick: float, now: float) -> bool:
        victim = self._pick(pick, now)
        if victim is None:
            return False
        group = victim.worker.pid
        assert group is not None, "only the living are picked"
        _signal_group(group, signal.SIGSTOP)
        victim.busy_until = now + self.plan.stop_s
        self._undo.append((victim.busy_until, lambda: _signal_group(group, signal.SIGCONT)))
        return True

    def _drain(self, pick: float, now: float) -> bool:
        victim = self._pick(pick, now)
        if victim is not None:
            victim.worker.terminate()
        return victim is not None

    def _silence(self, pick: float, now: float) -> bool:
        victim = self._pick(pick, now, has_proxy=True)
        if victim is None or victim.proxy is None:
            return False
        victim.proxy.freeze(new_ones_too=int(pick * 1000) % 2 == 1)
        self._undo.append((now + self.plan.silent_s, victim.proxy.drop))
        victim.busy_until = now + self.plan.silent_s + SETTLE_S
        return True

    def _wipe(self) -> bool:
        with suppress(RedisError):
            self.stage.broker.client.flushall()
            return True
        return False

    def _pick(self, pick: float, now: float, *, has_proxy: bool = False) -> Victim | None:
        """Pick one that nothing else is being done to."""
        able = [
            victim
            for victim in self.stage.victims
            if victim.worker.pid is not None
            and victim.busy_until <= now
            and (victim.proxy is not None or not has_proxy)
        ]
        return able[int(pick * len(able))] if able else None


def _place(slot: int, slots: int, images: int, rng: random.Random) -> int:
    share = (slot + rng.random()) / slots
    return int(images * (FIRST + (LAST - FIRST) * share))


def _signal_group(group: int, number: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(group, number)

"""Do to the stack what the schedule says, and undo what does not end by itself."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from redis.exceptions import RedisError

from benchmarks.chaos.broker import Broker
from benchmarks.chaos.keeper import Kept, kill
from benchmarks.chaos.plan import Fault, Kind, Plan
from benchmarks.chaos.programs import Program

SETTLE_S = 5.0  # after a silence, before the same worker falls silent again


@dataclass(slots=True)
class Victim:
    """A worker and the proxy before it; until when it is frozen or silent, monotonic seconds."""

    worker: Kept
    proxy: Program | None
    busy_until: float = 0.0


@dataclass(slots=True)
class Injector:
    """Injects faults as the job gets on; call ``tick`` a few times a second.

    Attributes:
        plan: of the run.
        broker: the one to kill and wipe.
        victims: the workers.
        kill_producer: kills the producer, and says whether there was one.
        struck: called after each fault with its kind.
    """

    plan: Plan
    broker: Broker
    victims: Sequence[Victim]
    kill_producer: Callable[[], bool]
    struck: Callable[[Kind], None]
    done: Counter[Kind] = field(default_factory=Counter)
    _due: deque[Fault] = field(default_factory=deque)
    _undo: list[tuple[float, Callable[[], None]]] = field(default_factory=list)

    def load(self, faults: Iterable[Fault]) -> None:
        """Take a schedule, in order of progress."""
        self._due.extend(faults)

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
            Kind.REDIS_KILL: self.broker.restart,
            Kind.WIPE: self._wipe,
        }
        return ways[fault.kind]()

    def _kill_child(self, pick: float) -> bool:
        pids = [pid for victim in self.victims for pid in victim.worker.pool()]
        return bool(pids) and kill(pids[int(pick * len(pids))])

    def _kill_worker(self, pick: float) -> bool:
        pids = [victim.worker.pid for victim in self.victims if victim.worker.pid]
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
        is_dark = int(pick * 1000) % 2 == 1
        victim.proxy.child.send_signal(signal.SIGUSR2 if is_dark else signal.SIGUSR1)
        victim.busy_until = now + self.plan.silent_s + SETTLE_S
        return True

    def _wipe(self) -> bool:
        with suppress(RedisError):
            self.broker.client.flushall()
            return True
        return False

    def _pick(self, pick: float, now: float, *, has_proxy: bool = False) -> Victim | None:
        """Pick one that nothing else is being done to."""
        able = [
            victim
            for victim in self.victims
            if victim.worker.pid is not None
            and victim.busy_until <= now
            and (victim.proxy is not None or not has_proxy)
        ]
        return able[int(pick * len(able))] if able else None


def _signal_group(group: int, number: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(group, number)

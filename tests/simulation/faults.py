"""Faults: which of them strike a world, when, and the day on which all of them are mended."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import inf

from contract.clocks import USUAL
from tests.simulation.broker import Broker, Kept
from tests.simulation.liar import Liar
from tests.simulation.workers import Worker
from tests.simulation.world import World

SHARE = 0.3  # of the kinds of faults that strike one world: few together, and each without others
LONGEST_JUMP_S = 90_000.0


@dataclass(slots=True)
class Faults:
    """What strikes one world."""

    world: World
    broker: Broker
    workers: list[Worker]
    liar: Liar
    out_indexes: Callable[[], list[int]]
    """Lists the images that are out."""
    _unheard_at: float = -inf
    _unheard_since: float = -inf

    def out(self) -> int:
        """Count the images that are out."""
        return len(self.out_indexes())

    def plan(self, *, until_s: float, every_s: float) -> int:
        """Plan them; returns how many kinds there are."""
        rng = self.world.rng
        kinds = [kind for kind in self._kinds() if rng.random() < SHARE]
        at = rng.expovariate(1 / every_s)
        while kinds and at < until_s:
            self.world.at(at, rng.choice(kinds))
            at += 0.1 + rng.expovariate(1 / every_s)
        lasting = [lasting for lasting in self._lasting() if rng.random() < SHARE / 2]
        for begin in lasting:
            begin()
        self.world.at(until_s, self.mend)
        return len(kinds) + len(lasting)

    def mend(self) -> None:
        """End all that can be mended; workers that are as they are stay so."""
        self.world.say("all is mended")
        self.broker.is_away = self.broker.is_full = False
        self.broker.shaky = 0.0
        self.liar.revoke()
        for worker in self.workers:
            worker.broker_loses = worker.answers_doubled = 0.0
            worker.start()

    def _kinds(self) -> list[Callable[[], None]]:
        return [
            *(self._kill_process, self._kill_worker, self._freeze, self._drain, self._cut),
            *(self._wipe, self._go_away, self._fill, self._fail_over, self._jump),
            *(self._kill_producer, self._double_notice, self._reorder, self._lose_beats),
        ]

    def _lasting(self) -> list[Callable[[], None]]:
        return [self._be_shaky, self._lose_messages, self._double_answers, self._lie]

    def _lie(self) -> None:
        every_s = self.world.rng.uniform(0.3, 5.0)
        # After the first look: one bad worker that is alone at it decides alone.
        self.world.at(2.0, lambda: self.liar.start(every_s=every_s))

    # -- workers ------------------------------------------------------------------------------

    def _victim(self) -> Worker | None:
        alive = [worker for worker in self.workers if worker.is_alive]
        return self.world.rng.choice(alive) if alive else None

    def _kill_process(self) -> None:
        victim = self._victim()
        if victim is not None:
            number = self.world.rng.randrange(len(victim.processes))
            task = victim.processes[number].task
            images = len(task.items) if task is not None else self._held(victim)
            self.world.fault("process killed", victim.name, images=images)
            victim.kill_process(number)

    def _kill_worker(self) -> None:
        victim = self._victim()
        if victim is not None:
            self.world.fault("worker killed", victim.name, images=self._held(victim))
            victim.kill()
            self.world.at(self._soon(20), victim.start)

    def _freeze(self) -> None:
        victim = self._victim()
        if victim is not None:
            seconds = self._soon(60)
            self.world.fault("worker frozen", f"{victim.name} {seconds:.0f} s", images=self.out())
            victim.freeze(seconds)

    def _drain(self) -> None:
        victim = self._victim()
        if victim is not None:
            self.world.fault("worker drained", victim.name, images=self._held(victim))
            victim.drain()

    def _cut(self) -> None:
        """Cut one worker off; it reads on, and answers late."""
        victim = self._victim()
        if victim is not None:
            seconds = self._soon(40)
            self.world.fault("worker cut off", f"{victim.name} {seconds:.0f} s", images=self.out())
            victim.cut_until = self.world.now + seconds
            victim.seem_dead(seconds)

    def _lose_beats(self) -> None:
        """Lose all that Redis has of the heartbeats, and nothing else."""
        self.world.fault("heartbeats lost", images=self.out())
        self.broker.kept.names.clear()
        self.broker.kept.beats.clear()
        self._unhear_all()

    def _unhear_all(self) -> None:
        """Note that no heartbeat counts any more until the next one of its worker.

        Where that happens again and again, a worker may go unheard for as long as a dead one.
        """
        if self.world.now - self._unheard_at > 2 * USUAL.heartbeat_s:
            self._unheard_since = self.world.now
        self._unheard_at = self.world.now
        for worker in self.workers:
            worker.seem_dead(self.world.now - self._unheard_since + USUAL.heartbeat_s)

    # -- broker -------------------------------------------------------------------------------

    def _wipe(self) -> None:
        self.world.fault("Redis wiped", images=len(self.liar.images.kinds))
        self.broker.kept = Kept()

    def _go_away(self) -> None:
        seconds = self._soon(40)
        self.world.fault("Redis away", f"{seconds:.0f} s", images=self.out())
        self.broker.is_away = True
        self.world.at(seconds, self._come_back)

    def _come_back(self) -> None:
        self.broker.is_away = False

    def _fill(self) -> None:
        seconds = self._soon(900 if self.world.chance(0.2) else 60)
        self.world.fault("Redis full", f"{seconds:.0f} s", images=self.out())
        self.broker.is_full = True
        for worker in self.workers:  # it can neither answer nor be heard; another one just may
            worker.seem_dead(seconds=60.0)
        self.world.at(seconds, self._empty)

    def _empty(self) -> None:
        self.broker.is_full = False

    def _fail_over(self) -> None:
        """Let it die, and come back as it was some seconds before: its file, or its replica."""
        kept = self.broker.snapshot()
        since = self.world.now
        self.world.at(self._soon(3), lambda: self._go_back(kept, since))

    def _go_back(self, kept: Kept, since: float) -> None:
        self.world.fault("Redis failed over", images=self.out())
        self.broker.forgotten.append((since, self.world.now))
        self.broker.kept = kept
        self.broker.is_away = True
        self.world.at(self._soon(5), self._come_back)

    def _jump(self) -> None:
        """Set Redis's clock: a Pi has none of its own, and hears the time when it is up."""
        seconds = self.world.rng.choice((-1, 1)) * self._soon(LONGEST_JUMP_S)
        self.world.fault("clock of Redis jumps", f"{seconds:+.0f} s", images=self.out())
        self.broker.wall_offset_s += seconds
        self._unhear_all()

    def _be_shaky(self) -> None:
        self.broker.shaky = self.world.rng.uniform(0.0, 0.1)
        self.world.fault("connection shaky", f"{self.broker.shaky:.2f}", images=10**6)

    # -- messages -----------------------------------------------------------------------------

    def _lose_messages(self) -> None:
        share = self.world.rng.uniform(0.0, 0.3)
        for worker in self.workers:
            worker.broker_loses = share

    def _double_answers(self) -> None:
        share = self.world.rng.uniform(0.0, 0.5)
        for worker in self.workers:
            worker.answers_doubled = share

    def _double_notice(self) -> None:
        if self.broker.kept.queue:
            notice = self.world.rng.choice(self.broker.kept.queue)
            self.world.fault("notice doubled", notice.task_id())
            self.broker.push(notice)

    def _reorder(self) -> None:
        queue = self.broker.kept.queue
        if len(queue) > 1:
            self.world.fault("queue reordered", images=self.out())
            notices = list(queue)
            self.world.rng.shuffle(notices)
            queue.clear()
            queue.extend(notices)

    # -- producer -----------------------------------------------------------------------------

    def _kill_producer(self) -> None:
        self.world.fault("producer killed", images=self.out())
        self.world.kill_producer()

    def _held(self, worker: Worker) -> int:
        return max(self.out(), sum(len(task.items) for task in worker.claimed()))

    def _soon(self, most_s: float) -> float:
        """Draw a time: short as often as long."""
        return float(most_s * self.world.rng.random() ** 3) + 0.1

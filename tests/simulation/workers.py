"""Workers as state machines: they take, claim, read, answer, beat, and die, as the real ones do."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from functools import partial

import msgspec

from broker.chunks import OTHER_VERSION, Notice
from broker.claims import ChunkTask, prove
from broker.heartbeats import Heartbeat
from broker.results import GIVE_UP_S, ChunkResult, Crash, Outcome, Row
from contract.clocks import HARD_LIMIT_S, USUAL
from contract.reasons import Reason
from tests.simulation.broker import HEARTBEAT, Broker
from tests.simulation.images import Images, Kind, text_of
from tests.simulation.world import Action, World

MODEL = "model"  # the job's digest
LEAVE_S = 1.0  # before a chunk goes back that this worker cannot serve
REFUSES_S = 5.0  # that a model is not tried again
NAMES_S = 60.0  # for which a heartbeat names a refused model
CLAIM_S = 30.0
ANSWERED_KEPT = 20  # chunks that a worker remembers
PASSING = (Reason.CONNECT, Reason.TIMEOUT, Reason.HTTP_BUSY, Reason.CUT_SHORT, Reason.RATE_LIMIT)


@dataclass(frozen=True, slots=True)
class Habits:
    """How a worker is.

    Attributes:
        processes: chunks that it reads at once.
        ahead: chunks that it takes before it has a process for them.
        image_s: the mean time that an image takes it.
        has_dns: without it each image fails, fast.
        accepts: whether it trusts the model.
        is_alien: of another version: it puts back what it does not know.
    """

    processes: int = 1
    ahead: int = 0
    image_s: float = 0.2
    has_dns: bool = True
    accepts: bool = True
    is_alien: bool = False

    @property
    def is_healthy(self) -> bool:
        """Whether it can end a job alone."""
        return self.has_dns and self.accepts and not self.is_alien


@dataclass(slots=True)
class Process:
    """One pool process and what it holds."""

    notice: Notice | None = None
    task: ChunkTask | None = None
    life: int = 0
    """Counts its deaths: what an earlier one began is not gone on with."""
    last: ChunkTask | None = None
    """The chunk that it holds, or held when it died."""
    is_dead: bool = False
    """Whether it died, and the parent has yet to report it."""
    reading: list[tuple[float, int]] = field(default_factory=list)
    """When each image of its chunk is begun."""

    def image_at(self, now: float) -> int | None:
        """Tell which image is being read; none before the first."""
        begun = [index for since, index in self.reading if since <= now]
        return begun[-1] if begun else None


class Worker:
    """One worker: a parent, its processes, its heartbeat."""

    def __init__(
        self, name: str, habits: Habits, broker: Broker, images: Images, *, job: str
    ) -> None:
        self.name, self.habits = name, habits
        self.broker, self.images, self.job = broker, images, job
        self.world: World = broker.world
        self.processes = [Process() for _ in range(habits.processes)]
        self.reserved: deque[Notice] = deque()
        self.is_alive = False
        self.is_draining = False
        self.is_resting = False
        self.frozen_until = self.cut_until = 0.0
        self._pid = 0
        self._started_at = 0.0
        self._life = 0
        self._has_model = False
        self._answered: deque[tuple[float, ChunkTask]] = deque(maxlen=ANSWERED_KEPT)
        self._refused_at = -NAMES_S

    # -- life ---------------------------------------------------------------------------------

    def start(self) -> None:
        """Start, as another process of the same name."""
        if self.is_alive:
            return
        self._pid += 1
        self._started_at = self.world.now
        self.is_alive, self.is_draining, self.is_resting = True, False, False
        self.world.say(self.name, "starts")
        self._beat_on()

    def kill(self) -> None:
        """Kill the whole worker: nobody is left to tell."""
        for task in self.held():
            self._note_death(task, Crash())
        self._vanish()

    def drain(self) -> None:
        """Let it finish what it has in hand, and put back what it has not begun."""
        self.is_draining = True
        for notice in self.reserved:
            self._put_back(notice)
        self.reserved.clear()
        self._leave_if_done()

    def freeze(self, seconds: float) -> None:
        """Stop all of it; what was due goes on when it thaws."""
        self.frozen_until = max(self.frozen_until, self.world.now + seconds)
        self.seem_dead(seconds)

    def seem_dead(self, seconds: float) -> None:
        """Note that it may be taken for dead, with what it has claimed."""
        if seconds + USUAL.heartbeat_s > USUAL.missed_s:  # Redis may have lost its last heartbeat
            for task in self.held():
                self._note_death(task, Crash())

    def kill_process(self, number: int) -> None:
        """Kill one pool process, whatever it does."""
        process = self.processes[number]
        if not process.is_dead:
            self._die(process, Crash(was_seen=True, image=process.image_at(self.world.now)))

    def claimed(self) -> list[ChunkTask]:
        """Collect the chunks that its processes read."""
        return [process.task for process in self.processes if process.task is not None]

    def held(self) -> list[ChunkTask]:
        """Collect the chunks that may be held against its death.

        Those of dead processes too, and those whose answers the broker has forgotten.
        """
        last = [process.last for process in self.processes if process.last is not None]
        return last + [task for at, task in self._answered if self.broker.has_forgotten(at)]

    def in_hand(self) -> list[Notice]:
        """Collect all that it took."""
        return [*self.reserved, *(p.notice for p in self.processes if p.notice is not None)]

    def _vanish(self) -> None:
        self._life += 1
        self.is_alive = False
        self.reserved.clear()
        for process in self.processes:
            _empty(process)

    def _note_death(self, task: ChunkTask, crash: Crash) -> None:
        if task.job == self.job:
            self.images.died(task, crash)

    # -- events -------------------------------------------------------------------------------

    def _after(self, seconds: float, action: Action, process: Process | None = None) -> None:
        """Do something later, unless it dies before; what is frozen does it when it thaws."""
        life, inner = self._life, process.life if process else 0

        def fire() -> None:
            if self._life != life or (process is not None and process.life != inner):
                return
            frozen_s = self.frozen_until - self.world.now
            if frozen_s > 0:
                self.world.at(frozen_s + self.world.rng.random() * 0.01, fire)
            else:
                action()

        self.world.at(seconds, fire)

    def _is_cut(self) -> bool:
        return self.broker.is_away or self.world.now < self.cut_until

    def _beat_on(self) -> None:
        rng = self.world.rng
        next_s = USUAL.heartbeat_s * (1 + 0.02 * rng.random())
        if self._is_cut():
            next_s += rng.random()  # its connection has to time out
        elif not self.broker.is_full:
            self.is_resting = self.broker.beat(self.heartbeat())
        self._after(next_s, self._beat_on)
        self.poke()

    def heartbeat(self) -> Heartbeat:
        """Say what it says of itself."""
        refuses = self.world.now - self._refused_at < NAMES_S
        what = OTHER_VERSION if self.habits.is_alien else MODEL
        return msgspec.structs.replace(
            HEARTBEAT,
            worker=self.name,
            pid=self._pid,
            processes=self.habits.processes,
            in_hand=tuple(notice.task_id() for notice in self.in_hand()),
            proofs=tuple(prove(task.token) for task in self.claimed()),
            started_at=self._started_at,
            refused={what: "it cannot be used"} if refuses else {},
        )

    # -- taking -------------------------------------------------------------------------------

    def poke(self) -> None:
        """Look into the queue in a moment."""
        if self.is_alive and not self.is_draining:
            self._after(self.world.rng.random() * 0.01, self._take)

    def _take(self) -> None:
        room = self.habits.processes + self.habits.ahead - len(self.in_hand())
        if self.is_draining or self.is_resting or self._is_cut() or room <= 0:
            return
        queue = self.broker.kept.queue
        if not queue:
            return
        notice = queue.pop()
        if self.world.chance(self.broker_loses):
            self.world.fault("message lost", notice.task_id(), images=self._size(notice))
        else:
            self.reserved.append(notice)
            self._begin_some()
        self.poke()

    broker_loses = 0.0
    """Share of messages that are popped and never arrive."""

    def _begin_some(self) -> None:
        for process in self.processes:
            if self.reserved and process.notice is None and not process.is_dead:
                process.notice = self.reserved.popleft()
                until = self.world.now + CLAIM_S
                self._claim_soon(process, process.notice, until)

    def _claim_soon(self, process: Process, notice: Notice, until: float) -> None:
        wait_s = 0.2 if self._is_cut() else 0.002 + self.world.rng.random() * 0.01
        self._after(wait_s, lambda: self._claim(process, notice, until), process)

    def _claim(self, process: Process, notice: Notice, until: float) -> None:
        now = self.world.now
        if self.habits.is_alien or (not self.habits.accepts and now - self._refused_at < REFUSES_S):
            self._refused_at = now if self.habits.is_alien else self._refused_at
            self._after(LEAVE_S, lambda: self._leave(process, notice), process)
        elif self._is_cut():
            if now > until:
                self._free(process)
            else:
                self._claim_soon(process, notice, until)
        else:
            task = self.broker.kept.claims.pop((notice.job, notice.delivery), None)
            if task is None:
                self._free(process)
            else:
                process.task = process.last = task
                self._read(process, task)

    def _leave(self, process: Process, notice: Notice) -> None:
        self._put_back(notice)
        self._free(process)

    def _put_back(self, notice: Notice) -> None:
        if self._is_cut() or self.broker.is_full:
            self.world.fault("put back in vain", images=self._size(notice))
        else:
            self.broker.push(notice, first=self.world.chance(0.5))

    def _size(self, notice: Notice) -> int:
        task = self.broker.kept.claims.get((notice.job, notice.delivery))
        return 0 if task is None or notice.job != self.job else len(task.items)

    # -- reading ------------------------------------------------------------------------------

    def _read(self, process: Process, task: ChunkTask) -> None:
        rng, habits = self.world.rng, self.habits
        self.world.say(self.name, "reads", task.notice.task_id(), [i.index for i in task.items])
        if not habits.accepts:
            self._refused_at = self.world.now
            self._answer_in(0.1, process, task, Outcome.BAD_MODEL)
            return
        if not self._has_model and task.model not in self.broker.kept.models:
            self._answer_in(0.02, process, task, Outcome.NO_MODEL)
            return
        self._has_model = True
        if task.job != self.job or not habits.has_dns:
            self._answer_in(0.02 * len(task.items), process, task, Outcome.DONE)
            return
        at = self.world.now + habits.image_s * rng.random()  # the first download
        for item in task.items:
            kind = self.images.kinds[item.index]
            if kind is Kind.BURST:
                burst = partial(self._burst, process, item.index)
                self._after(at - self.world.now, burst, process)
                return
            process.reading.append((at, item.index))
            took_s = rng.expovariate(1.0) * habits.image_s
            if kind in (Kind.POISON, Kind.DEADLY, Kind.HANG):
                self._after(*self._killing(kind, at, took_s, process, item.index), process)
                return
            at += took_s
        self._answer_in(at - self.world.now, process, task, Outcome.DONE)

    def _killing(
        self, kind: Kind, at: float, took_s: float, process: Process, index: int
    ) -> tuple[float, Action]:
        """Say when and how an image ends its process."""

        def strike() -> None:
            self.images.kills[index] += 1
            self.world.say(self.name, "is killed by image", index)
            if kind is not Kind.DEADLY:
                self._die(process, Crash(was_seen=True, image=index))
                return
            self.kill()
            self.world.at(5 * self.world.rng.random(), self.start)

        return (HARD_LIMIT_S if kind is Kind.HANG else at + took_s - self.world.now), strike

    def _burst(self, process: Process, index: int) -> None:
        self.images.kills[index] += 1
        self._die(process, Crash(was_seen=True))

    def _die(self, process: Process, crash: Crash) -> None:
        """Lose a process; the parent reports what it held, after a moment."""
        notice, task = process.notice, process.task
        process.life += 1
        process.is_dead = True
        process.task, process.reading = None, []  # the dead prove nothing; the parent still holds
        if task is not None:
            self._note_death(task, crash)
        self._after(
            0.02 + self.world.rng.random(), lambda: self._report(process, notice, task, crash)
        )

    def _report(
        self, process: Process, notice: Notice | None, task: ChunkTask | None, crash: Crash
    ) -> None:
        if notice is not None and task is None and not self._is_cut():
            task = self.broker.kept.claims.pop((notice.job, notice.delivery), None)
            if task is not None:
                crash = Crash(was_seen=True)
                self._note_death(task, crash)
        if task is not None and not self._is_cut() and not self.broker.is_full:
            self._add(self._result(task, Outcome.CRASHED, crash=crash))
        elif task is not None:
            self._note_death(task, Crash())  # unreported: that of the worker looks the same
        self._free(process)

    # -- answering ----------------------------------------------------------------------------

    def _answer_in(
        self, seconds: float, process: Process, task: ChunkTask, outcome: Outcome
    ) -> None:
        self._after(seconds, lambda: self._answer(process, task, outcome), process)

    def _answer(self, process: Process, task: ChunkTask, outcome: Outcome) -> None:
        self._answered.append((self.world.now, task))
        items = task.items if outcome is Outcome.DONE else ()
        result = self._result(task, outcome, rows=tuple(self._row(task, i.index) for i in items))
        self._deliver(process, result, task.job, self.world.now + GIVE_UP_S)

    def _result(
        self,
        task: ChunkTask,
        outcome: Outcome,
        *,
        rows: tuple[Row, ...] = (),
        crash: Crash | None = None,
    ) -> ChunkResult:
        took_s = self.habits.image_s * len(task.items)
        return ChunkResult(
            *(task.delivery, self.name, outcome, task.token, rows, took_s), crash=crash
        )

    def _row(self, task: ChunkTask, index: int) -> Row:
        if task.job != self.job:
            return Row(index, "9999", 0.5)
        self.images.reads[index] += 1
        if not self.habits.has_dns:
            return Row(index, None, reason=Reason.DNS)
        kind = self.images.kinds[index]
        if kind is Kind.GONE:
            return Row(index, None, reason=Reason.HTTP_STATUS)
        if kind is Kind.FLAKY and self.world.chance(0.5):
            return Row(index, None, reason=self.world.rng.choice(PASSING))
        return Row(index, text_of(index), self.world.rng.random())

    def _deliver(self, process: Process, result: ChunkResult, job: str, until: float) -> None:
        if self._is_cut() or self.broker.is_full:
            if self.world.now > until:
                self.world.fault("answer lost", result.delivery, images=len(result.rows))
                self._free(process)
            else:
                wait_s = self.world.rng.random() * 4
                self._after(wait_s, lambda: self._deliver(process, result, job, until), process)
            return
        self._add(result, job)
        self._free(process)

    answers_doubled = 0.0
    """Share of answers whose worker never hears that they arrived, and sends them again."""

    def _add(self, result: ChunkResult, job: str = "") -> None:
        self.world.say(self.name, "answers", result.delivery, result.outcome, result.crash or "")
        self.broker.add(job or self.job, result)
        if self.world.chance(self.answers_doubled):
            self.world.fault("answer doubled", result.delivery)
            self.world.at(self.world.rng.random() * 5, lambda: self._add_again(result, job))

    def _add_again(self, result: ChunkResult, job: str) -> None:
        self.broker.add(job or self.job, result)

    def _free(self, process: Process) -> None:
        _empty(process)
        self._begin_some()
        self._leave_if_done()
        self.poke()

    def _leave_if_done(self) -> None:
        if self.is_alive and self.is_draining and not self.in_hand():
            if not self._is_cut():
                self.broker.kept.beats.pop(self.name, None)
                self.broker.kept.names.pop(self.name, None)
            self.world.say(self.name, "leaves")
            self._vanish()
            self.world.at(5 * self.world.rng.random(), self.start)


def _empty(process: Process) -> None:
    process.life += 1
    process.is_dead = False
    process.notice = process.task = process.last = None
    process.reading = []

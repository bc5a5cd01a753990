"""A worker that somebody else controls: it has a worker's rights in Redis, and uses them all."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from broker.chunks import Notice
from broker.claims import ChunkTask, prove
from broker.heartbeats import WORKERS_KEY, Heartbeat
from broker.results import ChunkResult, Crash, Outcome, Row
from contract.reasons import Reason
from tests.simulation.broker import HEARTBEAT, Broker
from tests.simulation.images import Images

assert WORKERS_KEY  # the list of names is anybody's to write, which `_strike_off` does
FORGED = "0000X"  # no honest worker writes it
OWN_LIE = "X"
WRONG_TOKEN = "0" * 32


class Liar:
    """A thief of one Pi's key."""

    def __init__(self, broker: Broker, images: Images, *, job: str) -> None:
        self.broker, self.images, self.job = broker, images, job
        self.world = broker.world
        self.is_alive = False
        self.own: list[ChunkTask] = []
        self.attacks: list[Callable[[], None]] = [
            *(self._forge_answer, self._forge_crash, self._forge_with_own_token),
            *(self._answer_of_another_job, self._claim, self._claim, self._steal_notice),
            *(self._answer_own_crookedly, self._accuse_own, self._blame_another),
            *(self._strike_off, self._claim_to_hold_all, self._be_many, self._fill_queue),
            *(self._block_stream, self._age_another),
        ]

    def start(self, *, every_s: float) -> None:
        """Begin, with some of the attacks, so that each is seen without the others too."""
        self.is_alive = True
        rng = self.world.rng
        chosen = rng.sample(self.attacks, k=rng.randint(1, len(self.attacks)))

        def attack() -> None:
            if self.is_alive:
                if not self.broker.is_away and not self.broker.is_full:
                    rng.choice(chosen)()
                self.world.at(rng.expovariate(1 / every_s), attack)

        attack()

    def revoke(self) -> None:
        """Take its key away."""
        self.is_alive = False

    # -- answers ------------------------------------------------------------------------------

    def _forge_answer(self) -> None:
        self._answer_all(WRONG_TOKEN)

    def _forge_with_own_token(self) -> None:
        if self.own:
            self._answer_all(self.world.rng.choice(self.own).token)

    def _answer_all(self, token: str) -> None:
        for (job, delivery), task in list(self.broker.kept.claims.items()):
            if job == self.job and token != task.token:
                rows = tuple(Row(item.index, FORGED, 1.0) for item in task.items)
                self._add(ChunkResult(delivery, "pi1", Outcome.DONE, token, rows, 0.0))

    def _forge_crash(self) -> None:
        for delivery in self._sent():
            crash = Crash(was_seen=True, image=self.world.rng.randrange(len(self.images.kinds)))
            self._add(ChunkResult(delivery, "pi1", Outcome.CRASHED, WRONG_TOKEN, crash=crash))

    def _answer_of_another_job(self) -> None:
        """Bring what was claimed of another job, under its own token."""
        for (job, delivery), task in list(self.broker.kept.claims.items()):
            if job != self.job:
                rows = tuple(Row(item.index, FORGED, 1.0) for item in task.items)
                self._add(ChunkResult(delivery, "pi1", Outcome.DONE, task.token, rows, 0.0))

    def _sent(self) -> list[int]:
        """Guess which deliveries are out: all numbers up to the latest."""
        known = [delivery for job, delivery in self.broker.kept.claims if job == self.job]
        return list(range(1, max(known, default=1) + 1))

    def _add(self, result: ChunkResult) -> None:
        self.world.fault("lie: answer", f"{result.delivery} {result.outcome}")
        self.broker.add(self.job, result, is_true=False)

    # -- its own chunks -----------------------------------------------------------------------

    def _claim(self) -> None:
        """Claim what its number is known of, as any worker may."""
        ours = [claim for claim in self.broker.kept.claims if claim[0] == self.job]
        if ours:
            task = self.broker.kept.claims.pop(self.world.rng.choice(ours))
            self.own.append(task)
            self.images.stolen.update(item.index for item in task.items)
            self.world.fault("lie: claimed", task.delivery, images=len(task.items))

    def _answer_own_crookedly(self) -> None:
        if not self.own:
            return
        task = self.world.rng.choice(self.own)
        rows = [Row(item.index, OWN_LIE, 1.0) for item in task.items]
        crooked = self.world.rng.randrange(4)
        if crooked == 0:
            rows = rows[1:]
        elif crooked == 1:
            rows = [msgspec.structs.replace(row, index=row.index + 1) for row in rows]
        elif crooked == 2:
            rows = [msgspec.structs.replace(row, text="beyond the symbols") for row in rows]
        result = ChunkResult(task.delivery, "liar", Outcome.DONE, task.token, tuple(rows), 0.0)
        self._add(result)

    def _accuse_own(self) -> None:
        if self.own:
            task = self.world.rng.choice(self.own)
            crash = Crash(was_seen=True, image=self.world.rng.choice(task.items).index)
            self._add(ChunkResult(task.delivery, "liar", Outcome.CRASHED, task.token, crash=crash))

    def _blame_another(self) -> None:
        """Let an honest worker seem to be without DNS."""
        if self.own:
            task = self.world.rng.choice(self.own)
            rows = tuple(Row(item.index, None, reason=Reason.DNS) for item in task.items)
            self._add(ChunkResult(task.delivery, "pi1", Outcome.DONE, task.token, rows, 0.0))

    # -- queue, names and heartbeats ----------------------------------------------------------

    def _steal_notice(self) -> None:
        if self.broker.kept.queue:
            notice = self.broker.kept.queue.pop()
            task = self.broker.kept.claims.get((notice.job, notice.delivery))
            images = len(task.items) if task is not None else 0
            self.world.fault("lie: notice stolen", notice.task_id(), images=images)

    def _fill_queue(self) -> None:
        self.world.fault("lie: queue filled")
        for delivery in self._sent()[-5:]:
            self.broker.push(Notice(self.job, delivery, "model"), first=self.world.chance(0.5))
            self.broker.push(Notice("nobodys", delivery, "model"))

    def _strike_off(self) -> None:
        """Take others off the list of names; their heartbeats are out of its reach."""
        self.world.fault("lie: struck off")
        self.broker.kept.names.clear()

    def _age_another(self) -> None:
        self.world.fault("lie: name aged")
        for name in self.broker.kept.names:
            self.broker.kept.names[name] = self.world.rng.choice((0.0, float("inf")))

    def _claim_to_hold_all(self) -> None:
        self.world.fault("lie: holds all")
        task_ids = tuple(f"{self.job}.{delivery}" for delivery in self._sent())
        proofs = (WRONG_TOKEN, *(prove(task.token) for task in self.own))
        self.broker.beat(self._heartbeat("liar", task_ids, proofs))

    def _be_many(self) -> None:
        self.world.fault("lie: many")
        for number in range(5):
            self.broker.beat(self._heartbeat(f"liar+{number}", (), ()))

    def _block_stream(self) -> None:
        """Add what claims to be of the far future: the producer makes the stream anew."""
        self.world.fault("lie: stream blocked", images=len(self.images.kinds))
        self.broker.kept.streams.pop(self.job, None)

    def _heartbeat(
        self, name: str, task_ids: tuple[str, ...], proofs: tuple[str, ...]
    ) -> Heartbeat:
        return msgspec.structs.replace(
            HEARTBEAT,
            worker=name,
            processes=self.world.rng.choice((0, 1, 1024)),
            in_hand=task_ids,
            proofs=proofs,
            refused={"model": "a lie"} if self.world.chance(0.3) else {},
        )

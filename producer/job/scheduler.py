"""Run one job to its end: send, collect, reconcile, and wait out whatever fails.

Each step reads the stream before it sends or judges, so that nothing is sent again that has an
answer. Redis may go away and come back, empty or not: the ledger is the truth.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf

from broker.claims import ChunkTask, Item, make_token, prove
from broker.connection import redis_errors
from broker.heartbeats import MAX_WORKERS, Fleet
from broker.rates import NO_BUCKET
from broker.results import ChunkResult, Crash, Outcome
from contract.clocks import USUAL, Clocks
from contract.errors import AccessError, ServiceError
from contract.reasons import Reason
from producer.job.answer_check import answer_check
from producer.job.deliveries import NOT_SENT, WIPED, Deliveries, Taken
from producer.job.doors import Doors
from producer.job.outliers import Outliers
from producer.job.pace import Pace, Priority, most_out
from producer.job.reconciler import Cause, Reconciler
from producer.job.refusals import Refusals
from producer.job.spec import Change, Counts, JobSpec
from producer.job.store import Ledger

log = logging.getLogger(__name__)

WAIT_MS = 250  # for an answer, before looking around again
SENT_AT_ONCE = 32  # chunks; those that follow are made while workers begin
MAX_BACKOFF_S = 10.0
RECALL_S = 5.0  # for the chunks in hand of a job that is cancelled; workers look once a second
MIN_QUORUM = 2  # workers, before a failure that may be a machine's own needs a second witness

# Whoever claimed it is gone, and was never heard with it: it may have died at once. That says as
# little as a process that dies between two images.
CLAIMED_AND_LOST = Crash(was_seen=True)

CANCELLED_KEY = "cancelled"
SIGNATURE_KEY = "signature"  # of the model, where it has one


@dataclass(frozen=True, slots=True)
class RunOptions:
    """How a job is run; what it reads is in its ``JobSpec``.

    Attributes:
        redis_url: the broker.
        chunk: the most images a task.
        priority: beside other jobs.
        url_of: turns a ledger's URL into the one that workers fetch.
        is_served: the producer itself serves the images, so they fail while it is away.
        clocks: of the fleet.
        is_traced: whether a span is sent for each delivery.
    """

    redis_url: str
    chunk: int = 128
    priority: Priority = Priority.NORMAL
    url_of: Callable[[str], str] = str
    is_served: bool = False
    clocks: Clocks = USUAL
    is_traced: bool = False


@dataclass(frozen=True, slots=True)
class Progress:
    """A running job, for whoever shows it.

    Attributes:
        counts: how many images stand where.
        fleet: as last seen.
        repeats: answers to images that had one already.
        resent: images that were sent again.
        problem: what it waits for; empty while it gets on.
    """

    counts: Counts
    fleet: Fleet
    repeats: int
    resent: int
    problem: str = ""


class JobRun:
    """One run of the producer over one ledger."""

    def __init__(self, ledger: Ledger, doors: Doors, options: RunOptions) -> None:
        self._ledger = ledger
        self._deliveries = Deliveries(ledger)
        self._doors = doors
        self._options = options
        self._spec: JobSpec = ledger.spec
        self._stream, self._claims = doors.stream, doors.claims
        self._stream.position = ledger.get("position") or "0"
        self._secret = ledger.secret
        self._check = answer_check(ledger, self._deliveries.members)
        self._reconciler = Reconciler(
            self._spec.job, hedge=not self._spec.is_limited, clocks=options.clocks
        )
        self._hosts = ledger.hosts() if self._spec.per_host is not None else set()
        job, most = self._spec.job, most_out(self._spec, len(self._hosts))
        self._pace = Pace(job, options.chunk, options.priority, most)
        self._counts = ledger.counts()
        self._fleet = Fleet()
        self._met: dict[str, None] = {}
        self._looked_at = -inf
        self._repeats = 0
        self._resent = 0
        self._outliers = Outliers()
        self._refusals = Refusals(self._spec, ledger.path)
        self._is_cancelled = False
        self._is_model_due = False
        self._is_bucket_broken = False
        self._wait_ms = 0  # the first step sends at once
        self._older = self._take_over()

    @property
    def progress(self) -> Progress:
        """How far the job is."""
        return Progress(self._counts, self._fleet, self._repeats, self._resent)

    def run(self, report: Callable[[Progress], None]) -> Progress:
        """Work until every image has its answer.

        Args:
            report: called after each step.

        Raises:
            ModelError: no worker can use the model.
            UserError: workers and producer do not understand each other.
            OutputError: the ledger cannot be written.
        """
        failures = 0
        while self._counts.open and not self._is_cancelled:
            try:
                with redis_errors(self._options.redis_url):
                    self._step()
                failures = 0
            except ServiceError as error:
                failures += 1
                self._reconciler.interrupted()
                self._wait_out(error, failures, report)
            report(self.progress)
        self._end()
        return self.progress

    def send_all(self, report: Callable[[Progress], None]) -> None:
        """Send everything at once and leave; ``collect`` ends the job.

        Raises:
            ServiceError: Redis went away; what was not sent waits in the ledger.
        """
        with redis_errors(self._options.redis_url):
            self._ensure_open()
            self._look()
            while taken := self._take_chunks(window=inf, most=self._options.chunk):
                self._send(taken)
                report(self.progress)

    def close(self) -> None:
        """Leave what the run reached the world by."""
        self._claims.close()

    # -- one step -----------------------------------------------------------------------------

    def _step(self) -> None:
        is_look_due = self._is_look_due
        if is_look_due:
            self._is_cancelled = self._ledger.get(CANCELLED_KEY) is not None
            if self._is_cancelled:
                self._recall()
                return
            self._doors.repair(buckets=self._is_bucket_broken)
            self._is_bucket_broken = False
            self._ensure_open()
            self._look()
            self._looked_at = self._doors.monotonic()
        self._collect()
        if self._is_model_due:  # after all answers were noted: Redis may be away again
            self._push_model()
        if is_look_due:
            self._stream.trim()
            self._refusals.check(self._fleet, self._doors.monotonic())
            self._rest_outliers()
            self._reconcile()
        self._wait_ms = WAIT_MS if self._fill_window() else 0

    @property
    def _is_look_due(self) -> bool:
        return self._doors.monotonic() - self._looked_at >= self._options.clocks.look_s

    def _look(self) -> None:
        """Look at the fleet; whoever was met is asked by name, though it be off every list."""
        self._fleet = self._doors.look(self._options.clocks, list(self._met))
        self._met |= dict.fromkeys(worker.worker for worker in self._fleet.workers)
        if len(self._met) > MAX_WORKERS:
            self._met = dict.fromkeys(worker.worker for worker in self._fleet.workers)
        if len(self._fleet.workers) >= MIN_QUORUM:
            self._deliveries.meet_second_worker()

    def _ensure_open(self) -> None:
        """Make the stream and the model be there; where Redis was wiped, send all again.

        The stream comes last: where it stands, all of this was done, whatever struck on the way.
        """
        if self._stream.is_there():
            return
        for delivery in list(self._reconciler.out):
            self._give_up(delivery, WIPED)
        self._claims.resume()
        self._push_model()
        self._stream.make()
        self._ledger.put("position", self._stream.position)

    def _collect(self) -> None:
        """Read the stream to its end."""
        wait_ms = self._wait_ms
        while True:
            answers, position, has_more = self._stream.read(wait_ms=wait_ms)
            results = self._check.acceptable(answers)
            done = [result for result in results if result.outcome is Outcome.DONE]
            forgiven = self._older if self._options.is_served else set()
            if position != self._stream.position:
                self._apply(self._deliveries.record(done, position=position, forgive=forgiven))
                self._stream.position = position  # only now: the rows are in the ledger
            for result in results:
                self._note(result)
            if not has_more:
                return
            wait_ms = 0

    def _recall(self) -> None:
        """Stop the fleet, and keep what it has read: a chunk in hand is answered as it stands."""
        unclaimed = self._claims.withdraw(self._reconciler.out) or 0
        self._claims.recall()
        give_up_at = self._doors.monotonic() + RECALL_S
        self._wait_ms = 0
        self._collect()
        self._wait_ms = WAIT_MS
        while len(self._reconciler.out) > unclaimed and self._doors.monotonic() < give_up_at:
            self._collect()
        if len(self._reconciler.out) <= unclaimed:
            self._claims.resume()  # nobody reads it any more

    def _note(self, result: ChunkResult) -> None:
        self._met[result.worker] = None
        self._refusals.note_answer(is_done=result.outcome is Outcome.DONE)
        if result.outcome is Outcome.DONE:
            self._is_bucket_broken |= any(NO_BUCKET in row.detail for row in result.rows)
            self._outliers.note(result)
            self._reconciler.answered(result.delivery, result.took_s)
            self._claims.ended(result.delivery, result.outcome, is_answer=True)
            return
        log.warning(
            "chunk failed job=%s delivery=%d worker=%s outcome=%s detail=%s",
            *(self._spec.job, result.delivery, result.worker, result.outcome, result.detail),
        )
        if result.outcome in (Outcome.NO_MODEL, Outcome.BAD_MODEL):
            self._is_model_due = True  # a worker refuses one whose signature is not there yet, too
        crash = result.crash or Crash() if result.outcome is Outcome.CRASHED else None
        self._give_up(result.delivery, result.outcome, crash)

    def _rest_outliers(self) -> None:
        """Ask workers to rest whose failures stand out: what they failed, others may read."""
        for worker, why in self._outliers.find().items():
            log.warning("rests job=%s worker=%s: %s", self._spec.job, worker, why)
            self._doors.ask_to_rest(worker, why)
            self._outliers.forget(worker)

    def _reconcile(self) -> None:
        losses = self._reconciler.look(self._fleet, self._doors.monotonic())
        is_understood = bool(self._fleet.proven)  # whoever claims chunks is of our version
        is_silent = False
        for loss in losses:
            log.warning(
                "sent again job=%s delivery=%d cause=%s worker=%s",
                *(self._spec.job, loss.delivery, loss.cause, loss.holder),
            )
            crash = Crash() if loss.is_death else None
            is_unclaimed = self._give_up(loss.delivery, loss.cause, crash)
            is_silent |= loss.cause is Cause.VANISHED
            is_understood |= not is_unclaimed
            if loss.cause is Cause.STRAGGLER:
                again = self._deliveries.take(self._options.chunk)
                if again is not None:
                    self._send([again])  # now, while somebody is idle
        self._refusals.note_losses(is_understood=is_understood, is_silent=is_silent)

    def _give_up(self, delivery: int, why: str, crash: Crash | None = None) -> bool:
        """End a delivery without an answer, and tell whether it may never have been begun."""
        self._reconciler.ended(delivery)
        self._claims.ended(delivery, why, is_answer=False)
        withdrawn = self._claims.withdraw([delivery])
        is_unclaimed = withdrawn != 0
        if why == Cause.VANISHED and not is_unclaimed:
            crash = CLAIMED_AND_LOST
        was_begun = withdrawn != 1  # or nobody knows
        change = self._deliveries.give_up(delivery, why, crash=crash, was_begun=was_begun)
        self._resent += change.again
        self._apply(change)
        return is_unclaimed

    def _push_model(self) -> None:
        signature = self._ledger.get(SIGNATURE_KEY)
        self._doors.push_model(self._spec.model, self._ledger.model, signature)
        packed = self._ledger.automaton
        if self._spec.automaton is not None and packed is not None:
            self._doors.push_automaton(self._spec.automaton, packed)
        self._is_model_due = False

    # -- sending ------------------------------------------------------------------------------

    def _fill_window(self) -> bool:
        """Send until enough is out, but no longer than until the next look at the fleet.

        A thousand workers want a million images at once, which takes seconds; what they answer
        meanwhile, and whether they live, has to be seen before.

        Returns:
            Whether nothing more can be sent before something comes back.
        """
        window = self._pace.window(self._fleet, self._reconciler)
        most = self._pace.most_in_chunk(self._fleet, self._reconciler)
        while taken := self._take_chunks(window=window, most=most):
            self._send(taken)
            if self._is_look_due:
                return False
        return True

    def _take_chunks(self, *, window: float, most: int) -> list[Taken]:
        """Take what may go out now, or some of it: one transaction, and one message to Redis.

        Args:
            window: the most chunks that may be out.
            most: images of a chunk.
        """
        pace = self._pace
        taken: list[Taken] = []
        chunks, images = len(self._reconciler.out), self._reconciler.images
        with self._ledger.writing():
            while chunks < window and images < pace.most_out and len(taken) < SENT_AT_ONCE:
                waiting = self._counts.open - images
                size = pace.chunk_size(self._fleet.processes, waiting=waiting, most=most)
                one = self._deliveries.take(size)
                if one is None:
                    break
                taken.append(one)
                chunks, images = chunks + 1, images + len(one.items)
        return taken

    def _send(self, taken: Sequence[Taken]) -> None:
        try:
            self._claims.send([self._task(one) for one in taken])
        except Exception:
            for one in taken:
                self._deliveries.give_up(one.delivery, NOT_SENT)
                self._claims.ended(one.delivery, NOT_SENT, is_answer=False)
            # their notices may be in the queue, or none ever be
            self._claims.withdraw([one.delivery for one in taken])
            raise
        for one in taken:
            self._note_sent(one.delivery, len(one.items), may_hedge=one.may_hedge)

    def _task(self, taken: Taken) -> ChunkTask:
        spec = self._spec
        return ChunkTask(
            *(spec.job, taken.delivery, spec.model, spec.symbols),
            items=tuple(Item(item.index, self._options.url_of(item.url)) for item in taken.items),
            token=make_token(self._secret, taken.delivery),
            rate=spec.rate,
            per_host=spec.per_host,
            automaton=spec.automaton,
        )

    def _note_sent(self, delivery: int, images: int, *, may_hedge: bool) -> None:
        proof = prove(make_token(self._secret, delivery))
        now = self._doors.monotonic()
        self._reconciler.sent(delivery, images, now, proof=proof, may_hedge=may_hedge)

    # -- beginning, end and trouble -----------------------------------------------------------

    def _take_over(self) -> set[int]:
        """Take over what an earlier run left out; it may still be answered."""
        left = self._deliveries.out()
        for delivery, images in left.items():
            self._note_sent(delivery, images, may_hedge=self._deliveries.may_hedge(delivery))
        return set(left)

    def _end(self) -> None:
        """Leave Redis as it was; a job that was cancelled fails what it did not read."""
        unclaimed = list(self._reconciler.out)
        if self._counts.open:
            failed = self._deliveries.fail_open(Reason.CANCELLED)
            self._apply(Change(failed=failed))
        try:
            with redis_errors(self._options.redis_url):
                self._stream.delete()
                self._claims.withdraw(unclaimed)
                self._doors.forget_limits(self._hosts)
        except (ServiceError, AccessError) as error:
            log.warning("job=%s left its stream in Redis: %s", self._spec.job, error)

    def _wait_out(
        self, error: ServiceError, failures: int, report: Callable[[Progress], None]
    ) -> None:
        progress = self.progress
        report(Progress(progress.counts, Fleet(), progress.repeats, progress.resent, str(error)))
        log.warning("waiting for Redis job=%s: %s", self._spec.job, error)
        self._doors.sleep(min(MAX_BACKOFF_S, 0.2 * 2.0**failures))

    def _apply(self, change: Change) -> None:
        self._repeats += change.repeats
        self._counts = Counts(
            total=self._counts.total,
            read=self._counts.read + change.read,
            failed=self._counts.failed + change.failed,
            out=self._reconciler.images,
        )

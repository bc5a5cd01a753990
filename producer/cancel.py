"""Cancel a job, whether a producer is at work on it or not."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from broker.claims import Claims
from broker.connection import connect, redis_errors
from broker.rates import forget_limits
from broker.results import Outcome, ResultStream
from contract.errors import LedgerError
from contract.reasons import Reason
from contract.settings import Settings
from producer.job.answer_check import AnswerCheck, answer_check
from producer.job.deliveries import Deliveries
from producer.job.scheduler import CANCELLED_KEY, RECALL_S, WAIT_MS
from producer.job.store import Ledger, is_in_use
from producer.registry import find_output
from producer.submission import ledger_path, load_layout, write_submission

if TYPE_CHECKING:
    from redis import Redis


def cancel(job: str, settings: Settings) -> str:
    """Cancel a job, and say in a sentence what that meant.

    Workers skip its chunks as soon as its claims are gone, and answer what they have read of one
    in hand. A producer that is at work on the job sees the note in the ledger, keeps what came, and
    writes the submission; otherwise that is done here.

    Raises:
        LedgerError: there is no such job, or it is over.
        ServiceError: Redis cannot be reached.
    """
    output = find_output(settings.state_dir, job)
    path = ledger_path(output)
    with connect(settings.redis_url) as client, redis_errors(settings.redis_url):
        if is_in_use(path):
            with Ledger(path, shared=True) as ledger:
                ledger.put(CANCELLED_KEY, "1")
                return f"job {ledger.spec.job} is told to stop; its producer writes {output}"
        with Ledger(path) as ledger:
            if not ledger.counts().open:
                raise LedgerError(f"job {ledger.spec.job} is over already: see {output}")
            ledger.put(CANCELLED_KEY, "1")
            stop(ledger, client)
            write_submission(ledger, output, load_layout(ledger))
            counts = ledger.counts()
            return (
                f"job {ledger.spec.job} cancelled: {counts.read:,} of {counts.total:,} images were"
                f" read and are kept -> {output}"
            )


def stop(ledger: Ledger, client: Redis) -> None:
    """Stop the fleet, then take what it had read, then fail the rest.

    Raises:
        ServiceError: Redis went away.
    """
    job, deliveries = ledger.spec.job, Deliveries(ledger)
    claims = Claims(client, job)
    unclaimed = claims.withdraw(deliveries.out()) or 0
    claims.recall()
    stream = ResultStream(client, job, position=ledger.get("position") or "0")
    check = answer_check(ledger, deliveries.members)
    _collect(stream, check, deliveries, wait_ms=0)
    give_up_at = time.monotonic() + RECALL_S
    while len(deliveries.out()) > unclaimed and time.monotonic() < give_up_at:
        _collect(stream, check, deliveries, wait_ms=WAIT_MS)
    if len(deliveries.out()) <= unclaimed:
        claims.resume()  # nobody reads it any more
    stream.delete()
    forget_limits(client, job, ledger.hosts() if ledger.spec.per_host is not None else set())
    deliveries.fail_open(Reason.CANCELLED)


def _collect(
    stream: ResultStream, check: AnswerCheck, deliveries: Deliveries, *, wait_ms: int
) -> None:
    has_more = True
    while has_more:
        answers, position, has_more = stream.read(wait_ms=wait_ms)
        wait_ms = 0
        done = [one for one in check.acceptable(answers) if one.outcome is Outcome.DONE]
        if position != stream.position:
            deliveries.record(done, position=position, forgive=set())
            stream.position = position  # only now: the rows are in the ledger

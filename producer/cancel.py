"""Cancel a job, whether a producer is at work on it or not."""

from __future__ import annotations

from broker.claims import Claims
from broker.connection import connect
from broker.rates import forget_limits
from broker.results import ResultStream
from contract.errors import LedgerError
from contract.reasons import Reason
from contract.settings import Settings
from producer.job.deliveries import Deliveries
from producer.job.scheduler import CANCELLED_KEY
from producer.job.store import Ledger, is_in_use
from producer.registry import find_output
from producer.submission import ledger_path, load_layout, write_submission


def cancel(job: str, settings: Settings) -> str:
    """Cancel a job, and say in a sentence what that meant.

    Workers skip its chunks as soon as its claims are gone. A producer that is at work on it
    sees the note in the ledger and writes the submission; otherwise that is done here.

    Raises:
        LedgerError: there is no such job, or it is over.
        ServiceError: Redis cannot be reached.
    """
    output = find_output(settings.state_dir, job)
    path = ledger_path(output)
    with connect(settings.redis_url) as client:
        if is_in_use(path):
            with Ledger(path, shared=True) as ledger:
                ledger.put(CANCELLED_KEY, "1")
                return f"job {ledger.spec.job} is told to stop; its producer writes {output}"
        with Ledger(path) as ledger:
            if not ledger.counts().open:
                raise LedgerError(f"job {ledger.spec.job} is over already: see {output}")
            ledger.put(CANCELLED_KEY, "1")
            ResultStream(client, ledger.spec.job).delete()
            Claims(client, ledger.spec.job).withdraw(Deliveries(ledger).out())
            forget_limits(client, ledger.spec.job, _hosts(ledger))
            failed = Deliveries(ledger).fail_open(Reason.CANCELLED)
            write_submission(ledger, output, load_layout(ledger))
            return f"job {ledger.spec.job} cancelled, {failed} images unread -> {output}"


def _hosts(ledger: Ledger) -> set[str]:
    return ledger.hosts() if ledger.spec.per_host is not None else set()

"""The images of a job that failed for good: look at them, and try them again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import msgspec

from contract.errors import SettingsError
from contract.reasons import Reason
from contract.settings import Settings
from producer.job.deliveries import Deliveries
from producer.job.store import Ledger
from producer.registry import find_output
from producer.submission import ledger_path
from producer.submit import JobSummary, finish

FIELDS = ("name", "reason", "detail", "attempts", "worker", "url")


@dataclass(frozen=True, slots=True)
class DeadImage:
    """An image without a text, and why; the fields are the ledger's."""

    name: str
    reason: str
    detail: str
    attempts: str
    worker: str
    url: str


def dead_images(job: str, reason: str | None, settings: Settings) -> Iterator[DeadImage]:
    """Yield a job's failed images by name.

    Raises:
        LedgerError: there is no such job.
        SettingsError: there is no such reason.
    """
    wanted = check_reason(reason)
    output = find_output(settings.state_dir, job)
    with Ledger(ledger_path(output), read_only=True) as ledger:
        for row in ledger.rows(FIELDS, only_failed=True):
            image = DeadImage(*row)
            if wanted is None or image.reason == wanted:
                yield image


def count_reasons(images: list[DeadImage]) -> dict[str, int]:
    """Count images by reason, the most frequent first."""
    return dict(Counter(image.reason for image in images).most_common())


def replay(
    job: str,
    reason: str | None,
    settings: Settings,
    *,
    chunk: int,
    changes: Mapping[str, float | None],
) -> JobSummary:
    """Try a job's failed images again, and write its submission anew.

    Args:
        job: its id, or the path of its CSV.
        reason: only the images that failed for it; None takes all.
        settings: of this machine.
        chunk: the most images a task.
        changes: fields of the job's ``JobSpec``, such as ``rate``; those that are None stay.

    Raises:
        LedgerError: there is no such job, or it is being run.
        SettingsError: there is no such reason.
        ServiceError: Redis cannot be reached.
    """
    wanted = check_reason(reason)
    output = find_output(settings.state_dir, job)
    with Ledger(ledger_path(output)) as ledger:
        changed = {name: value for name, value in changes.items() if value is not None}
        ledger.change_spec(msgspec.structs.replace(ledger.spec, **changed))
        Deliveries(ledger).revive(wanted)
        return finish(ledger, output, settings, chunk=chunk)


def check_reason(reason: str | None) -> Reason | None:
    """Parse ``--reason``.

    Raises:
        SettingsError: names all the reasons there are.
    """
    if reason is None:
        return None
    try:
        return Reason(reason)
    except ValueError:
        raise SettingsError("--reason", reason, "one of " + ", ".join(Reason)) from None

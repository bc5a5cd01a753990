"""What a job came to, in words: why most of its failures failed, what is empty, what to do next."""

from __future__ import annotations

from collections.abc import Mapping

from contract.reasons import PASSING, Reason
from producer.job.spec import State
from producer.job.store import Ledger

NEXT_STEPS = {  # what has to change before trying again is worth anything
    Reason.FORBIDDEN_ADDRESS: "start workers with PIFLEET_FETCH_ALLOW=lan or another network",
    Reason.BAD_URL: "correct the list, and submit it with --restart",
    Reason.HTTP_STATUS: "open one of the URLs: it may be gone, or want a login",
    Reason.NOT_AN_IMAGE: "open one of the URLs: it may be a page that wants a login",
    Reason.DNS: "see whether the workers resolve the host's name",
    Reason.CONNECT: "see whether the workers reach the host",
    Reason.HTTP_BUSY: "ask for less at a time, with --rate or --per-host",
    Reason.TIMEOUT: "ask for less at a time, with --rate or --per-host",
}


def count_reasons(ledger: Ledger) -> dict[str, int]:
    """Count the failed images by reason, the most frequent first."""
    rows = ledger.db.execute(
        "SELECT reason, count(*) FROM image WHERE state = ? GROUP BY reason ORDER BY 2 DESC, 1",
        (State.FAILED,),
    )
    return dict(rows.fetchall())


def count_empty(ledger: Ledger) -> int:
    """Count the images that were read, and in which the model saw no symbol."""
    query = "SELECT count(*) FROM image WHERE state = ? AND text = ''"
    return int(ledger.db.execute(query, (State.READ,)).fetchone()[0])


def failure_words(job: str, reasons: Mapping[str, int], csv: str) -> str:
    """Say why most of a job's failures failed, and what to do about it."""
    failed = sum(reasons.values())
    reason, number = next(iter(reasons.items()))
    share = "all of them" if number == failed else f"{number:,} of them"
    return f"{failed:,} failed, {share} with {reason}: {next_step(job, Reason(reason))}; see {csv}"


def next_step(job: str, reason: Reason) -> str:
    """Say what to do about one reason."""
    again = f"`pifleet dead replay {job} --reason {reason}`"
    if reason is Reason.CANCELLED:
        return f"{again} goes on with them"
    if reason not in NEXT_STEPS:
        return f"{again} tries again" if reason in PASSING else f"`pifleet dead list {job}`"
    if reason is Reason.BAD_URL:
        return NEXT_STEPS[reason]
    return f"{NEXT_STEPS[reason]}, then {again}"


def empty_words(empty: int, read: int) -> str:
    """Say how many texts are empty, and what that may mean where all are."""
    if empty < read:
        return f"{empty:,} of {read:,} texts are empty: the model sees no symbol there"
    return (
        f"every text is empty, {read:,} of {read:,}: the model sees no symbol in these images; try"
        " another with --model, or look at one with `pifleet classify`"
    )

"""``python -m tests.simulation --seeds 0:1000``: run seeds; ``--seed N --verbose``: replay one."""

from __future__ import annotations

import multiprocessing
import time
from collections import Counter
from collections.abc import Iterator
from functools import partial

import click

from tests.simulation.job import Report, simulate

AT_ONCE = 50  # seeds that a process takes at a time


@click.command()
@click.option("--seeds", default="0:1000", show_default=True, help="FIRST:END, the end excluded")
@click.option("--seed", type=int, help="run this one only")
@click.option("--jobs", default=1, show_default=True, help="processes")
@click.option("--seconds", type=float, help="stop after so many")
@click.option("--verbose", is_flag=True, help="print what happens, line by line")
def main(seeds: str, seed: int | None, jobs: int, seconds: float | None, *, verbose: bool) -> None:
    """Simulate jobs under faults, and print each seed that breaks an invariant."""
    first, _, end = seeds.partition(":")
    wanted = range(int(first), int(end)) if seed is None else range(seed, seed + 1)
    started = time.monotonic()
    done: Counter[str] = Counter()
    faults: Counter[str] = Counter()
    for report in _reports(wanted, jobs=jobs, verbose=verbose):
        click.echo("\n".join(report.trace), nl=bool(report.trace))
        for violation in report.violations:
            click.echo(f"seed {report.seed}: {violation}")
        faults += report.faults
        done += Counter(seeds=1, broken=bool(report.violations), images=report.images)
        done += Counter(sent=report.sent, virtual_s=round(report.virtual_s))
        if seconds is not None and time.monotonic() - started > seconds:
            break
    _print_sums(done, faults, time.monotonic() - started)
    raise SystemExit(bool(done["broken"]))


def _reports(seeds: range, *, jobs: int, verbose: bool) -> Iterator[Report]:
    run = partial(simulate, verbose=verbose)
    if jobs == 1:
        yield from map(run, seeds)
        return
    with multiprocessing.Pool(jobs) as pool:
        yield from pool.imap_unordered(run, seeds, chunksize=AT_ONCE)


def _print_sums(done: Counter[str], faults: Counter[str], seconds: float) -> None:
    click.echo(
        f"{done['seeds']} seeds, {done['broken']} broken, {done['seeds'] / seconds:.1f} a second,"
        f" {done['images']} images sent {done['sent']} times, {done['virtual_s'] / 3600:.1f} hours"
        f" in {seconds:.0f} s, {faults.total()} faults"
    )
    for kind, number in faults.most_common():
        click.echo(f"{number:10d}  {kind}")


if __name__ == "__main__":
    main()

"""Commands of the producer: submit, collect, jobs, cancel, status."""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from contract.exit_codes import SOME_FAILED
from contract.settings import Settings

if TYPE_CHECKING:
    from producer.submission import Layout
    from producer.submit import JobSummary

Command = TypeVar("Command", bound=Callable[..., Any])

FILE = click.Path(path_type=Path, dir_okay=False)


class Finite(click.FloatRange):
    """A range that holds no NaN, which is neither below nor above any limit."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Read a number."""
        number = float(super().convert(value, param, ctx))
        if math.isnan(number):
            self.fail(f"{value} is no number", param, ctx)
        return number


POSITIVE = Finite(0.01, 100_000)


def redis_option(command: Command) -> Command:
    """Add ``--redis-url``."""
    return click.option(
        "--redis-url", help="Broker; default PIFLEET_REDIS_URL, then redis://127.0.0.1:6379/0."
    )(command)


PRIORITY = click.option(
    "--priority",
    type=click.Choice(["low", "normal", "high"]),
    default="normal",
    show_default=True,
    help="Beside other jobs: a third, or three times, of a normal one's share.",
)


def layout_options(command: Command) -> Command:
    """Add what shapes the submission."""
    for option in reversed(
        (
            click.option("--first-line", help="A line before all others, such as a user name."),
            click.option("--header/--no-header", default=False, help="Name the columns first."),
            click.option(
                "--columns",
                default="name,text",
                show_default=True,
                help="Of name, text, confidence, reason, worker, attempts, url, index.",
            ),
            click.option(
                "--spreadsheet-safe",
                is_flag=True,
                help="Write copies, .spreadsheet.csv, in which no cell is a formula.",
            ),
            click.option("--capitalise", is_flag=True, help="Write letters in upper case."),
            click.option("--json", "as_json", is_flag=True, help="Summary as JSON."),
        )
    ):
        command = option(command)
    return command


@click.command()
@click.argument("source")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default=Path("submission.csv"),
    show_default=True,
    help="The submission CSV; ledger and failures lie beside it.",
)
@click.option("--model", default="captcha", show_default=True, help="Shipped name, or a path.")
@click.option("--symbols", help="All that may be written, or a preset; default all the model's.")
@click.option("--pattern", help="That each text matches as a whole: '[A-Z]{4}[0-9]{2}'.")
@click.option("--lexicon", type=FILE, help="A file of words, one a line: each text is one of them.")
@click.option("--index-item", help="For an index page: the address of one image, with {name}.")
@click.option("--attempts", default=3, show_default=True, type=click.IntRange(1, 100))
@click.option("--chunk", default=128, show_default=True, type=click.IntRange(1, 1024))
@PRIORITY
@click.option("--rate", type=POSITIVE, help="Requests a second for the job, by the whole fleet.")
@click.option("--per-host", type=POSITIVE, help="Requests a second to each host, likewise.")
@click.option("--detach", is_flag=True, help="Send all, leave, and `pifleet collect` later.")
@click.option("--restart", is_flag=True, help="Begin anew, in place of an earlier run.")
@click.option("--dry-run", is_flag=True, help="Say what would be sent; send nothing.")
@layout_options
@redis_option
def submit(source: str, output: Path, detach: bool, dry_run: bool, **options: Any) -> None:
    """Run a job to its end; the same command again goes on where it stopped.

    SOURCE is a text file of URLs (or -), a CSV with the columns url and name, a folder of images,
    or the http(s) address of an index page.

    Presets of --symbols: digits, upper and lower (with digits), letters, alnum, seed-a.

    \b
    Example: pifleet submit urls.txt -o submission.csv
             pifleet submit photos/ --symbols digits
             pifleet submit photos/ --pattern '[A-Z]{2}-?[0-9]{4}'
             pifleet submit 'http://host/?user=bob' \\
                 --index-item 'http://host/?user=bob&myfilename={name}' --first-line bob
    """
    from producer import submit as jobs
    from producer.interrupt import going_on
    from producer.job.pace import Priority

    settings = job_settings(options.pop("redis_url"))
    as_json = options.pop("as_json")
    options["priority"] = Priority(options["priority"])
    request = jobs.Request(source=source, output=output, layout=_layout(options), **options)
    if dry_run:
        click.echo("\n".join(jobs.preview(request)))
    elif detach:
        with going_on(output):
            job = jobs.detach(request, settings)
        text = json.dumps({"job": job}) if as_json else f"sent; next: pifleet collect {job}"
        click.echo(text)
    else:
        with going_on(output):
            summary = jobs.submit(request, settings)
        conclude(summary, as_json=as_json)


@click.command()
@click.argument("job")
@click.option("--chunk", default=128, show_default=True, type=click.IntRange(1, 1024))
@PRIORITY
@click.option("--corrected", is_flag=True, help="Write it with what was put right, too.")
@click.option("--json", "as_json", is_flag=True, help="Summary as JSON.")
@redis_option
def collect(
    job: str, chunk: int, priority: str, corrected: bool, as_json: bool, redis_url: str | None
) -> None:
    """End a job that was detached or interrupted.

    JOB is its id, or the path of its CSV. With --corrected, what a person put right (`pifleet
    review`, `pifleet serve`) goes into submission.corrected.csv, beside the first submission.

    \b
    Example: pifleet collect 7f3a9c21
             pifleet collect 7f3a9c21 --corrected
    """
    from producer import submit as jobs
    from producer.interrupt import going_on
    from producer.job.pace import Priority
    from producer.registry import find_output

    settings = job_settings(redis_url)
    output = find_output(settings.state_dir, job)
    with going_on(output):
        summary = jobs.collect(job, settings, chunk=chunk, priority=Priority(priority))
    if corrected:
        from producer.review.review import Review

        click.echo(f"with corrections: {Review(output).write_corrected()}", err=True)
    conclude(summary, as_json=as_json)


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON array, with an object a job.")
@redis_option
def jobs(as_json: bool, redis_url: str | None) -> None:
    """List this machine's jobs; of open ones what workers have read by now counts, too.

    \b
    Example: pifleet jobs
    """
    from producer.registry import known_jobs
    from producer.tables import job_lines, jobs_json, jobs_table
    from producer.uncollected import all_uncollected

    settings = job_settings(redis_url)
    known = list(known_jobs(settings.state_dir))
    uncollected = all_uncollected(known, settings.redis_url)
    if as_json:
        click.echo(json.dumps(jobs_json(known, uncollected), indent=1))
    else:
        show(jobs_table(known, uncollected), lines=job_lines(known, uncollected))


@click.command()
@click.argument("job")
@redis_option
def cancel(job: str, redis_url: str | None) -> None:
    """End a job now; what it read stays, the rest fails as cancelled.

    \b
    Example: pifleet cancel 7f3a9c21
    """
    from producer.cancel import cancel as cancel_job

    click.echo(cancel_job(job, job_settings(redis_url)))


@click.command()
@click.option("--watch", is_flag=True, help="One screen of fleet and jobs, until q is pressed.")
@click.option("--json", "as_json", is_flag=True, help="For machines.")
@redis_option
def status(watch: bool, as_json: bool, redis_url: str | None) -> None:
    """Show the fleet: workers, rates, temperatures, and what waits.

    In a pipe it is a line a worker, with tabs between the columns.

    \b
    Example: pifleet status --watch
    """
    from broker.connection import connect, redis_errors
    from broker.heartbeats import look
    from producer.tables import fleet_json, fleet_lines, fleet_table
    from producer.watch import loop

    settings = job_settings(redis_url)
    with connect(settings.redis_url) as client, redis_errors(settings.redis_url):
        if as_json:
            click.echo(json.dumps(fleet_json(look(client, settings.clocks)), indent=1))
        elif watch:
            loop.watch(loop.Watcher(client, settings).look)
        else:
            fleet = look(client, settings.clocks)
            show(fleet_table(fleet), lines=fleet_lines(fleet))


def show(table: Any, *, lines: str) -> None:
    """Draw a table for a person; in a pipe, and where no COLUMNS is set, write its lines."""
    if sys.stdout.isatty() or "COLUMNS" in os.environ:
        from rich.console import Console

        Console().print(table)
    elif lines:
        click.echo(lines)


def job_settings(redis_url: str | None) -> Settings:
    """Read the settings; the flag wins over the environment."""
    return Settings.from_env(os.environ, redis_url=redis_url)


def _layout(options: dict[str, Any]) -> Layout:
    from producer.submission import Layout, check_line, parse_columns

    return Layout(
        columns=parse_columns(options.pop("columns")),
        header=options.pop("header"),
        first_line=check_line(options.pop("first_line")),
        is_spreadsheet_safe=options.pop("spreadsheet_safe"),
        capitalise=options.pop("capitalise"),
    )


def conclude(summary: JobSummary, *, as_json: bool) -> None:
    """Print how a job ended, and exit with what that means."""
    if as_json:
        click.echo(json.dumps(summary.to_json()))
    else:
        click.echo(
            f"job {summary.job}: {summary.read:,} of {summary.images:,} images read in"
            f" {summary.seconds:.1f} s ({summary.images_per_s:,.0f}/s) -> {summary.csv}"
        )
    _say_verdict(summary)


def _say_verdict(summary: JobSummary) -> None:
    """Say what was empty and what failed; nothing but empty texts is no success either."""
    from producer.verdict import empty_words, failure_words

    if summary.empty:
        click.echo(empty_words(summary.empty, summary.read), err=True)
    if summary.failed:
        words = failure_words(summary.job, summary.reasons, summary.failures_csv)
        click.echo(words, err=True)
    if summary.failed or (summary.empty and summary.empty == summary.read):
        raise SystemExit(SOME_FAILED)

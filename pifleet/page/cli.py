"""Commands of the page: serve, and what Review and Learn do, typed."""

from __future__ import annotations

import asyncio
import getpass
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from contract.settings import Settings

if TYPE_CHECKING:
    from producer.review.estimate import Estimate
    from producer.review.review import Review

FILE = click.Path(path_type=Path, dir_okay=False)
JSON = click.option("--json", "as_json", is_flag=True, help="For machines.")


def _login() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container's user may have no name
        return "somebody"


WHO = click.option("--who", default=_login, help="Who says so [default: your login].")


@click.command()
@click.option("--port", type=click.IntRange(0, 65535), default=8100, show_default=True)
@click.option(
    "--bind", default="127.0.0.1", show_default=True, help="Address to listen on; 0.0.0.0 for all."
)
@click.option("--name", "names", multiple=True, help="A host name it is reached by; repeatable.")
@click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    default=Path(),
    help="Lists and submissions go there, folders of images lie there [default: here].",
)
@click.option("--model", default="captcha", show_default=True, help="Chosen at first; or a path.")
@click.option("--flower", help="Its address, to be linked [default: where it runs here].")
@click.option("--grafana", help="Its address, likewise.")
@WHO
@click.option("--redis-url", help="Broker; default PIFLEET_REDIS_URL.")
def serve(redis_url: str | None, **options: Any) -> None:
    """Serve a page to try models, watch jobs and the fleet, and put readings right.

    It prints an address with a token in it, for this machine's browser alone unless --bind says
    otherwise. Ctrl-C ends it; jobs that it runs stop, and can go on.

    \b
    Example: pifleet serve --folder jobs/
    """
    from pifleet.page.app import ServeOptions, run_page

    settings = Settings.from_env(os.environ, redis_url=redis_url)
    run_page(ServeOptions(**options), settings)


@click.group()
def review() -> None:
    """Put a submission right by hand, and say how good it is by now.

    \b
    Example: pifleet review status 7f3a9c21
    """


@review.command()
@click.argument("job")
@JSON
def status(job: str, as_json: bool) -> None:
    """Say how many errors are left, and what exact match the submission has.

    JOB is its id, or the path of its CSV.

    \b
    Example: pifleet review status submission.csv
    """
    import msgspec

    estimate = _open(job).estimate()
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(estimate), indent=1).decode())
    else:
        click.echo("\n".join(told(estimate)))


@review.command("list")
@click.argument("job")
@click.option("-n", "most", type=click.IntRange(1, 200), default=20, show_default=True)
@JSON
def list_images(job: str, most: int, as_json: bool) -> None:
    """List the images that nobody looked at, the least sure first: name, text, confidence.

    \b
    Example: pifleet review list 7f3a9c21 -n 50
    """
    import msgspec

    images = _open(job).screen("least sure", most=most)
    if as_json:
        click.echo(json.dumps([msgspec.to_builtins(one) for one in images], indent=1))
        return
    for one in images:
        click.echo(f"{one.name}\t{one.read}\t{one.confidence:.4f}")


@review.command()
@click.argument("job")
@click.argument("file", type=FILE)
@WHO
def correct(job: str, file: Path, who: str) -> None:
    """Take a CSV of name,text as what you saw; a text that is as it was read is right.

    \b
    Example: pifleet review correct 7f3a9c21 seen.csv
    """
    found = _open(job)
    n = found.take_list(file, who=who)
    click.echo("\n".join([f"{n:,} taken", *told(found.estimate())]))


@review.command()
@click.argument("job")
@click.option("-o", "--out", type=click.Path(path_type=Path, file_okay=False), help="A new folder.")
@JSON
def export(job: str, out: Path | None, as_json: bool) -> None:
    """Write what was looked at as a labelled set, for `evaluate` and `train`.

    Images are fetched once, under the rules of a worker (PIFLEET_FETCH_ALLOW).

    \b
    Example: pifleet review export 7f3a9c21 -o mine
    """
    import msgspec

    from pifleet.page.images import open_images
    from pifleet.page.labelled import LabelledSet, labelled_path, write_labelled

    found = _open(job)

    async def write() -> LabelledSet:
        async with open_images(_settings()) as images:
            folder = out or labelled_path(found.output)
            return await write_labelled(found, folder, lambda one: images.data(found.spec, one))

    written = asyncio.run(write())
    if as_json:
        click.echo(msgspec.json.encode(written).decode())
        return
    for name, why in written.left_out.items():
        click.echo(f"{name}: left out: {why}", err=True)
    click.echo(
        f"{written.folder}: {written.images:,} images, {written.corrected:,} of them corrected"
    )
    click.echo("\n".join(["next:", *(f"  {command}" for command in written.next)]))


def told(estimate: Estimate) -> list[str]:
    """Say an estimate in lines, without more certainty than there is."""
    left, match = estimate.errors_left, estimate.exact_match
    lines = [
        f"looked at {estimate.looked_at:,} of {estimate.images - estimate.failed:,} that were read:"
        f" {estimate.wrong:,} wrong, where the model's confidences promised"
        f" {estimate.promised_wrong:.1f}",
        f"errors left among the others: about {left.value:,.0f} ({left.low:,.0f} to"
        f" {left.high:,.0f} with 95 %)",
        f"exact match with the corrections: {_percent(match.value)} ({_percent(match.low)} to"
        f" {_percent(match.high)}); without them about {_percent(estimate.exact_match_before)}",
    ]
    if estimate.failed:
        lines.append(f"{estimate.failed:,} images have no text, and count as errors in that")
    if (spot := estimate.spot_check) is not None:
        word = "as" if spot.agrees else "other than"
        lines.append(
            f"{spot.n:,} chosen at random: {spot.wrong:,} wrong, so {spot.errors.low:,.0f} to"
            f" {spot.errors.high:,.0f} errors left by these alone, {word} their confidences promise"
        )
    return lines


def _percent(share: float) -> str:
    return f"{100 * share:.2f} %"


def _settings() -> Settings:
    return Settings.from_env(os.environ)


def _open(job: str) -> Review:
    from producer.registry import find_output
    from producer.review.review import Review

    return Review(find_output(_settings().state_dir, job))

"""Commands about failed images: dead list, dead replay."""

from __future__ import annotations

import json
from dataclasses import asdict

import click

from producer.cli import POSITIVE, conclude, job_settings, redis_option, show


@click.group()
def dead() -> None:
    """Look at the images that failed, and try them again.

    \b
    Example: pifleet dead list 7f3a9c21
    """


@dead.command("list")
@click.argument("job")
@click.option("--reason", help="Only those that failed for it, such as timeout.")
@click.option("--json", "as_json", is_flag=True, help="One JSON array.")
def list_dead(job: str, reason: str | None, as_json: bool) -> None:
    """List a job's failed images: name, reason, detail.

    \b
    Example: pifleet dead list 7f3a9c21 --reason timeout
    """
    from producer.dead import count_reasons, dead_images
    from producer.tables import dead_table

    images = list(dead_images(job, reason, job_settings(None)))
    if as_json:
        click.echo(json.dumps([asdict(image) for image in images], indent=1))
        return
    lines = "\n".join(f"{image.name}\t{image.reason}\t{image.detail}" for image in images)
    show(dead_table(images), lines=lines)
    counts = ", ".join(f"{number} {reason}" for reason, number in count_reasons(images).items())
    click.echo(f"{counts or 'none failed'}; next: pifleet dead replay {job}", err=True)


@dead.command()
@click.argument("job")
@click.option("--reason", help="Only those that failed for it, such as timeout.")
@click.option("--chunk", default=128, show_default=True, type=click.IntRange(1, 1024))
@click.option("--json", "as_json", is_flag=True, help="Summary as JSON.")
@click.option("--rate", type=POSITIVE, help="As of `submit`; default as the job had it.")
@click.option("--per-host", type=POSITIVE, help="Likewise.")
@click.option("--attempts", type=click.IntRange(1, 100), help="Likewise.")
@redis_option
def replay(
    job: str,
    reason: str | None,
    chunk: int,
    as_json: bool,
    redis_url: str | None,
    **changes: float | None,
) -> None:
    """Try a job's failed images again, and write its submission anew.

    \b
    Example: pifleet dead replay 7f3a9c21 --reason timeout --rate 20
    """
    from producer import dead as jobs
    from producer.interrupt import going_on
    from producer.registry import find_output

    settings = job_settings(redis_url)
    with going_on(find_output(settings.state_dir, job)):
        summary = jobs.replay(job, reason, settings, chunk=chunk, changes=changes)
    conclude(summary, as_json=as_json)

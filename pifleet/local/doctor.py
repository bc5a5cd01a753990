"""``pifleet doctor``: says what is wrong with this machine's set-up, and what to do."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from dataclasses import asdict

import click

from contract.exit_codes import DONE, UNREACHABLE, USAGE
from contract.settings import Settings
from pifleet.local import machine_checks as machine
from pifleet.local.broker_checks import SUBJECT, check_redis, repair_broker
from pifleet.local.machine_checks import Finding, Level

NO_ADDRESS = "a Pi: sudo pifleet join; else set PIFLEET_REDIS_URL, or start `pifleet up`"
COLOURS = {Level.OK: "green", Level.WARN: "yellow", Level.FAIL: "red"}


def examine(settings: Settings, *, is_told: bool = True) -> Iterator[Finding]:
    """Look at everything, the machine first, then the broker.

    Args:
        settings: of this machine.
        is_told: whether somebody set the broker's address.
    """
    yield machine.check_python()
    yield machine.check_cores()
    yield from machine.check_extras()
    yield machine.check_dashboard()
    yield machine.check_runtime()
    yield from machine.check_models()
    yield from machine.check_folders(settings)
    yield machine.check_open_files()
    yield machine.check_power(_throttled())
    if not is_told:
        yield machine.warn("broker", "no address is set: this machine is taken", NO_ADDRESS)
    yield from check_redis(settings.redis_url)


def findings_code(findings: list[Finding]) -> int:
    """Return the exit code: a machine that is set up wrongly is not a broker that is away."""
    failed = {finding.subject for finding in findings if finding.level is Level.FAIL}
    if not failed:
        return DONE
    return UNREACHABLE if failed == {SUBJECT} else USAGE


@click.command()
@click.option("--redis-url", help="Broker; default PIFLEET_REDIS_URL.")
@click.option("--json", "as_json", is_flag=True, help="Write the findings as JSON.")
@click.option("--repair", is_flag=True, help="Remove keys of a wrong type first; as admin.")
def doctor(redis_url: str | None, as_json: bool, repair: bool) -> None:
    """Look at this machine and its broker, and say what to do about what is wrong.

    Example: pifleet doctor --redis-url redis://:secret@pi1:6379/0
    """
    settings = Settings.from_env(os.environ, redis_url=redis_url)
    if repair:
        click.echo(repair_broker(settings.redis_url), err=True)
    findings = []
    is_told = bool(redis_url or os.environ.get("PIFLEET_REDIS_URL"))
    for finding in examine(settings, is_told=is_told):
        findings.append(finding)
        if not as_json:
            _write(finding)
    if as_json:
        click.echo(json.dumps([asdict(finding) for finding in findings], indent=1))
    sys.exit(findings_code(findings))


def _throttled() -> int | None:
    try:
        from workers.health.host import throttled_flags
    except ImportError:  # no worker here
        return None
    return throttled_flags()


def _write(finding: Finding) -> None:
    mark = click.style(f"{finding.level:<5}", fg=COLOURS[finding.level])
    click.echo(f"{mark} {finding.subject}: {finding.text}")
    if finding.advice:
        click.echo(f"      {finding.advice}")

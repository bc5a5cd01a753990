"""``python -m workers worker`` and ``python -m workers classify``: as ``pifleet`` has them."""

from __future__ import annotations

import sys

import click

from contract.errors import FleetError, TransientError, UserError
from workers.cli import main

EXIT_USAGE = 2
EXIT_UNREACHABLE = 3


def run() -> None:
    """Run the command line; an expected error is one line on stderr, and an exit code."""
    try:
        main(prog_name="python -m workers")
    except FleetError as error:
        click.echo(f"workers: {error}", err=True)
        sys.exit(exit_code(error))


def exit_code(error: FleetError) -> int:
    """Give the exit code of an error that ends a command."""
    if isinstance(error, UserError):
        return EXIT_USAGE
    return EXIT_UNREACHABLE if isinstance(error, TransientError) else 1


if __name__ == "__main__":
    run()

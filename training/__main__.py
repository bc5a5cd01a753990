"""``python -m training``: the same commands as ``pifleet`` has, without the fleet."""

from __future__ import annotations

import logging
import sys

import click

from contract.errors import FleetError
from training import cli
from training.measuring.evaluate_command import evaluate


@click.group()
def main() -> None:
    """Draw data sets, train recognisers, measure and export them."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")


for command in (cli.generate, cli.train, evaluate, cli.export):
    main.add_command(command)

if __name__ == "__main__":
    try:
        main(prog_name="python -m training")
    except FleetError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(2)

"""``pifleet access``: who may join the fleet, and who may not any more."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from pifleet.access.roles import ROLES, WORKER

Command = TypeVar("Command", bound=Callable[..., Any])

AT_THE_BROKER = Path("/etc/redis/pifleet")
ON_A_PI = Path("/etc/pifleet/ca.crt")  # infra/README.md puts it there


def folder_option(command: Command) -> Command:
    """Add ``--folder``."""
    return click.option(
        "--folder",
        type=click.Path(path_type=Path),
        default=Path("access"),
        show_default=True,
        help="As `pifleet access init` made it.",
    )(command)


def offline_option(command: Command) -> Command:
    """Add ``--offline``."""
    return click.option(
        "--offline", is_flag=True, help="Change the users file only: the broker does not run."
    )(command)


@click.group()
def access() -> None:
    """Say who may join the fleet: TLS by a private authority, and a password for each Pi."""


@access.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--host", "hosts", multiple=True, required=True, help="Of the broker; may be many.")
@click.option("--port", type=click.IntRange(1, 65535), default=6379, show_default=True)
@click.option(
    "--at",
    type=click.Path(path_type=Path),
    default=AT_THE_BROKER,
    show_default=True,
    help="Where the broker keeps its copies.",
)
def init(folder: Path, hosts: tuple[str, ...], port: int, at: Path) -> None:
    """Make an authority, the broker's certificate, its users file and their passwords.

    \b
    Example: pifleet access init access --host broker.local --host 192.168.1.10
    """
    from pifleet.access.access import init as make_folder

    for path in make_folder(folder, hosts, port=port, at=at):
        click.echo(path)
    click.echo(f"whoever has {folder} owns the fleet: keep it safe (infra/README.md)", err=True)


@access.command()
@click.argument("name")
@click.option(
    "--role",
    type=click.Choice([name for name in ROLES if name != "admin"]),
    default=WORKER.name,
    show_default=True,
)
@click.option(
    "--ca",
    type=click.Path(path_type=Path),
    default=ON_A_PI,
    show_default=True,
    help="Where that machine keeps its copy of ca.crt.",
)
@folder_option
@offline_option
def grant(name: str, role: str, ca: Path, folder: Path, offline: bool) -> None:
    """Let one more machine in; its settings go to stdout, and its password nowhere else.

    \b
    Example: pifleet access grant pi7 > pi7.env
    """
    from pifleet.access.access import grant as let_in

    granted = let_in(folder, name, ROLES[role], offline=offline)
    click.echo(granted.env(ca), nl=False)
    click.echo(f"copy {granted.authority} to {ca} there, and these lines to pifleet.env", err=True)
    _say(granted.note)


@access.command()
@click.argument("name")
@folder_option
@offline_option
def revoke(name: str, folder: Path, offline: bool) -> None:
    """Shut a machine out, at once: for a Pi that was stolen.

    \b
    Example: pifleet access revoke pi7
    """
    from pifleet.access.access import revoke as shut_out

    note = shut_out(folder, name, offline=offline)
    click.echo(f"{name} is {'out of the users file' if offline else 'out, and disconnected'}")
    _say(note)


@access.command("list")
@folder_option
def list_users(folder: Path) -> None:
    """List who may join: name, tab, role.

    \b
    Example: pifleet access list
    """
    from pifleet.access.access import USERS
    from pifleet.access.users_file import read_users, role_of

    for name, line in read_users(folder / USERS).items():
        if name != "default":
            click.echo(f"{name}\t{role_of(line)}")


@access.command()
@click.option("--host", "hosts", multiple=True, required=True, help="Of the broker; may be many.")
@folder_option
def renew(hosts: tuple[str, ...], folder: Path) -> None:
    """Make the broker a new certificate, by the same authority: nothing changes on any Pi.

    \b
    Example: pifleet access renew --host broker.local
    """
    from pifleet.access.access import renew as make_certificate

    make_certificate(folder, hosts)
    click.echo(folder / "server.crt")


def _say(note: str) -> None:
    if note:
        click.echo(note, err=True)

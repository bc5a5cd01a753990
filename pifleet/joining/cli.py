"""``pifleet join``: on a Pi it joins; on the control node it lets others join."""

from __future__ import annotations

import logging
import os
import socket
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from contract.errors import SettingsError, UserError
from pifleet.access.access import FOLDER
from pifleet.access.users_file import check_name
from pifleet.joining import enrolment, mdns, tokens
from producer.cli import Finite

if TYPE_CHECKING:
    from pifleet.joining.card import Site

ETC = Path("/etc/pifleet")
TOKEN_VARIABLE = "PIFLEET_JOIN_TOKEN"
MOST_LETTERS = 200
TOKEN_HOURS = 24.0
CARD_HOURS = 7 * 24.0  # cards are written today, and plugged in when there is time


@dataclass(frozen=True, slots=True)
class Mode:
    """What `pifleet join` was asked to do, beyond joining.

    Attributes:
        new: name of a Pi to write a card for.
        many: how many Pis one card is for; 0 for none.
        token: whether to print a token.
        serve: whether to serve.
    """

    new: str | None
    many: int
    token: bool
    serve: bool

    def __post_init__(self) -> None:
        """Refuse two things at once.

        Raises:
            SettingsError: two were asked for.
        """
        asked = [f"--{name}" for name in ("new", "many", "token", "serve") if getattr(self, name)]
        if len(asked) > 1:
            raise SettingsError("join", " ".join(asked), "one of them at a time")


@click.command()
@click.option("--new", metavar="NAME", help="Write the files of a card for one new Pi.")
@click.option("--many", type=click.IntRange(1, 1000), help="Likewise, for so many.")
@click.option("--token", "is_token", is_flag=True, help="Print a token for a Pi that runs.")
@click.option("--serve", "is_serve", is_flag=True, help="Serve wheels, and let Pis in.")
@click.option("--at", metavar="URL", help="The control node; default: found by mDNS.")
@click.option("--name", help="Of this Pi; default the host's. With --token: only this one.")
@click.option(
    "--etc",
    type=click.Path(path_type=Path),
    default=ETC,
    show_default=True,
    help="Where this Pi keeps its settings.",
)
@FOLDER
@click.option(
    "--wheels",
    type=click.Path(path_type=Path),
    default=Path("wheelhouse"),
    show_default=True,
    help="What --serve gives; see `pifleet wheelhouse`.",
)
@click.option("--host", "hosts", multiple=True, help="By which Pis call this machine; many.")
@click.option("--port", type=click.IntRange(0, 65535), default=enrolment.PORT, show_default=True)
@click.option("--uses", type=click.IntRange(1, 1000), default=1, show_default=True)
@click.option("--hours", type=Finite(0.01, 24.0 * 90), help="A token's life; default 24.")
@click.option("-o", "--out", type=click.Path(path_type=Path), help="Of a card; default its name.")
@click.option("--time-server", "time_servers", multiple=True, help="For the card; may be many.")
@click.option(
    "--ssh-key",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Public, may log in.",
)
@click.option("--wifi", metavar="SSID", help="Its password is asked for.")
@click.option("--wifi-country", default="", help="Two letters; a Pi's radio is off without.")
def join(new: str | None, many: int | None, is_token: bool, is_serve: bool, **options: Any) -> None:
    """Join the fleet from this Pi; with an option of the control node, let others join.

    Without one, it reads a token from PIFLEET_JOIN_TOKEN, the terminal or stdin, and writes this
    Pi's settings. The others need the folder of `pifleet access init`.

    \b
    Example: pifleet join --serve                     # the control node, always on
             pifleet join --new pi7                   # a card for one Pi
             pifleet join --many 50                   # one card's files for fifty
             pifleet join --token                     # for a Pi that runs: infra/install.sh
             sudo pifleet join                        # there, with that token
    """
    mode = Mode(new, many or 0, is_token, is_serve)
    if mode.serve:
        _serve(**options)
    elif mode.token:
        _print_token(**options)
    elif mode.new or mode.many:
        _write_card(mode, **options)
    else:
        _join(**options)


def _join(*, at: str | None, name: str | None, etc: Path, port: int, **_: Any) -> None:
    token = tokens.parse_token(_read_token())
    at = at or mdns.find(token.fingerprint, port=port)
    name = name or socket.gethostname().partition(".")[0]
    try:
        settings = enrolment.enrol(at, token, name=name, folder=etc)
    except OSError as error:
        raise UserError(f"{etc} cannot be written: {error.strerror}; run it as root") from error
    click.echo(f"{name} has joined by {at}: {settings} has its settings")


def _serve(*, folder: Path, wheels: Path, hosts: tuple[str, ...], port: int, **_: Any) -> None:
    from pifleet.joining.server import Place, serve

    logging.getLogger("pifleet.joining").setLevel(logging.INFO)  # who came in, in the journal
    serve(Place(folder, wheels, hosts, port))


def _print_token(
    *, folder: Path, uses: int, hours: float | None, name: str | None, **_: Any
) -> None:
    if name is not None:
        check_name(name)
    hours = hours or TOKEN_HOURS
    click.echo(str(_issue(folder, uses=uses, hours=hours, only=name or "")))
    click.echo(f"lets {uses} in, for {hours:g} h; whoever sees it may be one", err=True)


def _write_card(mode: Mode, *, folder: Path, out: Path | None, **options: Any) -> None:
    from pifleet.joining import card

    site = _site(folder, **options)  # what is wrong with it is said before anybody is let in
    if mode.new:
        secret = _settings(folder, mode.new, certificate=card.ETC / enrolment.CERTIFICATE)
    else:
        hours = options["hours"] or CARD_HOURS
        secret = f"{_issue(folder, uses=mode.many, hours=hours)}\n"
    written = card.Card(site, secret, mode.new or "")
    for path in card.write_card(written, out or Path(f"card-{mode.new or 'many'}")):
        click.echo(path)
    click.echo("these files hold a secret; docs/fleet.md says how they come onto a card", err=True)


def _site(
    folder: Path,
    *,
    at: str | None,
    hosts: tuple[str, ...],
    port: int,
    time_servers: tuple[str, ...],
    ssh_key: Path | None,
    wifi: str | None,
    wifi_country: str,
    **_: Any,
) -> Site:
    from pifleet.joining.card import Site, Wifi

    host = next(iter([*hosts, *mdns.own_addresses()]), mdns.HOST)
    radio = None
    if wifi is not None:
        password = click.prompt("Password of the Wi-Fi", hide_input=True, err=True)
        radio = Wifi(wifi, password, wifi_country)
    return Site(
        at=at or f"https://{host}:{port}",
        authority=tokens.read_authority(folder).decode(),
        time_servers=time_servers,
        ssh_key=ssh_key.read_text(errors="replace").strip() if ssh_key else "",
        wifi=radio,
    )


def _settings(folder: Path, name: str, *, certificate: Path) -> str:
    from pifleet.access.access import grant_user
    from pifleet.access.roles import WORKER

    granted = grant_user(folder, name, WORKER, offline=False)
    if granted.note:
        click.echo(granted.note, err=True)
    return enrolment.settings_text(granted.url, certificate, name)


def _issue(folder: Path, *, uses: int, hours: float, only: str = "") -> tokens.Token:
    from pifleet.access.access import held

    with held(folder):
        return tokens.issue(folder, uses=uses, until=time.time() + 3600 * hours, only=only)


def _read_token() -> str:
    """Read it from where no list of processes shows it."""
    if given := os.environ.get(TOKEN_VARIABLE):
        return given
    if sys.stdin.isatty():
        return str(click.prompt("Token", hide_input=True, err=True))
    return sys.stdin.readline(MOST_LETTERS)

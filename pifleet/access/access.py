"""``pifleet access``: who may join the fleet, and who may not any more.

A folder with the fleet's authority and its users is the truth, and belongs on the machine that
administers the fleet; whoever has it owns the fleet. The broker is changed first and the folder
after it, so that a failure leaves a user who is not in the file rather than a thief who is still in
the broker.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import click

from broker.connection import connect, redis_errors
from broker.transport import DATABASE
from contract.errors import OutputError, ServiceError, SettingsError, UserError
from contract.files import SECRET_MODE
from contract.settings import with_authority
from pifleet.access.roles import (
    ADMIN,
    DASHBOARD,
    METRICS,
    PRODUCER,
    ROLES,
    WORKER,
    Role,
)
from pifleet.access.users_file import (
    NOBODY,
    User,
    new_user,
    read_users,
    role_of,
    write_secret,
    write_users,
)

if TYPE_CHECKING:
    from redis import Redis

log = logging.getLogger(__name__)

LOCK_TIMEOUT_S = 30.0
USERS, AUTHORITY, CONFIG = "users.acl", "ca.crt", "tls.conf"
FIRST_USERS = (ADMIN, PRODUCER, DASHBOARD, METRICS)
AT_THE_BROKER = Path("/etc/redis/pifleet")
ON_A_PI = Path("/etc/pifleet/ca.crt")  # infra/README.md puts it there
HOSTS = click.option(
    "--host", "hosts", multiple=True, required=True, help="Of the broker; may be many."
)
FOLDER = click.option(
    "--folder",
    type=click.Path(path_type=Path),
    default=Path("access"),
    show_default=True,
    help="As `pifleet access init` made it.",
)
OFFLINE = click.option(
    "--offline", is_flag=True, help="Change the users file only: the broker does not run."
)


@dataclass(frozen=True, slots=True)
class Grant:
    """A user that may join now.

    Attributes:
        name: of the user.
        url: that it calls the broker by, password included.
        authority: the certificate that its machine must have a copy of.
        note: what is left to do at the broker; empty where it knows already.
    """

    name: str
    url: str = field(repr=False)
    authority: Path
    note: str = ""

    def env(self, authority: Path) -> str:
        """Write its settings file, with where the certificate lies there."""
        return f"PIFLEET_REDIS_URL={self.url}\nPIFLEET_REDIS_CA={authority}\n"


def make_folder(
    folder: Path, hosts: tuple[str, ...], *, port: int, at: Path | None = None
) -> list[Path]:
    """Make a folder with an authority, a server's certificate, users, and what Redis needs of it.

    Args:
        folder: to make; it stays with whoever administers the fleet.
        hosts: names and addresses of the broker; the fleet calls it by the first.
        port: of the broker.
        at: where the broker's machine has its copies; None where Redis reads the folder itself.

    Returns:
        The files.

    Raises:
        UserError: it holds an authority already.
        OutputError: it cannot be written.
    """
    from pifleet.access.authority import make_authority, make_server_certificate

    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder} cannot be made: {error.strerror}") from error
    make_authority(folder)
    make_server_certificate(folder, hosts)
    users = {"default": NOBODY}
    for role in FIRST_USERS:
        user = new_user(role.name, role)
        users[user.name] = user.line()
        _keep(folder, Grant(user.name, _url(user, hosts[0], port), folder / AUTHORITY))
    write_users(folder / USERS, users)
    (folder / CONFIG).write_text(tls_conf(at or folder.absolute(), port=port))
    return sorted(folder.iterdir())


def grant_user(folder: Path, name: str, role: Role, *, offline: bool) -> Grant:
    """Make a user and tell the broker of it.

    Args:
        folder: as ``make_folder`` made it.
        name: of the user, such as the Pi's.
        role: what it may do.
        offline: only write the users file, for a broker that is not running yet.

    Raises:
        UserError: there is a user of this name.
        ServiceError: the broker cannot be reached, or refuses.
    """
    user = new_user(name, role)
    with held(folder):
        note = _admit(folder, user, offline=offline)
    url = _url(user, *broker_place(folder))
    return Grant(name, url, folder / AUTHORITY, note)


def admit_hashed(folder: Path, name: str, role: Role, *, hashed: str) -> None:
    """Let in a machine that made its password itself; who calls holds the folder.

    Nothing happens where it is in already, so that it may ask again.

    Args:
        folder: as ``make_folder`` made it.
        name: of the user.
        role: what it may do.
        hashed: SHA-256 of its password.

    Raises:
        UserError: another has this name.
        ServiceError: the broker cannot be reached, or refuses.
    """
    if f"#{hashed}" in read_users(folder / USERS).get(name, "").split():
        return
    note = _admit(folder, new_user(name, role, hashed=hashed), offline=False)
    if note:
        log.warning("user-not-kept name=%s why=%s", name, note)


def broker_place(folder: Path) -> tuple[str, int]:
    """Tell the host and port of the fleet's broker.

    Raises:
        UserError: the folder has none.
    """
    broker = urlsplit(admin_url(folder))
    return str(broker.hostname), broker.port or 6379


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Keep others from changing users or tokens meanwhile: each change reads all and writes all.

    Raises:
        UserError: there is no such folder, or it may not be written.
    """
    from filelock import FileLock, Timeout

    advice = "name the folder of `pifleet access init` by --folder, and be its owner"
    if not folder.is_dir():  # the lock would make it
        raise UserError(f"{folder} is no folder: {advice}")
    lock = FileLock(folder / ".lock", timeout=LOCK_TIMEOUT_S, mode=SECRET_MODE)
    try:
        lock.acquire()
    except Timeout as error:
        raise ServiceError(f"{folder} is being changed by another command: try again") from error
    except OSError as error:
        raise UserError(f"{folder} cannot be changed: {error.strerror} ({advice})") from error
    try:
        yield
    finally:
        lock.release()


def _admit(folder: Path, user: User, *, offline: bool) -> str:
    users = read_users(folder / USERS)
    if user.name in users:
        raise UserError(f"{user.name} may join already: revoke it first, or choose another name")
    note = "load it at the broker with: redis-cli ACL LOAD" if offline else ""
    if not offline:
        url = admin_url(folder)
        with connect(url) as redis, redis_errors(url):
            redis.execute_command("ACL", "SETUSER", user.name, *user.rules())
            note = _save(redis)
    write_users(folder / USERS, {**users, user.name: user.line()})
    return note


def revoke_user(folder: Path, name: str, *, offline: bool) -> str:
    """Take a user's rights away, and its connections with them.

    Returns:
        What is left to do at the broker; empty where it is done.

    Raises:
        UserError: nobody has this name, or it is one that the fleet cannot do without.
        ServiceError: the broker cannot be reached; the user may still get in.
    """
    if name in (ADMIN.name, "default"):
        raise SettingsError("user", name, "another: without it nobody could grant or revoke")
    with held(folder):
        return _expel(folder, name, offline=offline)


def _expel(folder: Path, name: str, *, offline: bool) -> str:
    users = read_users(folder / USERS)
    is_known = users.pop(name, None) is not None
    note = "it gets in until the broker has loaded the file: redis-cli ACL LOAD" if offline else ""
    if not offline:
        url = admin_url(folder)
        with connect(url) as redis, redis_errors(url):
            is_known = bool(redis.acl_deluser(name)) or is_known  # ends its connections, too
            note = _save(redis)
    if not is_known:
        raise UserError(f"nobody is called {name}: see `pifleet access list`")
    write_users(folder / USERS, users)
    (folder / f"{name}.env").unlink(missing_ok=True)
    return note


def admin_url(folder: Path) -> str:
    """Return the URL by which the folder's owner administers the broker.

    Raises:
        UserError: the folder has none.
    """
    path = folder / f"{ADMIN.name}.env"
    try:
        lines = dict(line.split("=", 1) for line in path.read_text().splitlines() if "=" in line)
        url = lines["PIFLEET_REDIS_URL"]
    except (OSError, KeyError) as error:
        advice = "make the folder with `pifleet access init`"
        raise UserError(f"{path} cannot be used: {error} ({advice})") from error
    return with_authority(url, str(folder / AUTHORITY)) if url.startswith("rediss:") else url


def tls_conf(folder: Path, *, port: int) -> str:
    """Write what redis.conf has to include: TLS only, and the users file."""
    return "\n".join(
        [
            "# Include it at the end of redis.conf; Redis's user must be able to read these files.",
            "port 0",
            f"tls-port {port}",
            f"tls-cert-file {folder / 'server.crt'}",
            f"tls-key-file {folder / 'server.key'}",
            f"tls-ca-cert-file {folder / AUTHORITY}",
            "# A password says who calls; a certificate for each Pi would say the same again.",
            "tls-auth-clients no",
            'tls-protocols "TLSv1.2 TLSv1.3"',
            f"aclfile {folder / USERS}",
            "",
        ]
    )


@click.group()
def access() -> None:
    """Say who may join the fleet: TLS by a private authority, and a password for each Pi.

    \b
    Example: pifleet access init access --host broker.local
    """


@access.command()
@click.argument("folder", type=click.Path(path_type=Path))
@HOSTS
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
@FOLDER
@OFFLINE
def grant(name: str, role: str, ca: Path, folder: Path, offline: bool) -> None:
    """Let one more machine in; its settings go to stdout, and its password nowhere else.

    \b
    Example: pifleet access grant pi7 > pi7.env
    """
    granted = grant_user(folder, name, ROLES[role], offline=offline)
    click.echo(granted.env(ca), nl=False)
    click.echo(f"copy {granted.authority} to {ca} there, and these lines to pifleet.env", err=True)
    _say(granted.note)


@access.command()
@click.argument("name")
@FOLDER
@OFFLINE
def revoke(name: str, folder: Path, offline: bool) -> None:
    """Shut a machine out, at once: for a Pi that was stolen.

    \b
    Example: pifleet access revoke pi7
    """
    note = revoke_user(folder, name, offline=offline)
    click.echo(f"{name} is {'out of the users file' if offline else 'out, and disconnected'}")
    _say(note)


@access.command("list")
@FOLDER
def list_users(folder: Path) -> None:
    """List who may join: name, tab, role.

    \b
    Example: pifleet access list
    """
    for name, line in read_users(folder / USERS).items():
        if name != "default":
            click.echo(f"{name}\t{role_of(line)}")


@access.command()
@HOSTS
@FOLDER
def renew(hosts: tuple[str, ...], folder: Path) -> None:
    """Make the broker a new certificate, by the same authority: nothing changes on any Pi.

    \b
    Example: pifleet access renew --host broker.local
    """
    from pifleet.access.authority import make_server_certificate

    make_server_certificate(folder, hosts)
    click.echo(folder / "server.crt")
    key = f"{folder / 'server.crt'} and {folder / 'server.key'}"
    click.echo(f"copy {key} to {AT_THE_BROKER} at the broker, and restart its Redis", err=True)


def _save(redis: Redis) -> str:
    """Let the broker keep its users; return what to do where it has no file for them."""
    from redis.exceptions import ResponseError

    try:
        redis.acl_save()
    except ResponseError as error:
        return f"the broker forgets this when it restarts: {error}"
    return ""


def _keep(folder: Path, grant: Grant) -> None:
    write_secret(folder / f"{grant.name}.env", grant.env(grant.authority.absolute()))


def _url(user: User, host: str, port: int) -> str:
    shown = f"[{host}]" if ":" in host else host
    return f"rediss://{user.name}:{user.password}@{shown}:{port}/{DATABASE}"


def _say(note: str) -> None:
    if note:
        click.echo(note, err=True)

"""Who may join a fleet: a folder with its authority and its users, and the broker that knows them.

The folder is the truth, and belongs on the machine that administers the fleet; whoever has it owns
the fleet. The broker is changed first and the folder after it, so that a failure leaves a user who
is not in the file rather than a thief who is still in the broker.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from broker.connection import connect, redis_errors
from broker.transport import DATABASE
from contract.errors import OutputError, SettingsError, UserError
from contract.settings import with_authority
from pifleet.access.authority import make_authority, make_server_certificate
from pifleet.access.roles import ADMIN, DASHBOARD, METRICS, PRODUCER, Role
from pifleet.access.users_file import NOBODY, User, new_user, read_users, write_secret, write_users

if TYPE_CHECKING:
    from redis import Redis

USERS, AUTHORITY, CONFIG = "users.acl", "ca.crt", "tls.conf"
FIRST_USERS = (ADMIN, PRODUCER, DASHBOARD, METRICS)


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
        """Give the lines of its settings file, with where the certificate lies there."""
        return f"PIFLEET_REDIS_URL={self.url}\nPIFLEET_REDIS_CA={authority}\n"


def init(folder: Path, hosts: tuple[str, ...], *, port: int, at: Path | None = None) -> list[Path]:
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
    (folder / CONFIG).write_text(redis_conf(at or folder.absolute(), port=port))
    return sorted(folder.iterdir())


def grant(folder: Path, name: str, role: Role, *, offline: bool) -> Grant:
    """Make a user and tell the broker of it.

    Args:
        folder: as ``init`` made it.
        name: of the user, such as the Pi's.
        role: what it may do.
        offline: only write the users file, for a broker that is not running yet.

    Raises:
        UserError: there is a user of this name.
        ServiceError: the broker cannot be reached, or refuses.
    """
    user = new_user(name, role)
    users = read_users(folder / USERS)
    if name in users:
        raise UserError(f"{name} may join already: revoke it first, or choose another name")
    note = "load it at the broker with: redis-cli ACL LOAD" if offline else ""
    if not offline:
        url = admin_url(folder)
        with connect(url) as redis, redis_errors(url):
            redis.execute_command("ACL", "SETUSER", name, *user.rules())
            note = _save(redis)
    write_users(folder / USERS, {**users, name: user.line()})
    broker = urlsplit(admin_url(folder))
    url = _url(user, str(broker.hostname), broker.port or 6379)
    return Grant(name, url, folder / AUTHORITY, note)


def revoke(folder: Path, name: str, *, offline: bool) -> str:
    """Take a user's rights away, and its connections with them.

    Returns:
        What is left to do at the broker; empty where it is done.

    Raises:
        UserError: nobody has this name, or it is one that the fleet cannot do without.
        ServiceError: the broker cannot be reached; the user may still get in.
    """
    users = read_users(folder / USERS)
    if name in (ADMIN.name, "default"):
        raise SettingsError("user", name, "another: without it nobody could grant or revoke")
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


def renew(folder: Path, hosts: tuple[str, ...]) -> None:
    """Make a new certificate for the broker; no Pi has to be visited.

    Raises:
        UserError: the folder has no authority.
    """
    make_server_certificate(folder, hosts)


def admin_url(folder: Path) -> str:
    """Give the URL by which the folder's owner administers the broker.

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


def redis_conf(folder: Path, *, port: int) -> str:
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


def _save(redis: Redis) -> str:
    """Let the broker keep its users; says what to do where it has no file for them."""
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

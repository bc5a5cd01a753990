"""``pifleet up``: the embedded Redis and workers on this machine, kept until Ctrl-C."""

from __future__ import annotations

import fcntl
import os
import secrets
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from contract.errors import OutputError, SettingsError, UserError
from contract.settings import LAN_WORD
from producer.words import counted

if TYPE_CHECKING:
    from redis import Redis

    from pifleet.local.redis_server import RedisOptions
    from pifleet.local.supervisor import LocalFleet

USUAL_PORT = 6390  # kept from one time to the next, so that what was pasted stays right
AT_ONCE = 2  # chunks a worker: one waits for its origin while the other is read
TICK_S = 0.2
REDIS_CHECK_S = 5.0
SOMEWHERE = ("192.0.2.1", 9)  # TEST-NET-1; nothing is sent there, the route tells our address


@dataclass(frozen=True, slots=True)
class UpOptions:
    """The stack to keep.

    Attributes:
        workers: worker processes.
        redis_port: None takes the usual one, or a free one where that is taken.
        bind: the address that Redis listens on; loopback keeps other machines out.
        folder: where the Redis keeps its data and password, and the workers their logs.
    """

    workers: int
    redis_port: int | None
    bind: str
    folder: Path


def run_up(options: UpOptions) -> None:
    """Run the stack until Ctrl-C or SIGTERM.

    Raises:
        UserError: another stack runs in this folder.
        ServiceError: Redis or a worker does not start, or Redis has ended.
    """
    from broker.connection import connect
    from pifleet.local.redis_server import embedded_redis
    from pifleet.local.supervisor import FleetOptions, local_fleet

    with _only_one(options.folder), embedded_redis(_redis_options(options)) as url:
        fleet_options = FleetOptions(
            count=options.workers,
            redis_url=url,
            env={"PIFLEET_FETCH_ALLOW": LAN_WORD, **os.environ},
            folder=options.folder,
            concurrency=AT_ONCE,
        )
        with local_fleet(fleet_options) as fleet:
            fleet.wait_ready()
            click.echo(advice(url, options))
            with connect(url) as redis:
                _keep(fleet, redis, url)


def advice(redis_url: str, options: UpOptions) -> str:
    """Say what to type next, here and on another machine."""
    lines = [
        f"Ready: Redis and {counted(options.workers, 'worker')}; logs are in {options.folder}. "
        "Ctrl-C ends all. In another terminal:",
        "",
        f"  export PIFLEET_REDIS_URL={redis_url}",
        "  pifleet submit FOLDER -o submission.csv",
        "  pifleet status",
        "",
    ]
    lines += [
        f"Workers with PIFLEET_FETCH_ALLOW={LAN_WORD}, as those here unless you set it, fetch from"
        " all that is in this network, a router too; without it from the public Internet only.",
        "",
    ]
    if is_loopback(options.bind):
        lines += ["Only this machine can join: `pifleet up --bind 0.0.0.0` lets others in."]
    else:
        there = redis_url.replace("127.0.0.1", _own_address())
        lines += ["On another Pi:", ""]
        lines += [f"  PIFLEET_FETCH_ALLOW={LAN_WORD} PIFLEET_REDIS_URL={there} pifleet worker", ""]
    return "\n".join(lines)


def is_loopback(address: str) -> bool:
    """Tell whether an address can be reached from this machine only."""
    return address.startswith("127.") or address in ("::1", "localhost")


def _keep(fleet: LocalFleet, redis: Redis, url: str) -> None:
    from broker.connection import redis_errors

    check_at = 0.0
    while True:
        fleet.tick()
        if time.monotonic() >= check_at:
            with redis_errors(url):
                redis.ping()
            check_at = time.monotonic() + REDIS_CHECK_S
        time.sleep(TICK_S)  # the supervisor's clock


def _redis_options(options: UpOptions) -> RedisOptions:
    from pifleet.local.redis_server import RedisOptions

    folder = options.folder / "redis"
    folder.mkdir(exist_ok=True)
    port = options.redis_port or _usual_port(options.bind)
    password = _password(options.folder / "password")
    return RedisOptions(port=port, bind=options.bind, folder=folder, password=password)


def _usual_port(bind: str) -> int | None:
    from pifleet.local.redis_server import check_free

    try:
        check_free(bind, USUAL_PORT)
    except SettingsError:
        return None
    return USUAL_PORT


def _password(path: Path) -> str:
    """Read the stack's password, made once: what was pasted elsewhere stays right."""
    if not path.exists():
        path.touch(mode=0o600)
        path.write_text(secrets.token_urlsafe(18))
    return path.read_text().strip()


def _own_address() -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(SOMEWHERE)
        except OSError:
            return socket.gethostname()
        address: str = probe.getsockname()[0]
        return address


@contextmanager
def _only_one(folder: Path) -> Iterator[None]:
    """Hold the folder: two servers on one append-only file would ruin it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / "lock").open("w")
    except OSError as error:
        message = f"folder {folder} cannot be written: {error.strerror} (set PIFLEET_STATE_DIR)"
        raise OutputError(message) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UserError(f"another `pifleet up` runs already, in {folder}: end it") from None
        yield


@click.command()
@click.option(
    "--workers",
    type=click.IntRange(0),
    default=os.cpu_count() or 1,
    help="0 for a broker that only serves other machines. [default: one a core]",
)
@click.option("--redis-port", type=click.IntRange(1, 65535), help="[default: 6390, or a free one]")
@click.option(
    "--bind",
    default="127.0.0.1",
    show_default=True,
    help="Address that Redis listens on; 0.0.0.0 lets other Pis join, with the password.",
)
def up(workers: int, redis_port: int | None, bind: str) -> None:
    """Keep an embedded Redis and workers running on this machine until Ctrl-C.

    Example: pifleet up --workers 4 --bind 0.0.0.0
    """
    from contract.settings import Settings
    from pifleet.local.children import sigterm_as_exit

    folder = Settings.from_env(os.environ).state_dir / "up"
    with sigterm_as_exit():
        try:
            run_up(UpOptions(workers=workers, redis_port=redis_port, bind=bind, folder=folder))
        except KeyboardInterrupt:
            click.echo("ended", err=True)

"""``pifleet dashboard``: Flower, set up for this fleet and behind a password."""

from __future__ import annotations

import importlib.metadata
import os
import secrets
from dataclasses import dataclass, field

import click

from contract.errors import SettingsError, UserError
from contract.installing import install_command

OLDEST_FLOWER = (2, 2)  # an older one shows no worker of Celery 5.7
USER = "pifleet"
# Flower shows by default the name, which all tasks share, and no result. A task's id is its
# job and delivery, its arguments say how many images, its result how many failed and how fast.
COLUMNS = "uuid,args,state,result,runtime,worker,received"
MAX_TASKS = 5_000  # chunks that it remembers, some 27 MB; Flower's own 100,000 take 20 times that
PURGE_S = 3600  # a worker that is gone for an hour leaves the list, as in `pifleet status`


@dataclass(frozen=True, slots=True)
class DashboardOptions:
    """How Flower runs.

    Attributes:
        redis_url: the broker.
        login: ``user:password`` that a browser has to give.
        port: it listens on.
        bind: the address it listens on.
        may_control: let whoever logs in shut workers down and revoke tasks.
    """

    redis_url: str = field(repr=False)
    login: str = field(repr=False)
    port: int = 5555
    bind: str = "127.0.0.1"
    may_control: bool = False

    def flower_argv(self) -> list[str]:
        """Spell it for Flower."""
        return [
            "flower",
            f"--address={self.bind}",
            f"--port={self.port}",
            f"--basic-auth={self.login}",
            f"--tasks-columns={COLUMNS}",
            f"--max-tasks={MAX_TASKS}",
            f"--purge-offline-workers={PURGE_S}",
            f"--read-only={not self.may_control}",
        ]


def run_dashboard(options: DashboardOptions) -> None:
    """Run Flower until Ctrl-C.

    Raises:
        UserError: Flower is missing or too old.
        SettingsError: the port is taken.
        ServiceError: the broker cannot be reached.
    """
    from broker.app import make_app
    from broker.connection import connect
    from pifleet.local.redis_server import check_free

    check_flower()
    _close_metrics()
    check_free(options.bind, options.port, name="--port")
    connect(options.redis_url).close()
    # Our own application and not `celery flower`: the key prefix and the queue come with it.
    make_app(options.redis_url).start(options.flower_argv())


def _close_metrics() -> None:
    """Put the metrics behind the password, too: they name workers, tasks and their times."""
    from flower.views.monitor import Metrics
    from tornado.web import authenticated

    Metrics.get = authenticated(Metrics.get)


def check_flower() -> None:
    """Refuse a Flower that would show an empty fleet.

    Raises:
        UserError: it is missing or too old.
    """
    try:
        version = importlib.metadata.version("flower")
    except importlib.metadata.PackageNotFoundError:
        raise UserError(f"Flower is not installed: {install_command('dashboard')}") from None
    if tuple(int(part) for part in version.split(".")[:2]) < OLDEST_FLOWER:
        raise UserError(f"Flower {version} is too old: {install_command('dashboard')}")


def parse_login(value: str | None) -> str:
    """Check ``user:password``, or make one up.

    Raises:
        SettingsError: there is no colon in it, or nothing on one side.
    """
    if value is None:
        return f"{USER}:{secrets.token_urlsafe(12)}"
    user, _, password = value.partition(":")
    if not user or not password:
        raise SettingsError("--basic-auth", "***", "user:password")
    return value


@click.command()
@click.option("--redis-url", help="Broker; default PIFLEET_REDIS_URL.")
@click.option("--port", type=click.IntRange(1, 65535), default=5555, show_default=True)
@click.option(
    "--bind", default="127.0.0.1", show_default=True, help="Address to listen on; 0.0.0.0 for all."
)
@click.option(
    "--basic-auth",
    envvar="FLOWER_BASIC_AUTH",
    help="user:password, better in FLOWER_BASIC_AUTH; one is made up otherwise.",
)
@click.option("--control", is_flag=True, help="Let who logs in stop workers and tasks.")
def dashboard(
    redis_url: str | None, port: int, bind: str, basic_auth: str | None, control: bool
) -> None:
    """Watch the fleet's workers and tasks in Flower.

    Example: FLOWER_BASIC_AUTH=me:secret pifleet dashboard --port 5555
    """
    from contract.settings import Settings

    options = DashboardOptions(
        redis_url=Settings.from_env(os.environ, redis_url=redis_url).redis_url,
        login=parse_login(basic_auth),
        port=port,
        bind=bind,
        may_control=control,
    )
    user, _, password = options.login.partition(":")
    shown = "the one you gave" if basic_auth else password
    click.echo(f"Flower: http://{bind}:{port}  user {user}  password {shown}", err=True)
    run_dashboard(options)

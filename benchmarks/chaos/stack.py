"""Everything that a run needs: a broker, an origin, workers with and without a proxy before it.

Workers are started again a second after they ended, as systemd does. The supervisor of
``pifleet up`` would wait up to half a minute: its backoff is for a worker that cannot run at all,
and here each is ended on purpose.
"""

from __future__ import annotations

import os
import secrets
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
from redis.exceptions import RedisError

from benchmarks.machine import fleet_env
from benchmarks.throughput.origin import lean_origin
from broker.connection import make_client
from contract.errors import ServiceError
from pifleet.local.children import Child, end_child, last_line, start_child
from pifleet.local.redis_server import RedisOptions, find_redis_server, free_port, redis_conf
from tests.support.stripes import png, some_text
from tests.support.tcp_proxy import TcpProxy, tcp_proxy

if TYPE_CHECKING:
    from redis import Redis

START_S = 30.0  # Redis may have to read a large append-only file first
PROBE_S = 2.0
RESTART_S = 1.0
STOP_S = 40.0
MARKS = ("PIFLEET_WORKER_NAME", "PIFLEET_STATE_DIR")  # the folder is this run's own
ORPHANS_S = 15.0  # a pool process notices within two seconds that its worker is gone
DISTINCT = 500  # images drawn; a job asks for them again and again, under names of their own
LOCAL_NETWORK = "127.0.0.0/8"


class Broker:
    """A Redis that can be killed: it comes back on its port, with its append-only file."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self._password = secrets.token_urlsafe(18)
        self._folder = folder
        options = RedisOptions(port=self.port, folder=folder, password=self._password)
        (folder / "redis.conf").write_text(redis_conf(options, folder))
        self._child = self._start()
        self.client: Redis = make_client(self.url(), timeout_s=PROBE_S)
        self.wait()

    def url(self, port: int | None = None) -> str:
        """Spell its URL, or that by which it is reached through a proxy."""
        return f"redis://:{self._password}@127.0.0.1:{port or self.port}/0"

    def restart(self) -> bool:
        """Kill it and start it again; what was not yet on disk, a second at most, is lost."""
        self._child.kill()
        self._child.wait()
        self._child = self._start()
        return True

    def wait(self) -> None:
        """Wait until it answers.

        Raises:
            ServiceError: it ended, or does not answer in time.
        """
        deadline = time.monotonic() + START_S
        while not self.is_up():
            if self._child.poll() is not None or time.monotonic() > deadline:
                raise ServiceError(f"redis-server: {last_line(self._folder / 'redis.log')}")
            time.sleep(0.02)  # polling with a deadline

    def is_up(self) -> bool:
        """Say whether it answers."""
        try:
            return bool(self.client.ping())
        except RedisError:
            return False

    def end(self) -> None:
        """End it."""
        self.client.close()
        end_child(self._child, grace_s=10.0)

    def _start(self) -> Child:
        command = [str(find_redis_server()), str(self._folder / "redis.conf")]
        return start_child(command, log=self._folder / "redis.log")


@contextmanager
def running_broker(folder: Path) -> Iterator[Broker]:
    """Run it for as long as the block lasts."""
    folder.mkdir()
    broker = Broker(folder)
    try:
        yield broker
    finally:
        broker.end()


@dataclass(frozen=True, slots=True)
class WorkerCommand:
    """How one worker is started."""

    argv: Sequence[str]
    env: Mapping[str, str]
    log: Path


class KeptWorker:
    """One worker, whichever process it is now."""

    def __init__(self, command: WorkerCommand) -> None:
        self.command = command
        self._restart_at: float | None = None
        self._child = self._start()

    @property
    def pid(self) -> int | None:
        """The id of its main process; None while it has none."""
        return self._child.pid if self._child.poll() is None else None

    def tick(self) -> None:
        """Start it again when it is time."""
        now = time.monotonic()
        if self._child.poll() is None:
            return
        if self._restart_at is None:
            self._restart_at = now + RESTART_S
        elif now >= self._restart_at:
            self._restart_at = None
            self._child = self._start()

    def pool(self) -> list[int]:
        """List the ids of its pool processes."""
        if self.pid is None:
            return []
        with suppress(psutil.Error):
            return [child.pid for child in psutil.Process(self.pid).children()]
        return []

    def signal_all(self, number: int) -> None:
        """Send a signal to the worker and its pool processes."""
        if self.pid is not None:
            os.killpg(self.pid, number)

    def terminate(self) -> None:
        """Ask it to finish what it has in hand and end."""
        if self._child.poll() is None:
            self._child.terminate()

    def end(self) -> None:
        """Ask, wait, insist."""
        end_child(self._child, grace_s=STOP_S)

    def orphans(self) -> list[int]:
        """List the ids of pool processes whose worker is gone.

        They are known by their environment: a run with many kills uses up all process ids, and an
        old one may be anybody's by now.
        """
        ours = {name: self.command.env[name] for name in MARKS}
        living = {self.pid, *self.pool()}
        return [pid for pid in psutil.pids() if pid not in living and _has(pid, ours)]

    def _start(self) -> Child:
        command = self.command
        return start_child(command.argv, env=command.env, log=command.log)


def kill(pid: int) -> bool:
    """Kill a process, and say whether it was there."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
        return True
    return False


def end_all(workers: Sequence[KeptWorker]) -> int:
    """End all workers, which drain at the same time; gives how many orphans had to be killed."""
    for worker in workers:
        worker.signal_all(signal.SIGCONT)
        worker.terminate()
    for worker in workers:
        worker.end()
    deadline = time.monotonic() + ORPHANS_S
    while (left := _orphans(workers)) and time.monotonic() < deadline:
        time.sleep(0.1)  # polling with a deadline
    return sum(kill(pid) for pid in left)


def _orphans(workers: Sequence[KeptWorker]) -> list[int]:
    return [pid for worker in workers for pid in worker.orphans()]


def _has(pid: int, variables: Mapping[str, str]) -> bool:
    """Say whether a process was started with these variables."""
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        env = process.environ()
    except psutil.Error:
        return False
    return all(env.get(name) == value for name, value in variables.items())


@dataclass(slots=True)
class Victim:
    """A worker and the proxy before it; until when it is frozen or silent, monotonic seconds."""

    worker: KeptWorker
    proxy: TcpProxy | None
    busy_until: float = 0.0


@dataclass(slots=True)
class Stage:
    """A running stack.

    Attributes:
        orphans: pool processes that outlived their worker; counted when the stage is left.
    """

    folder: Path
    broker: Broker
    origin: str
    victims: Sequence[Victim]
    env: Mapping[str, str]
    orphans: int = 0

    def tick(self) -> None:
        """Start workers again that ended."""
        for victim in self.victims:
            victim.worker.tick()


def texts() -> list[str]:
    """List what stands in the images that the origin serves, in its order."""
    return [some_text(number) for number in range(DISTINCT)]


@contextmanager
def running_stage(
    folder: Path,
    argv: Sequence[str],
    *,
    workers: int,
    delay_ms: int,
    env: Mapping[str, str] | None = None,
) -> Iterator[Stage]:
    """Run a stack for as long as the block lasts.

    Args:
        folder: an empty one.
        argv: starts one worker; ``{name}`` stands for its name.
        workers: how many; all but the first reach Redis through a proxy.
        delay_ms: that the origin waits before each answer, as a network does.
        env: variables for everything that is started.
    """
    with ExitStack() as stack:
        broker = stack.enter_context(running_broker(folder / "redis"))
        images = _draw(folder / "images")
        origin = stack.enter_context(lean_origin(images, delay_ms=delay_ms))
        variables = fleet_env(folder, broker.url()) | {"PIFLEET_FETCH_ALLOW": LOCAL_NETWORK}
        stage = Stage(folder, broker, origin, [], variables | dict(env or {}))
        stage.victims = [_victim(stage, stack, argv, number) for number in range(workers)]
        try:
            yield stage
        finally:
            stage.orphans = end_all([victim.worker for victim in stage.victims])


def _victim(stage: Stage, stack: ExitStack, argv: Sequence[str], number: int) -> Victim:
    """Start one worker; the first reaches Redis directly, so that some always do."""
    redis = ("127.0.0.1", stage.broker.port)
    proxy = stack.enter_context(tcp_proxy(redis)) if number else None
    name = f"chaos-{number + 1}"
    url = stage.broker.url(proxy.port if proxy else None)
    env = {**stage.env, "PIFLEET_REDIS_URL": url, "PIFLEET_WORKER_NAME": name}
    command = [word.format(name=name) for word in argv]
    log = stage.folder / f"{name}.log"
    return Victim(KeptWorker(WorkerCommand(command, env, log)), proxy)


def _draw(folder: Path) -> Path:
    folder.mkdir()
    for number, text in enumerate(texts()):
        (folder / f"{number:04}.png").write_bytes(png(text))
    return folder

"""What many tests need: a real Redis, a real origin with faults, real worker processes."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO, TYPE_CHECKING

import pytest
from hypothesis import settings
from xdist.scheduler import LoadScopeScheduling

from broker.connection import connect
from broker.heartbeats import Heartbeat, look
from contract.errors import ServiceError
from pifleet.local.children import Child, end_child, start_child
from pifleet.local.redis_server import embedded_redis
from tests.support.commands import fleet_env
from tests.support.faulty_origin import FaultyOrigin, faulty_origin
from tests.support.make_tiny_model import TINY_MODEL

if TYPE_CHECKING:
    from tests.support.fleet_job import FleetJob

ROOT = Path(__file__).parents[1]
WORKER_START_S = 30.0  # two cores may be shared with a training run
WORKER_STOP_S = 30.0
POLL_S = 0.02


@dataclass(frozen=True, slots=True)
class RunningWorker:
    """A real ``pifleet worker`` process that a test started."""

    name: str
    process: Child
    log: Path
    redis_url: str

    def heartbeat(self) -> Heartbeat | None:
        """Read what it said of itself last; None if that is too long ago."""
        with connect(self.redis_url) as redis:
            return {one.worker: one for one in look(redis).workers}.get(self.name)

    def stop(self) -> int:
        """Ask it to finish what it has in hand and end, and return its exit code."""
        return end_child(self.process, grace_s=WORKER_STOP_S)

    def kill(self) -> None:
        """End its main process as a power cut would."""
        self.process.kill()
        self.process.wait()


StartWorker = Callable[..., RunningWorker]
Pifleet = Callable[..., subprocess.Popen[str]]


class OneByOne(LoadScopeScheduling):  # type: ignore[misc]  # xdist ships no types
    """Each test goes to whichever process is free; a module with a fixture of its own stays whole.

    Another process would make that fixture again, and some of them train a network.
    """

    def _split_scope(self, nodeid: str) -> str:
        module = nodeid.partition("::")[0]
        return module if _has_fixture(module) else nodeid


@cache
def _has_fixture(module: str) -> bool:
    return 'scope="module"' in (ROOT / module).read_text()


def pytest_configure() -> None:
    """Judge no example by its seconds; let Ctrl-C reach commands, which a shell's ``&`` ignores."""
    settings.register_profile("shared-cores", deadline=None)  # whose tests wait for each other
    settings.load_profile("shared-cores")
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> OneByOne:
    """Spread the tests over the processes one by one, but for those that share a fixture."""
    return OneByOne(config, log)


def wait_until(
    condition: Callable[[], object], *, timeout_s: float = 10.0, what: str = "it"
) -> None:
    """Poll until a condition holds; tests never sleep to synchronise."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not happen within {timeout_s} s"
        time.sleep(POLL_S)


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    """Take back what a command that a test invoked set up: it logs to that test's stderr."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    for handler in root.handlers[:]:
        if type(handler) is logging.StreamHandler and handler not in handlers:
            root.removeHandler(handler)
    root.setLevel(level)


@pytest.fixture(scope="session")
def _redis_server() -> Iterator[str]:
    try:
        with embedded_redis() as url:
            yield url
    except ServiceError as error:
        if os.environ.get("CI"):
            pytest.fail(f"CI must have a Redis: {error}")
        pytest.skip(str(error))


@pytest.fixture
def redis_url(_redis_server: str) -> str:
    """Name the URL of an empty Redis; it is the session's own, so it may be flushed."""
    with connect(_redis_server) as redis:
        redis.flushall()
    return _redis_server


@pytest.fixture
def origin() -> Iterator[FaultyOrigin]:
    """Start a real HTTP origin: ``origin.add("/a.png", data)`` serves a file, returns its URL."""
    with faulty_origin() as running:
        yield running


@pytest.fixture
def tiny_model() -> Path:
    """Name the path of a model that reads what ``tests.support.stripes`` draws."""
    return TINY_MODEL


@pytest.fixture
def job(redis_url: str, tiny_model: Path) -> Iterator[FleetJob]:
    """Open a job as a worker sees it, in an empty Redis."""
    from tests.support.fleet_job import fleet_job  # it needs this module

    with fleet_job(redis_url, tiny_model) as opened:
        yield opened


@pytest.fixture
def start_worker(redis_url: str, tmp_path: Path) -> Iterator[StartWorker]:
    """Make a function that starts a worker and waits for its first heartbeat.

    ``start_worker(name="pi1", concurrency=1, env={...})``; all of them end with the test.
    ``module`` is run instead of ``pifleet``: one that breaks something and then is ``pifleet``.
    """
    started: list[RunningWorker] = []

    def start(
        *,
        name: str = "",
        concurrency: int = 1,
        env: dict[str, str] | None = None,
        module: str = "pifleet",
    ) -> RunningWorker:
        name = name or f"pi{len(started) + 1}"
        command = ["-m", module, "worker", "--concurrency", str(concurrency)]
        worker = _spawn(name, redis_url, tmp_path, command=command, env=env or {})
        started.append(worker)
        wait_until(
            lambda: worker.heartbeat() or _ended(worker),
            timeout_s=WORKER_START_S,
            what=f"a heartbeat of {worker.name}",
        )
        return worker

    yield start
    for worker in started:
        worker.process.terminate()  # all at once: each takes a second to leave
    for worker in started:
        worker.stop()


@pytest.fixture
def pifleet(redis_url: str, tmp_path: Path, tiny_model: Path) -> Iterator[Pifleet]:
    """Make a function that starts a real `pifleet` command in a folder of its own."""
    started: list[subprocess.Popen[str]] = []

    def start(
        *arguments: str, module: str = "pifleet", stdin: IO[str] | None = None
    ) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", module, *arguments]
        if arguments[0] == "submit":
            command += ["--model", str(tiny_model), "--json"]
        process = subprocess.Popen(
            command,
            cwd=tmp_path,
            env={**fleet_env(redis_url, tmp_path), "PYTHONPATH": str(ROOT)},
            text=True,
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
            process.communicate()


def _spawn(
    name: str, redis_url: str, folder: Path, *, command: list[str], env: dict[str, str]
) -> RunningWorker:
    log = folder / f"{name}.log"
    settings = {**fleet_env(redis_url, folder), "PIFLEET_WORKER_NAME": name, **env}
    process = start_child([sys.executable, *command], env=settings, log=log)
    return RunningWorker(name=name, process=process, log=log, redis_url=redis_url)


def _ended(worker: RunningWorker) -> bool:
    if worker.process.poll() is None:
        return False
    said = worker.log.read_text(errors="replace")[-2000:]
    pytest.fail(f"worker {worker.name} ended with {worker.process.returncode}: {said}")

"""One worker: put together, run until it is told to stop, and what its processes share."""

from __future__ import annotations

import gc
import importlib
import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from celery import Celery, signals
from celery.platforms import EX_OK, SecurityWarning
from celery.worker.control import Panel

from broker.app import make_app
from broker.connection import masked, redis_errors
from broker.keys import QUEUE
from contract.errors import ServiceError
from contract.exit_codes import INTERRUPTED
from contract.installing import require
from contract.settings import Settings
from recognition.interpreter import runtime_name
from workers import process
from workers.consumer import Consumer
from workers.health import in_flight, origin_board
from workers.health.clock import connect_in_time
from workers.health.heartbeat import HeartbeatStep
from workers.health.host import default_processes, memory_mb, process_cap_mb
from workers.model_store import trusted
from workers.naming import choose_name, node_name
from workers.tasks import ReadChunk
from workers.turns import take_long_turns

log = logging.getLogger(__name__)

LOG_FORMAT = "%(levelname)s %(name)s %(message)s"  # journald adds the time
CHATTY = ("celery.worker.strategy", "celery.app.trace")  # a line a chunk each; we write our own
QUESTIONS = frozenset(  # of Celery's remote control: what Flower asks, and what turns its events on
    {"active", "active_queues", "clock", "conf", "enable_events", "disable_events", "heartbeat"}
    | {"ping", "query_task", "registered", "report", "reserved", "revoked", "scheduled", "stats"}
)
PRELOADED = (
    "aiohttp",
    "numpy",
    "PIL.BmpImagePlugin",
    "PIL.GifImagePlugin",
    "PIL.JpegImagePlugin",
    "PIL.PngImagePlugin",
    "PIL.PpmImagePlugin",
    "PIL.TiffImagePlugin",
    "PIL.WebPImagePlugin",
)
PRELOADED_IF_THERE = ("uvloop",)


def run_worker(settings: Settings, *, processes: int | None) -> int:
    """Run a worker; SIGTERM or Ctrl-C lets it finish what it has in hand.

    Args:
        settings: of this machine.
        processes: chunks read at once; None takes what suits the machine.

    Returns:
        The exit code.

    Raises:
        AccessError: Redis refuses us.
        ServiceError: Redis cannot be used, or there is no TFLite runtime.
        SettingsError: the worker's name or its trusted keys cannot be used.
    """
    runtime = runtime_name()
    trusted(settings)  # says now what each process would say later
    if settings.is_traced:
        require("opentelemetry.exporter")
    with connect_in_time(settings) as redis, redis_errors(settings.redis_url):
        name = choose_name(settings, redis)
    processes = processes or default_processes()
    log.info(
        "worker-starts name=%s processes=%d runtime=%s redis=%s",
        *(name, processes, runtime, masked(settings.redis_url)),
    )
    with warnings.catch_warnings():  # root is what a container has; and only JSON is accepted
        warnings.simplefilter("ignore", SecurityWarning)
        worker = _make_worker(settings, name=name, processes=processes)
        with _noted_signals() as signals_seen:
            worker.start()
    log.info("worker-stopped name=%s", name)
    return INTERRUPTED if "SIGINT" in signals_seen else int(worker.exitcode or EX_OK)


@contextmanager
def _noted_signals() -> Iterator[set[str]]:
    """Collect the names of the signals that a worker was asked to stop with."""
    seen: set[str] = set()

    def note(sig: str, **_: Any) -> None:
        seen.add(sig)

    signals.worker_shutting_down.connect(note, weak=False, dispatch_uid=__name__)
    try:
        yield seen
    finally:
        signals.worker_shutting_down.disconnect(dispatch_uid=__name__)


def _make_worker(settings: Settings, *, name: str, processes: int) -> Any:
    cap_mb = process_cap_mb(memory_mb=memory_mb(), processes=processes)
    return make_worker_app(settings).Worker(
        hostname=node_name(name),
        concurrency=processes,
        pool_cls="prefork",
        max_memory_per_child=int(1000 * cap_mb),  # KB; it is replaced after its chunk
        consumer_cls=Consumer,
        queues=[QUEUE],
        optimization="fair",  # a chunk goes to a process that is free, not to one that will be
        without_gossip=True,  # both grow with the square of the fleet
        without_mingle=True,
        quiet=True,
        no_color=True,
    )


def configure_logging(loudness: int) -> None:
    """Log to stderr and keep Celery from setting up logs of its own.

    Args:
        loudness: 0 for a line a chunk and a change of state, 1 for steps, -1 for trouble only.
    """
    level = {-1: logging.WARNING, 0: logging.INFO, 1: logging.DEBUG}[max(-1, min(1, loudness))]
    logging.basicConfig(level=level, format=LOG_FORMAT, stream=sys.stderr, force=True)
    for name in CHATTY:
        logging.getLogger(name).setLevel(max(level, logging.WARNING) if loudness < 1 else level)
    signals.setup_logging.connect(_keep_ours, weak=False, dispatch_uid=__name__)


def _keep_ours(**_: Any) -> None:
    """Having a receiver is what tells Celery to leave logging alone."""


def make_worker_app(settings: Settings) -> Celery:
    """Build the application of one worker; nothing connects before it starts."""
    app = make_app(settings.redis_url)
    app.conf.worker_redirect_stdouts = False  # a library that prints is no log line of ours
    app.register_task(ReadChunk(settings))
    app.steps["worker"].add(HeartbeatStep)
    _answer_questions_only()
    _connect_signals(settings)
    return app


def _answer_questions_only() -> None:
    """Take no order by remote control: whoever may reply on its channel could stop the fleet."""
    for name in set(Panel.data) - QUESTIONS:
        del Panel.data[name]
        Panel.meta.pop(name, None)


def _connect_signals(settings: Settings) -> None:
    """Tie what a process keeps to its life; a second application replaces the first."""

    def begin(**_: Any) -> None:
        in_flight.end()
        take_long_turns()
        process.open_process(settings)

    def end(**_: Any) -> None:
        process.close_process()

    def before_fork(**_: Any) -> None:
        preload()
        in_flight.prepare()
        origin_board.prepare()

    for signal, receiver in (
        (signals.worker_init, before_fork),
        (signals.worker_process_init, begin),
        (signals.worker_process_shutdown, end),
    ):
        signal.disconnect(dispatch_uid=__name__)
        signal.connect(receiver, weak=False, dispatch_uid=__name__)


def preload() -> None:
    """Import, and keep the garbage collector from touching (and so copying) what came of it.

    No interpreter and no loop is made here: neither survives a fork.
    """
    for name in PRELOADED:
        importlib.import_module(name)
    for name in PRELOADED_IF_THERE:
        try:
            importlib.import_module(name)
        except ImportError:
            log.debug("not-installed module=%s", name)
    try:
        runtime_name()
    except ServiceError as error:  # each chunk will say so, with an outcome of its own
        log.error("no-runtime error=%s", error)
    gc.collect()
    gc.freeze()

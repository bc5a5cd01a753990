"""Run one worker in this process until it is told to stop."""

from __future__ import annotations

import logging
import sys
import warnings
from typing import Any

from celery import signals
from celery.platforms import EX_OK, SecurityWarning

from broker.connection import connect, masked, redis_errors
from broker.keys import QUEUE
from contract.settings import Settings
from recognition.interpreter import runtime_name
from workers.assembly import make_worker_app
from workers.health.host import default_processes
from workers.model_store import trusted
from workers.naming import choose_name, node_name

log = logging.getLogger(__name__)

LOG_FORMAT = "%(levelname)s %(name)s %(message)s"  # journald adds the time
CHATTY = ("celery.worker.strategy", "celery.app.trace")  # a line a chunk each; we write our own


def run_worker(settings: Settings, *, processes: int | None) -> int:
    """Run a worker; SIGTERM or Ctrl-C lets it finish what it has in hand.

    Args:
        settings: of this machine.
        processes: chunks read at once; None takes what suits the machine.

    Returns:
        The exit code.

    Raises:
        ServiceError: Redis cannot be used, or there is no TFLite runtime.
        SettingsError: the worker's name or its trusted keys cannot be used.
    """
    runtime = runtime_name()
    trusted(settings)  # says now what each process would say later
    with connect(settings.redis_url) as redis, redis_errors(settings.redis_url):
        name = choose_name(settings, redis)
    processes = processes or default_processes()
    log.info(
        "worker-starts name=%s processes=%d runtime=%s redis=%s",
        *(name, processes, runtime, masked(settings.redis_url)),
    )
    with warnings.catch_warnings():  # root is what a container has; and only JSON is accepted
        warnings.simplefilter("ignore", SecurityWarning)
        worker = _make_worker(settings, name=name, processes=processes)
        worker.start()
    log.info("worker-stopped name=%s", name)
    return int(worker.exitcode or EX_OK)


def _make_worker(settings: Settings, *, name: str, processes: int) -> Any:
    return make_worker_app(settings).Worker(
        hostname=node_name(name),
        concurrency=processes,
        pool_cls="prefork",
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

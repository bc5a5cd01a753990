"""Put a worker's Celery application together: the task, its processes' tools, and the pulse."""

from __future__ import annotations

from typing import Any

from celery import Celery, signals

from broker.app import make_app
from contract.settings import Settings
from workers import process
from workers.health import in_flight as witness
from workers.health.pulse import Pulse
from workers.preload import preload
from workers.tasks import ReadChunk


def make_worker_app(settings: Settings) -> Celery:
    """Build the application of one worker; nothing connects before it starts."""
    app = make_app(settings.redis_url)
    app.conf.worker_redirect_stdouts = False  # a library that prints is no log line of ours
    app.register_task(ReadChunk(settings))
    app.steps["worker"].add(Pulse)
    _connect_signals(settings)
    return app


def _connect_signals(settings: Settings) -> None:
    """Tie what a process keeps to its life; a second application replaces the first."""

    def begin(**_: Any) -> None:
        witness.end()
        process.open_process(settings)

    def end(**_: Any) -> None:
        process.close_process()

    def before_fork(**_: Any) -> None:
        preload()
        witness.prepare()

    for signal, receiver in (
        (signals.worker_init, before_fork),
        (signals.worker_process_init, begin),
        (signals.worker_process_shutdown, end),
    ):
        signal.disconnect(dispatch_uid=__name__)
        signal.connect(receiver, weak=False, dispatch_uid=__name__)

"""The Celery application that producer and workers share, with the settings that were needed.

Each was found necessary in a fault, and says which. What Celery loses all the same, the ledger
brings back: see docs/architecture.md.
"""

from __future__ import annotations

from typing import Any

from celery import Celery
from kombu import Queue

from contract.wire import KEY_PREFIX, QUEUE

SOCKET_TIMEOUT_S = 15.0  # without it a half-open connection leaves a worker deaf for good
HARD_LIMIT_S = 300  # a chunk that takes this long hangs: its process is killed
SOFT_LIMIT_S = 240  # a worker gives a chunk up itself a minute before

TRANSPORT: dict[str, Any] = {
    "visibility_timeout": 4 * HARD_LIMIT_S,  # well above the longest chunk, else it runs twice
    "socket_timeout": SOCKET_TIMEOUT_S,
    "socket_connect_timeout": 5.0,
    "socket_keepalive": True,
    "health_check_interval": 25,
    "unacked_restore_interval": 30,
    "global_keyprefix": KEY_PREFIX,
}


def make_app(redis_url: str) -> Celery:
    """Build the application; nothing connects before it is used.

    Args:
        redis_url: ``redis://``, ``rediss://`` or ``redis+socket://`` as Celery takes it.
    """
    app = Celery("pifleet", broker=broker_url(redis_url), set_as_current=False)
    app.conf.update(
        task_queues=[Queue(QUEUE)],
        task_default_queue=QUEUE,
        broker_transport_options=TRANSPORT,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,  # a Pi outlives any outage of the broker
        worker_prefetch_multiplier=1,  # a slow Pi must not hoard what an idle one could take
        task_acks_late=True,  # acknowledged after its rows are in the stream
        task_reject_on_worker_lost=False,  # the worker reports the crash; a blind requeue loops
        task_ignore_result=True,  # rows go to the job's stream, not to a result a task
        task_time_limit=HARD_LIMIT_S,
        # No task_soft_time_limit: its exception strikes anywhere, and uvloop swallows it. The
        # worker's own timeout at SOFT_LIMIT_S ends a chunk that waits; the hard limit the rest.
        task_serializer="json",
        accept_content=["json"],
        result_accept_content=["json"],
        task_compression="zlib",  # URLs of one job share most of their letters
        worker_send_task_events=True,  # Flower lives on them
        task_send_sent_event=False,
        worker_enable_remote_control=True,
        worker_soft_shutdown_timeout=30.0,
        worker_hijack_root_logger=False,
        worker_cancel_long_running_tasks_on_connection_loss=False,  # a duplicate is harmless
    )
    return app


def broker_url(redis_url: str) -> str:
    """Spell a redis-py URL as kombu wants it: a socket is ``redis+socket://`` there."""
    if redis_url.startswith("unix://"):
        return "redis+socket://" + redis_url.removeprefix("unix://")
    return redis_url


def client_url(redis_url: str) -> str:
    """Spell a broker URL as redis-py wants it: a socket is ``unix://`` there."""
    if redis_url.startswith("redis+socket://"):
        return "unix://" + redis_url.removeprefix("redis+socket://")
    return redis_url

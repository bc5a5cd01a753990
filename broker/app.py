"""The Celery application that producer and workers share, with the settings that were needed.

Each was found necessary in a fault, and says which. What Celery loses all the same, the ledger
brings back: see docs/architecture.md.
"""

from __future__ import annotations

from ssl import CERT_REQUIRED
from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit

from celery import Celery
from kombu import Queue
from kombu.transport import TRANSPORT_ALIASES

from broker.connection import SOCKET_TIMEOUT_S
from broker.keys import KEY_PREFIX, QUEUE
from broker.sentinel import is_sentinel, sentinel_options
from broker.sentinel import parse as parse_sentinel
from contract.clocks import HARD_LIMIT_S

TRANSPORTS = {  # in place of kombu's own, which need Lua
    "redis": "broker.transport:Transport",
    "rediss": "broker.transport:Transport",
    "sentinel": "broker.transport:SentinelTransport",
}
TRANSPORT: dict[str, Any] = {
    # What a worker has taken is noted in no hash that every other could read: the ledger knows what
    # has no answer, and the reconciler sends it again sooner than any visibility timeout would.
    "ack_emulation": False,
    "socket_timeout": SOCKET_TIMEOUT_S,
    "socket_connect_timeout": 5.0,
    "socket_keepalive": True,
    "health_check_interval": 10,  # a half-open connection is noticed after one to two of these
    "global_keyprefix": KEY_PREFIX,
    "priority_steps": [0],  # one list; kombu looks into four for each chunk, and ACLs name them all
}


def make_app(redis_url: str) -> Celery:
    """Build the application; nothing connects before it is used.

    Args:
        redis_url: ``redis://``, ``rediss://``, ``unix://`` or ``sentinel://``.
    """
    TRANSPORT_ALIASES.update(TRANSPORTS)
    app = Celery("pifleet", broker=broker_url(redis_url), set_as_current=False)
    app.conf.update(
        broker_use_ssl=tls_options(redis_url),
        task_queues=[Queue(QUEUE)],
        task_default_queue=QUEUE,
        broker_transport_options={**TRANSPORT, **failover_options(redis_url)},
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
        worker_send_task_events=False,  # Flower asks for them while somebody looks
        task_send_sent_event=False,
        worker_enable_remote_control=True,
        worker_soft_shutdown_timeout=0.5,  # after a second Ctrl-C; the first waits for the chunk
        worker_hijack_root_logger=False,
        worker_cancel_long_running_tasks_on_connection_loss=False,  # a duplicate is harmless
    )
    return app


def tls_options(redis_url: str) -> dict[str, Any] | None:
    """Ask for TLS where the URL does; of its own kombu would not check the certificate."""
    if is_sentinel(redis_url):
        authority = parse_sentinel(redis_url).authority
        return {"ssl_cert_reqs": CERT_REQUIRED, "ssl_ca_certs": authority} if authority else None
    return {"ssl_cert_reqs": CERT_REQUIRED} if urlsplit(redis_url).scheme == "rediss" else None


def failover_options(redis_url: str) -> dict[str, Any]:
    """Name the master to ask for, where the URL names Sentinels."""
    if not is_sentinel(redis_url):
        return {}
    place = parse_sentinel(redis_url)
    patience = {name: TRANSPORT[name] for name in ("socket_timeout", "socket_connect_timeout")}
    return {"master_name": place.master, "sentinel_kwargs": sentinel_options(place, **patience)}


def _socket_url(redis_url: str) -> str:
    """Spell a socket's URL: redis-py reads database and password in the query, kombu elsewhere."""
    parts = urlsplit(redis_url)
    options = dict(parse_qsl(parts.query))
    user = parts.username or quote(options.get("username", ""), safe="")
    password = parts.password or quote(options.get("password", ""), safe="")
    login = f"{user}:{password}@" if user or password else ""
    database = options.get("db") or options.get("virtual_host") or "0"
    return f"redis+socket://{login}{parts.path}?virtual_host={database}"


def broker_url(redis_url: str) -> str:
    """Spell a redis-py URL as kombu wants it: a socket is ``redis+socket://`` there."""
    if redis_url.startswith(("unix://", "redis+socket://")):
        return _socket_url(redis_url)
    return parse_sentinel(redis_url).for_kombu() if is_sentinel(redis_url) else redis_url

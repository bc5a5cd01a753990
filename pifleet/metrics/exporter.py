"""``pifleet exporter``: the fleet's metrics over HTTP, for a Prometheus on the same machine."""

from __future__ import annotations

import logging
import os
import threading

import click

from contract.settings import Settings

log = logging.getLogger(__name__)

PORT = 9717
TIMEOUT_S = 5.0  # of the broker; Prometheus gives a scrape ten seconds
MOST_SENTENCES = 1000


class SaidOnce(logging.Filter):
    """Lets each sentence pass once: the same damaged ledger is found at every scrape."""

    def __init__(self) -> None:
        super().__init__()
        self._said: set[str] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        """Tell whether a record says something new."""
        sentence = record.getMessage()
        if sentence in self._said:
            return False
        if len(self._said) >= MOST_SENTENCES:
            self._said.clear()
        self._said.add(sentence)
        return True


def serve(settings: Settings, *, bind: str, port: int) -> None:
    """Serve metrics until Ctrl-C, whether or not the broker is there.

    Raises:
        SettingsError: the port is taken, or the broker's URL cannot be parsed.
    """
    from prometheus_client import CollectorRegistry, start_http_server

    from broker.connection import make_client
    from pifleet.local.redis_server import check_free
    from pifleet.metrics.collector import FleetCollector

    check_free(bind, port, name="--port")
    for handler in logging.getLogger().handlers:
        handler.addFilter(SaidOnce())
    registry = CollectorRegistry()
    client = make_client(settings.redis_url, timeout_s=TIMEOUT_S)
    registry.register(FleetCollector(client, settings))
    server, thread = start_http_server(port, addr=bind, registry=registry)
    click.echo(f"metrics: http://{bind}:{port}/metrics", err=True)
    try:
        threading.Event().wait()
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@click.command()
@click.option("--redis-url", help="Broker; default PIFLEET_REDIS_URL. The role metrics is enough.")
@click.option("--port", type=click.IntRange(1, 65535), default=PORT, show_default=True)
@click.option(
    "--bind",
    default="127.0.0.1",
    show_default=True,
    help="Address to listen on; metrics name workers, origins and jobs, and ask for no password.",
)
def exporter(redis_url: str | None, port: int, bind: str) -> None:
    """Serve the fleet's metrics to Prometheus: workers, queue, origins, and this machine's jobs.

    \b
    Example: pifleet exporter --port 9717
    """
    serve(Settings.from_env(os.environ, redis_url=redis_url), bind=bind, port=port)

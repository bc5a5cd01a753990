"""A Pi has no clock: until it hears a time server, every certificate seems to be of the future."""

from __future__ import annotations

import logging
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from broker.connection import connect, is_before_certificate
from contract.errors import ServiceError
from contract.settings import Settings
from workers.health.systemd import notify

if TYPE_CHECKING:
    from redis import Redis

log = logging.getLogger(__name__)

POLL_S = 2.0
SAY_S = 60.0
MORE_TIME = "EXTEND_TIMEOUT_USEC=30000000"  # systemd ends a start that takes too long


def connect_in_time(settings: Settings) -> Redis:
    """Connect to the broker; while this machine's clock is behind its certificate, wait and say so.

    Raises:
        AccessError: the broker refuses us.
        ServiceError: it cannot be used, for any other reason than the time.
    """
    said_at = float("-inf")
    while True:
        try:
            return connect(settings.redis_url)
        except ServiceError as error:
            if not is_before_certificate(error):
                raise
        notify(settings.notify_socket, MORE_TIME)
        if time.monotonic() - said_at > SAY_S:
            said_at = time.monotonic()
            log.warning("clock-is-behind now=%s: waiting for a time server", _now())
        time.sleep(POLL_S)


def _now() -> str:
    return f"{datetime.now(UTC):%Y-%m-%dT%H:%MZ}"

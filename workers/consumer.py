"""What takes chunks from the queue, and leaves where Redis refuses it: that does not pass."""

from __future__ import annotations

import logging
import warnings
from typing import Any

from celery.exceptions import CPendingDeprecationWarning, WorkerShutdown
from celery.worker import consumer, state
from redis.exceptions import RedisError

from broker.connection import is_refused
from contract.exit_codes import USAGE

log = logging.getLogger(__name__)


class Consumer(consumer.Consumer):  # type: ignore[misc]  # celery ships no types
    """Celery's, which would try a wrong password for ever and end on a missing right by accident.

    Another process would be refused, too; systemd starts it again after a while all the same, for
    the user may be granted anew.
    """

    def start(self) -> None:
        """Take chunks until the worker stops, or has no right to."""
        try:
            super().start()
        except RedisError as error:
            _leave_if_refused(error)
            raise

    def ensure_connected(self, conn: Any) -> Any:
        """Connect for as long as it takes, unless the broker answers and refuses."""
        try:
            conn.connect()
        except conn.recoverable_connection_errors as error:
            _leave_if_refused(error)
        return super().ensure_connected(conn)

    def on_connection_error_after_connected(self, exc: BaseException) -> Any:
        """Connect again, unless it was a refusal that cut the connection."""
        _leave_if_refused(exc)
        with warnings.catch_warnings():  # of a default to come, of which broker/app.py says no
            warnings.simplefilter("ignore", CPendingDeprecationWarning)
            return super().on_connection_error_after_connected(exc)


def note_refusal(error: BaseException) -> None:
    """Say once that Redis refuses this worker, and let its main loop end as at SIGTERM."""
    if state.should_stop is None or state.should_stop is False:
        log.error("refused error=%s action=exit (see PIFLEET_REDIS_URL)", str(error).strip(" ."))
        state.should_stop = USAGE


def _leave_if_refused(error: BaseException) -> None:
    if is_refused(error):
        note_refusal(error)
        raise WorkerShutdown(USAGE) from error

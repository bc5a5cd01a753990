"""Processes that a Ctrl-C leaves to the one that started them."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker


@contextmanager
def interrupts_held() -> Iterator[None]:
    """Start processes in here, which then never see a Ctrl-C: their parent ends them.

    A terminal sends it to all of them at once, and each would print a traceback of its own. The
    mask is inherited, so that it holds before their first line of Python; one that arrives
    meanwhile comes to the parent at the end.
    """
    resource_tracker.ensure_running()  # its start, with the first process, would undo the mask
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)

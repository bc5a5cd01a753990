"""Processes that a Ctrl-C leaves to the one that started them, and work in several."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import get_context, resource_tracker
from typing import TypeVar

Result = TypeVar("Result")


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


def spread(
    task: Callable[[range], Result], n: int, workers: int, *, chunk: int
) -> Iterator[Result]:
    """Do a task for chunks of ``n`` items, in their order, in some processes."""
    chunks = [range(start, min(start + chunk, n)) for start in range(0, n, chunk)]
    if workers == 1:
        yield from map(task, chunks)
        return
    with interrupts_held():
        started = get_context("spawn").Pool(workers)  # a fork would copy a loaded TensorFlow
    with started as pool:
        yield from pool.imap(task, chunks)

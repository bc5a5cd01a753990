"""Processes that a Ctrl-C leaves to the one that started them, and work in several."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from multiprocessing import get_context, resource_tracker
from typing import TypeVar

Result = TypeVar("Result")


@contextmanager
def interrupts_held() -> Iterator[None]:
    """Start processes in here, which then never see a Ctrl-C: their parent ends them.

    A terminal sends it to all of them at once, and each would print a traceback of its own. The
    mask is inherited, so that it holds before their first line of Python. One that arrives
    meanwhile comes to the parent at the end; the mask alone would not see to that, as threads of
    the parent that do not have it (a library's for its arithmetic) hear it in its place.
    """
    resource_tracker.ensure_running()  # its start, with the first process, would undo the mask
    heard: list[int] = []
    in_main = threading.current_thread() is threading.main_thread()  # no other is interrupted
    handler = signal.getsignal(signal.SIGINT)
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    if in_main:
        signal.signal(signal.SIGINT, lambda number, _: heard.append(number))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        if in_main:
            signal.signal(signal.SIGINT, handler)
        if heard:
            signal.raise_signal(signal.SIGINT)


def spread(
    task: Callable[[range], Result], n: int, workers: int, *, chunk: int
) -> Iterator[Result]:
    """Do a task for chunks of ``n`` items, in their order, in some processes."""
    chunks = [range(start, min(start + chunk, n)) for start in range(0, n, chunk)]
    if workers == 1:
        yield from map(task, chunks)
        return
    spawn = get_context("spawn")  # a fork would copy a loaded TensorFlow
    with ExitStack() as stack:
        with interrupts_held():
            pool = stack.enter_context(spawn.Pool(workers))
        yield from pool.imap(task, chunks)

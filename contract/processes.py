"""Processes that a Ctrl-C leaves to the one that started them, and work in several."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from multiprocessing import active_children, get_context, resource_tracker
from types import TracebackType
from typing import Any, ParamSpec, TypeVar

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

SPAWN = get_context("spawn")  # a fork would copy a loaded TensorFlow, and the locks of threads


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


class ProcessPool(ProcessPoolExecutor):
    """Processes that a Ctrl-C ends at once, without a word of theirs; their death is noticed."""

    def __init__(
        self,
        workers: int,
        initializer: Callable[..., object] | None = None,
        initargs: tuple[Any, ...] = (),
    ) -> None:
        super().__init__(workers, SPAWN, initializer, initargs)

    def submit(
        self,
        fn: Callable[Arguments, Result],
        /,
        *args: Arguments.args,
        **kwargs: Arguments.kwargs,
    ) -> Future[Result]:
        """Begin a call; that starts a process, until there are enough."""
        with interrupts_held():
            return super().submit(fn, *args, **kwargs)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Wait for what was begun, unless that is interrupted; what was not begun is left out.

        An interrupt ends all processes of this program: it has no others, and ends itself.
        """
        if kind is KeyboardInterrupt:
            for process in active_children():
                process.terminate()
        self.shutdown(cancel_futures=True)


def spread(
    task: Callable[[range], Result], n: int, workers: int, *, chunk: int
) -> Iterator[Result]:
    """Do a task for chunks of ``n`` items, in their order, in some processes."""
    chunks = [range(start, min(start + chunk, n)) for start in range(0, n, chunk)]
    if workers == 1:
        yield from map(task, chunks)
        return
    with ExitStack() as stack:
        with interrupts_held():
            pool = stack.enter_context(SPAWN.Pool(workers))
        yield from pool.imap(task, chunks)

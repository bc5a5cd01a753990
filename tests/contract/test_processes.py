"""A Ctrl-C while processes are started."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest

from contract.processes import interrupts_held


def test_interrupt_that_another_thread_hears_waits_for_the_end() -> None:
    reached = threading.Event()
    other = threading.Thread(target=reached.wait, args=(10,))
    other.start()  # before the mask, which it does not inherit

    def start_processes() -> None:
        with interrupts_held():
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.1)  # long enough for Python to act on it
            reached.set()

    with pytest.raises(KeyboardInterrupt):
        start_processes()
    other.join()
    assert reached.is_set()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ())

"""Let a pool process end with its worker, however that ends.

Left alone it mostly notices that nobody sends it work any more; but processes hold each other's
pipes open, and now and then two of them stay for good, with all their memory.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1  # from <linux/prctl.h>

_parent = 0


def note_parent() -> None:
    """Remember who we are; called in the parent, before it forks."""
    global _parent
    _parent = os.getpid()


def end_with_parent() -> None:
    """Have the kernel kill this pool process when the thread that forked it ends; Linux only.

    What it has in hand was lost with its worker's heartbeat already.
    """
    if not sys.platform.startswith("linux"):
        return
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if _parent and os.getppid() != _parent:  # it died before we could ask
        os._exit(1)

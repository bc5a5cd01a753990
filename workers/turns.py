"""Longer turns on a core, where the kernel grants them: each switch empties the caches.

A worker has more processes than cores, so that some read while others wait for the last images of
their chunks. Where an origin is quick all of them want a core at once, and change every one to
three milliseconds, which is an image or two; what a process needs in the caches then comes from
memory again and again. Six processes on two cores took 1.4 times the CPU an image with such turns
as with those of 20 ms (nginx, ``captcha-small``; 1.4 ms, Linux 6.18).

Source: sched_setattr(2); since Linux 6.12 its ``sched_runtime`` is the turn of a task that has no
deadline, 0.1 to 100 ms (kernel/sched/syscalls.c); before that it is ignored.
"""

from __future__ import annotations

import ctypes
import os
import platform
import sys

TURN_NS = 20_000_000
# Of the system call, by the kernel's word for the machine and this program's bits: 32-bit Pi OS has
# a 64-bit kernel, where 274 would be another call.
NUMBERS = {("x86_64", 64): 314, ("aarch64", 64): 274} | {
    (machine, 32): 380 for machine in ("aarch64", "armv8l", "armv7l", "armv6l")
}


class SchedAttr(ctypes.Structure):
    """The kernel's ``struct sched_attr``, in its first form, that every kernel takes."""

    _fields_ = (
        ("size", ctypes.c_uint32),
        ("policy", ctypes.c_uint32),
        ("flags", ctypes.c_uint64),
        ("nice", ctypes.c_int32),
        ("priority", ctypes.c_uint32),
        ("runtime", ctypes.c_uint64),
        ("deadline", ctypes.c_uint64),
        ("period", ctypes.c_uint64),
    )


def take_long_turns() -> bool:
    """Ask for long turns of this process; returns whether the system call was let through."""
    number = call_number(sys.platform, platform.machine(), 8 * ctypes.sizeof(ctypes.c_void_p))
    if number is None:
        return False
    asked = SchedAttr(
        size=ctypes.sizeof(SchedAttr),
        policy=os.SCHED_BATCH,  # whoever is interactive goes first
        nice=os.getpriority(os.PRIO_PROCESS, 0),
        runtime=TURN_NS,
    )
    return bool(ctypes.CDLL(None).syscall(ctypes.c_long(number), 0, ctypes.byref(asked), 0) == 0)


def call_number(system: str, machine: str, bits: int) -> int | None:
    """Find the number of the system call; None where it is not known, as on a Mac."""
    return NUMBERS.get((machine, bits)) if system == "linux" else None

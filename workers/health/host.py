"""What the machine tells of itself: temperature, throttling, memory."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable
from pathlib import Path

import psutil

from broker.heartbeats import SENSIBLE_C

TEMPERATURE = Path("/sys/class/thermal/thermal_zone0/temp")  # thousandths of a degree Celsius
THROTTLED = Path("/sys/devices/platform/soc/soc:firmware/get_throttled")  # hexadecimal flags
VCGENCMD = ("vcgencmd", "get_throttled")  # says throttled=0x50000
VCGENCMD_TIMEOUT_S = 2.0
MODEL = Path("/proc/device-tree/model")  # "Raspberry Pi 4 Model B Rev 1.4", ended by a NUL
CGROUP_MAX = Path("/sys/fs/cgroup/memory.max")  # of this container or unit; "max" for none
PROCESSES_PER_CORE = 3  # with 80 ms to the origin, 2 left a third of the cores idle, 3 a sixth
PROCESS_MB = 50  # of its own, measured as 20 to 30; the other 50 are shared with the parent
SPARE_MB = 150  # for the parent process and the system
SHARED_MB = 60  # that a process's resident memory counts, and the parent has already
FEWEST_MB = 100  # of a process's own: one large image, and a model


def temperature_c(path: Path = TEMPERATURE) -> float | None:
    """Read the processor's temperature; None where the machine does not tell."""
    try:
        found = int(path.read_text()) / 1000.0
    except (OSError, ValueError):
        return None
    return found if SENSIBLE_C[0] < found < SENSIBLE_C[1] else None


def throttled_flags(path: Path = THROTTLED) -> int | None:
    """Read a Pi's ``get_throttled`` flags; None on other machines.

    Bit 0 is under-voltage now, bit 2 throttled now, bits 16 and 18 the same since the start.

    Source: https://www.raspberrypi.com/documentation/computers/os.html#get_throttled
    """
    try:
        return int(path.read_text(), 16)
    except (OSError, ValueError):
        return _ask_vcgencmd()


def machine_model(path: Path = MODEL) -> str:
    """Read which Pi this is; empty on other machines."""
    try:
        return path.read_text(errors="replace").strip("\0\n ")
    except OSError:
        return ""


def memory_mb(cgroup_max: Path = CGROUP_MAX) -> float:
    """Say how much memory there is: the machine's, or what a container or unit may have of it."""
    total_mb: float = psutil.virtual_memory().total / 1e6
    try:
        return min(total_mb, int(cgroup_max.read_text()) / 1e6)
    except (OSError, ValueError):
        return total_mb


def process_cap_mb(*, memory_mb: float, processes: int) -> float:
    """Say at which resident memory a process is replaced: each has its share of the machine.

    Raspberry Pi OS has no memory cgroup unless its command line asks for one, so the unit's
    ``MemoryMax`` may do nothing; this does.
    """
    return SHARED_MB + max(FEWEST_MB, (memory_mb - SPARE_MB) / processes)


def rss_mb(pids: Iterable[int]) -> float:
    """Add up the resident memory of processes, shared pages counted for each of them."""
    total = 0
    for pid in pids:
        try:
            total += psutil.Process(pid).memory_info().rss
        except psutil.Error:  # replaced a moment ago
            continue
    return total / 1e6


def default_processes() -> int:
    """Say how many processes suit this machine's cores and free memory; at least one."""
    free_mb = psutil.virtual_memory().available / 1e6
    return processes_for(cores=usable_cores(), free_mb=free_mb)


def processes_for(*, cores: int, free_mb: float) -> int:
    """Take three a core, or as many as the memory bears."""
    return max(1, min(PROCESSES_PER_CORE * cores, int((free_mb - SPARE_MB) // PROCESS_MB)))


def usable_cores() -> int:
    """Count the cores that this process may use: a container or taskset may give fewer."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _ask_vcgencmd() -> int | None:
    try:
        done = subprocess.run(
            VCGENCMD, capture_output=True, text=True, timeout=VCGENCMD_TIMEOUT_S, check=True
        )
        return int(done.stdout.strip().partition("=")[2], 16)
    except (OSError, ValueError, subprocess.SubprocessError):
        return None

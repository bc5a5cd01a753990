"""Workers that are started again a second after they ended, as systemd does, and their processes.

The supervisor of ``pifleet up`` would wait up to half a minute: its backoff is for a worker that
cannot run at all, and here each is ended on purpose.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from pifleet.local.children import Child, end_child, start_child

RESTART_S = 1.0
STOP_S = 40.0
MARKS = ("PIFLEET_WORKER_NAME", "PIFLEET_STATE_DIR")  # the folder is this run's own
ORPHANS_S = 15.0  # a pool process notices within two seconds that its worker is gone


@dataclass(frozen=True, slots=True)
class Command:
    """How one worker is started."""

    name: str
    argv: Sequence[str]
    env: Mapping[str, str]
    log: Path


class Kept:
    """One worker, whichever process it is now."""

    def __init__(self, command: Command) -> None:
        self.command = command
        self.starts = 0
        self._restart_at: float | None = None
        self._child = self._start()

    @property
    def pid(self) -> int | None:
        """The id of its main process; None while it has none."""
        return self._child.pid if self._child.poll() is None else None

    def tick(self) -> None:
        """Start it again when it is time."""
        now = time.monotonic()
        if self._child.poll() is None:
            return
        if self._restart_at is None:
            self._restart_at = now + RESTART_S
        elif now >= self._restart_at:
            self._restart_at = None
            self._child = self._start()

    def pool(self) -> list[int]:
        """Give the ids of its pool processes."""
        if self.pid is None:
            return []
        with suppress(psutil.Error):
            return [child.pid for child in psutil.Process(self.pid).children()]
        return []

    def signal_all(self, number: int) -> None:
        """Send a signal to the worker and its pool processes."""
        if self.pid is not None:
            os.killpg(self.pid, number)

    def terminate(self) -> None:
        """Ask it to finish what it has in hand and end."""
        if self._child.poll() is None:
            self._child.terminate()

    def end(self) -> None:
        """Ask, wait, insist."""
        end_child(self._child, grace_s=STOP_S)

    def orphans(self) -> list[int]:
        """Give the ids of pool processes whose worker is gone.

        They are known by their environment: a run with many kills uses up all process ids, and an
        old one may be anybody's by now.
        """
        ours = {name: self.command.env[name] for name in MARKS}
        living = {self.pid, *self.pool()}
        return [pid for pid in psutil.pids() if pid not in living and _has(pid, ours)]

    def _start(self) -> Child:
        command = self.command
        child = start_child(command.argv, env=command.env, log=command.log)
        self.starts += 1
        return child


def kill(pid: int) -> bool:
    """Kill a process, and say whether it was there."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
        return True
    return False


def end_all(workers: Sequence[Kept]) -> int:
    """End all workers, which drain at the same time; gives how many orphans had to be killed."""
    for worker in workers:
        worker.signal_all(signal.SIGCONT)
        worker.terminate()
    for worker in workers:
        worker.end()
    deadline = time.monotonic() + ORPHANS_S
    while (left := _orphans(workers)) and time.monotonic() < deadline:
        time.sleep(0.1)  # polling with a deadline
    return sum(kill(pid) for pid in left)


def _orphans(workers: Sequence[Kept]) -> list[int]:
    return [pid for worker in workers for pid in worker.orphans()]


def _has(pid: int, variables: Mapping[str, str]) -> bool:
    """Say whether a process was started with these variables."""
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        env = process.environ()
    except psutil.Error:
        return False
    return all(env.get(name) == value for name, value in variables.items())

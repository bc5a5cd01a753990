"""What the harness runs beside itself; each says its address on its first line, ends with us."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from contract.errors import ServiceError
from pifleet.local.children import Child, end_child, last_line, start_child

START_S = 30.0


@dataclass(frozen=True, slots=True)
class Program:
    """A program that runs, and the address it gave."""

    child: Child
    address: str


@contextmanager
def program(module: str, *arguments: str) -> Iterator[Program]:
    """Run ``python -m module`` for as long as the block lasts.

    Raises:
        ServiceError: it ends, or says no address in time.
    """
    with tempfile.TemporaryDirectory(prefix="pifleet-chaos-") as scratch:
        log = Path(scratch) / "log"
        child = start_child([sys.executable, "-m", module, *arguments], log=log)
        try:
            yield Program(child, _address(module, child, log))
        finally:
            end_child(child, grace_s=5.0)


def _address(module: str, child: Child, log: Path) -> str:
    deadline = time.monotonic() + START_S
    while not log.read_text().endswith("\n"):
        if child.poll() is not None or time.monotonic() > deadline:
            raise ServiceError(f"{module} did not start: {last_line(log)}")
        time.sleep(0.02)  # polling with a deadline
    return log.read_text().splitlines()[0]

"""Start child processes that end with us, and end them by their id."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

PR_SET_PDEATHSIG = 1  # from <linux/prctl.h>

Child = subprocess.Popen[bytes]


def start_child(
    command: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    log: Path | None = None,
    stdout: Path | None = None,
) -> Child:
    """Start a process in a session of its own, with no terminal to read from.

    A session of its own keeps Ctrl-C from it: it is this program that decides in which order the
    stack ends. On Linux the kernel ends it should this program be killed; that hangs on the thread
    that calls this, which must live as long as the child is to.

    Args:
        command: the program and its arguments.
        env: its whole environment; None passes ours on.
        log: a file that gets all that it writes; None lets it write where we do.
        stdout: a file that gets its results only; its stderr stays ours.
    """
    target = log or stdout
    output = None if target is None else target.open("ab")
    try:
        return subprocess.Popen(
            command,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=None if log is None else subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=_end_with_parent if sys.platform == "linux" else None,
        )
    finally:
        if output is not None:
            output.close()


def end_child(child: Child, *, grace_s: float) -> int:
    """Ask a child to end, then insist; return its exit code."""
    if child.poll() is None:
        child.terminate()
    try:
        return child.wait(timeout=grace_s)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)  # its session: a worker's own processes too
        return child.wait(timeout=grace_s)


@contextmanager
def sigterm_as_exit() -> Iterator[None]:
    """Let SIGTERM run the ``finally`` clauses, as Ctrl-C does.

    Ctrl-C itself does so even where a shell started us in the background, with SIGINT ignored.
    """

    def leave(number: int, frame: object) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, leave)
    interrupt_before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
        signal.signal(signal.SIGINT, interrupt_before)


def last_line(log: Path) -> str:
    """Read what a process said last, for the sentence that reports its end."""
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1].strip() if lines else "it said nothing"


def _end_with_parent() -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)

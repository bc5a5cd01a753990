"""One producer a ledger: a lock that ends with the process, however that ends."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from contract.errors import LedgerError, OutputError


def lock_path(ledger: Path) -> Path:
    """Name the file whose lock says that a producer is at work on a ledger."""
    return ledger.with_name(ledger.name + "-lock")


def is_in_use(ledger: Path) -> bool:
    """Say whether a producer is at work on a ledger."""
    try:
        drop_lock(ledger, take_lock(ledger))
    except LedgerError:
        return True
    return False


def take_lock(path: Path) -> int:
    """Take a ledger's lock and give its file descriptor, for ``drop_lock``.

    Raises:
        LedgerError: another producer holds it.
        OutputError: the folder cannot be written.
    """
    while True:
        try:
            file = os.open(lock_path(path), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise OutputError(f"ledger {path} cannot be written: {error.strerror}") from error
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(file)
            message = f"ledger {path} is in use by another producer: wait for it, or end it"
            raise LedgerError(message) from error
        if _is_still_there(path, file):
            return file
        os.close(file)  # its owner removed it between our opening and our locking


def drop_lock(path: Path, file: int) -> None:
    """Remove the lock file, then let go of it: in this order nobody can hold a removed one."""
    lock_path(path).unlink(missing_ok=True)
    os.close(file)


def _is_still_there(path: Path, file: int) -> bool:
    try:
        return os.path.samestat(os.fstat(file), lock_path(path).stat())
    except FileNotFoundError:
        return False

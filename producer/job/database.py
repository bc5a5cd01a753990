"""Open the SQLite file behind a ledger, with the settings that a crash needs."""

from __future__ import annotations

import importlib.resources
import sqlite3
from pathlib import Path

from contract.errors import LedgerError, OutputError


def open_database(path: Path, *, read_only: bool) -> sqlite3.Connection:
    """Open, or make, a ledger's database.

    Raises:
        sqlite3.DatabaseError: it cannot be opened; ``opening_error`` says it in our words.
    """
    if read_only:
        database = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=10)
        database.execute("SELECT 1 FROM meta LIMIT 1")
        return database
    database = sqlite3.connect(path, timeout=10, isolation_level=None)
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = NORMAL")  # a power cut costs resends, not rows' truth
    database.execute("PRAGMA cache_size = -65536")  # 64 MB: the index of a million names
    database.executescript((importlib.resources.files("producer.job") / "schema.sql").read_text())
    return database


def opening_error(path: Path, error: sqlite3.DatabaseError) -> LedgerError | OutputError:
    """Put SQLite's error into a sentence."""
    if isinstance(error, sqlite3.OperationalError):
        return OutputError(f"ledger {path} cannot be opened: {error}")
    return LedgerError(f"{path} is no ledger of pifleet: {error}; give another -o")

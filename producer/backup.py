"""Backup and restore of this machine's jobs: their ledgers, copied while producers are at work.

What Redis holds is the work in flight, which a ledger sends again; so the ledgers are all that must
be kept. A backup is a tar file with a list of the jobs first and then a ledger each.
"""

from __future__ import annotations

import io
import logging
import sqlite3
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import IO

import click
import msgspec

from broker.chunks import JobId
from contract.errors import FleetError, LedgerError, OutputError, SourceError
from contract.files import atomic_write, check_output
from contract.settings import Settings
from producer.cli import job_settings
from producer.job.store import Ledger, held
from producer.registry import known_jobs, remember
from producer.submission import ledger_path
from producer.words import counted

log = logging.getLogger(__name__)

LIST = "jobs.json"  # the first member
MAX_LIST_BYTES = 10_000_000
COPY_BYTES = 1 << 20


class Kept(msgspec.Struct, frozen=True):
    """One job of a backup: its id, and where its submission stands."""

    job: JobId
    output: str

    @property
    def member(self) -> str:
        """Name its ledger in the tar file."""
        return f"{self.job}.ledger"


def back_up(settings: Settings, file: Path) -> list[Kept]:
    """Copy the ledgers of this machine's jobs into a tar file, which appears whole or not at all.

    Raises:
        OutputError: it cannot be written there.
    """
    jobs = list(known_jobs(settings.state_dir))
    check_output(file, reads=[ledger_path(job.output) for job in jobs])
    kept = [Kept(job.spec.job, str(job.output.absolute())) for job in jobs]
    try:
        with (
            tempfile.TemporaryDirectory(dir=file.parent, prefix=".backup-") as scratch,
            atomic_write(file, is_secret=True) as out,
            tarfile.open(fileobj=out, mode="w") as archive,
        ):
            listed = msgspec.json.encode(kept)
            entry = tarfile.TarInfo(LIST)
            entry.size = len(listed)
            archive.addfile(entry, io.BytesIO(listed))
            for one in kept:
                copy = Path(scratch) / one.member
                _copy_ledger(ledger_path(Path(one.output)), copy)
                archive.add(copy, one.member)
                copy.unlink()
    except OSError as error:
        raise OutputError(f"backup {file} cannot be written: {error.strerror or error}") from error
    return kept


def restore(settings: Settings, file: Path, into: Path | None) -> Iterator[Path]:
    """Put the ledgers of a backup where they were, or into a folder; yields each job's submission.

    Raises:
        SourceError: the file is no backup.
        OutputError: a ledger stands there already, or cannot be written.
        LedgerError: a ledger of the backup is damaged.
    """
    try:
        with tarfile.open(file, "r:") as archive:
            for one in _read_list(archive, file):
                output = Path(one.output)
                if into is not None:
                    output = into / one.job / output.name
                content = archive.extractfile(one.member)
                if content is None:
                    raise SourceError(f"{file} lacks the ledger of job {one.job}")
                _put(content, output)
                remember(settings.state_dir, one.job, output)
                yield output
    except (tarfile.TarError, KeyError, EOFError, msgspec.MsgspecError) as error:
        raise SourceError(f"{file} is no backup of pifleet, or a part of one: {error}") from error
    except OSError as error:
        raise OutputError(f"{error.filename or file}: {error.strerror or error}") from error


def _read_list(archive: tarfile.TarFile, file: Path) -> list[Kept]:
    entry = archive.next()
    content = None if entry is None or entry.name != LIST else archive.extractfile(entry)
    if content is None:
        raise SourceError(f"{file} is no backup of pifleet: it does not begin with {LIST}")
    return msgspec.json.decode(content.read(MAX_LIST_BYTES), type=list[Kept])


def _copy_ledger(ledger: Path, copy: Path) -> None:
    """Copy a ledger as it stands at one moment, whoever writes it meanwhile."""
    source = f"{ledger.absolute().as_uri()}?mode=ro"
    try:
        with (
            closing(sqlite3.connect(source, uri=True)) as ours,
            closing(sqlite3.connect(copy)) as its,
        ):
            ours.backup(its)
            its.execute("PRAGMA journal_mode = DELETE")
    except sqlite3.Error as error:
        raise LedgerError(f"ledger {ledger} cannot be copied: {error}") from error


def _put(content: IO[bytes], output: Path) -> None:
    """Write one ledger where none is, and look whether it is whole."""
    ledger = ledger_path(output)
    output.parent.mkdir(parents=True, exist_ok=True)
    with held(ledger):
        if ledger.exists():
            raise OutputError(
                f"{ledger} is there already: move it away, or restore --into a folder"
            )
        with atomic_write(ledger) as file:
            while piece := content.read(COPY_BYTES):
                file.write(piece)
        try:
            with Ledger(ledger, read_only=True) as opened:
                opened.db.execute("PRAGMA quick_check").fetchone()
                log.info("restored job=%s ledger=%s", opened.spec.job, ledger)
        except (FleetError, sqlite3.Error):
            with suppress(OSError):
                ledger.unlink()
            raise


@click.command("backup")
@click.argument("file", type=click.Path(path_type=Path))
def backup_command(file: Path) -> None:
    """Copy the ledgers of this machine's jobs into a tar file, while they run.

    They are all that must be kept: Redis holds the work in flight, which a ledger sends again.

    \b
    Example: pifleet backup jobs.tar
    """
    kept = back_up(job_settings(None), file)
    click.echo(f"{counted(len(kept), 'job')} in {file}; next: keep it on another machine")


@click.command("restore")
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--into", type=click.Path(file_okay=False, path_type=Path), help="Not where they were."
)
def restore_command(file: Path, into: Path | None) -> None:
    """Put the ledgers of a backup where they were; `pifleet collect` goes on with each job.

    \b
    Example: pifleet restore jobs.tar --into restored/
    """
    for output in restore(job_settings(None), file, into):
        click.echo(f"{ledger_path(output)}; next: pifleet collect {output}")

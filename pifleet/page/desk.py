"""What the page does to jobs: it types the commands that a person would, each in a process.

So a job that was begun here is the same as any other: it is on the list, goes on after a crash, and
nothing of it is in this process.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec

from contract.errors import OutputError, UserError
from contract.exit_codes import DONE, SOME_FAILED
from contract.files import atomic_write
from contract.settings import Settings
from pifleet.local.children import Child, end_child, last_line, start_child
from pifleet.page.reading import Wanted
from producer.submission import ledger_path

MOST_RUNNING = 16  # jobs that the page runs at once
MOST_PROBLEMS = 20
PLAIN = re.compile(r"[^A-Za-z0-9._-]+")
MOST_NAME = 80
STOP_S = 10.0


class Problem(msgspec.Struct, frozen=True):
    """A command that ended otherwise than it should.

    Attributes:
        what: the job or list that it was about.
        said: its last line.
    """

    what: str
    said: str


@dataclass(frozen=True, slots=True)
class Running:
    """A command at work."""

    what: str
    child: Child
    log: Path


class Desk:
    """Runs commands about jobs; lives in the main thread, on which its children hang."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        """Use a folder: lists and submissions go there, and folders of images lie in it."""
        self.folder = folder.resolve()
        self.environ = os.environ | {"PIFLEET_REDIS_URL": settings.redis_url}
        self._logs = TemporaryDirectory(prefix="pifleet-serve-")
        self._running: list[Running] = []
        self._problems: list[Problem] = []
        self._begun = 0

    def keep_list(self, name: str, data: bytes) -> Path:
        """Keep a list that was dropped, under a name that nothing has yet.

        Raises:
            UserError: it is no text.
            OutputError: it cannot be written.
        """
        try:
            data.decode("utf-8-sig")
        except UnicodeDecodeError:
            message = f"{name[:80]!r} is no list: give a text of URLs, or a CSV with url,name"
            raise UserError(message) from None
        suffix = ".csv" if name.lower().endswith(".csv") else ".txt"
        path = self._free(plain_name(Path(name).stem) or "list", suffix)
        try:
            with atomic_write(path) as file:
                file.write(data)
        except OSError as error:
            message = f"{self.folder} cannot be written: {error.strerror}; give another --folder"
            raise OutputError(message) from error
        return path

    def find_folder(self, name: str) -> Path:
        """Find a folder of images by the name that a person typed.

        Raises:
            UserError: it is none, is hidden, or lies outside of the page's folder.
        """
        path = (self.folder / name).resolve() if "\0" not in name else self.folder.parent
        is_inside = path.is_relative_to(self.folder)
        is_hidden = is_inside and any(
            p.startswith(".") for p in path.relative_to(self.folder).parts
        )
        if not name.strip() or not is_inside or is_hidden or not path.is_dir():
            raise UserError(f"no folder {name[:80]!r} in {self.folder}: the page reads no other")
        return path

    def submit(self, source: Path, wanted: Wanted) -> Path:
        """Begin a job; gives the submission that it will write.

        Raises:
            UserError: too many are running, or the lexicon is no text.
        """
        stem = plain_name(source.stem) or "images"
        output = self._free(f"{stem}-submission", ".csv")
        words = wanted.lexicon
        lexicon = None if words is None else self.keep_list(f"{stem}-words.txt", words)
        self._start(source.name, "submit", str(source), "-o", str(output), *wanted.options(lexicon))
        return output

    def collect(self, job: str) -> None:
        """Go on with a job."""
        self._start(job, "collect", job)

    def replay(self, job: str, reason: str | None) -> None:
        """Try a job's failed images again."""
        self._start(job, "dead", "replay", job, *([f"--reason={reason}"] if reason else []))

    def tick(self) -> None:
        """See which commands have ended, and keep what went wrong."""
        for one in [one for one in self._running if one.child.poll() is not None]:
            self._running.remove(one)
            if one.child.returncode not in (DONE, SOME_FAILED):
                said = last_line(one.log).removeprefix("pifleet: ")
                self._problems = [*self._problems, Problem(one.what, said)][-MOST_PROBLEMS:]
            one.log.unlink(missing_ok=True)

    @property
    def problems(self) -> list[Problem]:
        """What went wrong, the latest last."""
        return self._problems

    def forget_problems(self) -> None:
        """Clear what went wrong: somebody has read it."""
        self._problems = []

    def close(self) -> int:
        """End the commands at work, whose jobs can go on, and count them."""
        self.tick()
        for one in self._running:
            one.child.terminate()
        for one in self._running:
            end_child(one.child, grace_s=STOP_S)
        self._logs.cleanup()
        return len(self._running)

    def _start(self, what: str, *words: str) -> None:
        self.tick()
        if len(self._running) >= MOST_RUNNING:
            raise UserError(f"{MOST_RUNNING} jobs are at work here: wait for one to end")
        self._begun += 1
        log = Path(self._logs.name) / f"{self._begun}.log"
        command: Sequence[str] = [sys.executable, "-m", "pifleet", *words]
        child = start_child(command, env=self.environ, log=log)
        self._running.append(Running(what, child, log))

    def _free(self, stem: str, suffix: str) -> Path:
        """Name a file that does not exist, nor the ledger of one."""
        for number in range(1, 10_000):
            ending = "" if number == 1 else f"-{number}"
            path = self.folder / f"{stem}{ending}{suffix}"
            if not path.exists() and not ledger_path(path).exists():
                return path
        raise UserError(f"{self.folder} holds 10,000 files named {stem}: tidy it up")


def plain_name(name: str) -> str:
    """Keep of a name what any file system takes, and what no shell or page reads as more."""
    return PLAIN.sub("-", name).strip("-.")[:MOST_NAME]

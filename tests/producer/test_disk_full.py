"""A disk that is full: one clear line, and the same command goes on when there is room again."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import Pifleet, StartWorker, wait_until
from tests.producer.test_jobs import csv_of, finished, serve
from tests.support.faulty_origin import Answer, FaultyOrigin
from tests.support.stripes import png, some_text

pytestmark = [pytest.mark.redis, pytest.mark.timeout(120)]

DISK_BYTES = 4 * 1024 * 1024
ROOM_BYTES = 64 * 1024  # SQLite's files begin within it, and do not fit


@dataclass(frozen=True, slots=True)
class Disk:
    """A small disk of its own."""

    folder: Path

    @property
    def output(self) -> str:
        """Where a job's submission shall stand on it."""
        return str(self.folder / "out.csv")

    def fill(self, *, room_bytes: int = 0) -> None:
        """Fill it, but for some room."""
        with (self.folder / "ballast").open("wb", buffering=0) as ballast:
            try:
                while ballast.write(b"\0" * 4096):
                    pass
            except OSError:
                pass
            ballast.truncate(max(0, ballast.tell() - room_bytes))

    def free(self) -> None:
        """Make room again."""
        (self.folder / "ballast").unlink()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    folder = tmp_path / "disk"
    folder.mkdir()
    size = f"size={DISK_BYTES}"
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", size, "tmpfs", folder], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("only root can mount a small disk")
    yield Disk(folder)
    subprocess.run(["umount", "--lazy", folder], check=True)


def refused_in_one_line(process: subprocess.Popen[str]) -> None:
    """Wait for exit 2, with one line that names the file and what is wrong."""
    said = finished(process, code=2).strip().splitlines()
    assert "Traceback" not in "".join(said)
    assert "out." in said[-1], said
    assert "full" in said[-1] or "No space left" in said[-1], said
    errors = [line for line in said if line.startswith("pifleet:")]
    assert len(errors) == 1, said


def test_ledger_that_does_not_fit_goes_on_when_it_does(
    pifleet: Pifleet, start_worker: StartWorker, origin: FaultyOrigin, tmp_path: Path, disk: Disk
) -> None:
    expected = serve(origin, tmp_path, 2000)
    submit = ("submit", "urls.txt", "-o", disk.output)
    disk.fill(room_bytes=ROOM_BYTES)

    refused_in_one_line(pifleet(*submit))

    disk.free()
    start_worker(concurrency=2)
    finished(pifleet(*submit))
    assert Path(disk.output).read_text() == expected


def test_disk_that_fills_in_mid_job_loses_no_row(
    pifleet: Pifleet, start_worker: StartWorker, origin: FaultyOrigin, tmp_path: Path, disk: Disk
) -> None:
    start_worker()
    texts = {f"{i:04}.png": some_text(i) for i in range(400)}
    urls = [
        origin.add(f"/{name}", answer=Answer(png(text), delay_s=0.1))
        for name, text in texts.items()
    ]
    (tmp_path / "urls.txt").write_text("\n".join(urls))
    submit = ("submit", "urls.txt", "-o", disk.output, "--chunk", "8")
    process = pifleet(*submit)
    wait_until(lambda: len(origin.requests) > 60, timeout_s=60)
    disk.fill()

    refused_in_one_line(process)

    disk.free()
    summary = json.loads(finished(pifleet(*submit)))
    assert summary["read"] == 400
    assert Path(disk.output).read_text() == csv_of(texts)


def test_submission_that_does_not_fit_is_written_when_it_does(
    pifleet: Pifleet, start_worker: StartWorker, origin: FaultyOrigin, tmp_path: Path, disk: Disk
) -> None:
    start_worker()
    expected = serve(origin, tmp_path, 300)
    submit = ("submit", "urls.txt", "-o", disk.output)
    finished(pifleet(*submit))
    Path(disk.output).unlink()
    disk.fill()

    refused_in_one_line(pifleet(*submit))

    assert not Path(disk.output).exists()
    assert list(disk.folder.glob(".out*")) == [], "no temporary file is left"
    disk.free()
    finished(pifleet(*submit))
    assert Path(disk.output).read_text() == expected

"""Ledgers are copied while a job runs, and a job goes on from a copy when all else is lost."""

from __future__ import annotations

import io
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

from broker.connection import connect
from contract.errors import FleetError
from contract.settings import Settings
from producer.backup import back_up, restore
from producer.job.store import Ledger
from producer.submission import ledger_path
from tests.conftest import Pifleet, StartWorker, wait_until
from tests.pifleet.test_exporter import make_job
from tests.support.commands import fleet_env, run_pifleet
from tests.support.faulty_origin import Answer, FaultyOrigin
from tests.support.stripes import png, some_text


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(state_dir=tmp_path / "state")


@pytest.mark.redis
def test_job_goes_on_from_its_backup_when_ledger_and_redis_are_lost(
    redis_url: str,
    origin: FaultyOrigin,
    start_worker: StartWorker,
    pifleet: Pifleet,
    tmp_path: Path,
) -> None:
    texts = {f"{n:03}.png": some_text(n) for n in range(60)}
    slow = [origin.add(f"/{n}", answer=Answer(png(t), delay_s=0.3)) for n, t in texts.items()]
    (tmp_path / "urls.txt").write_text("\n".join(slow))
    start_worker()
    running = pifleet("submit", "urls.txt", "-o", "out.csv", "--chunk", "4", "--rate", "40")
    ledger = tmp_path / "out.ledger"

    def has_begun() -> bool:
        if not ledger.exists():
            return False
        try:
            with Ledger(ledger, read_only=True) as opened:
                return opened.counts().read > 8
        except FleetError:
            return False

    wait_until(has_begun, timeout_s=30, what="some rows")
    env = fleet_env(redis_url, tmp_path)
    made = run_pifleet("backup", "jobs.tar", folder=tmp_path, env=env)
    assert made.stdout.startswith("1 job in jobs.tar"), made.stderr
    running.kill()
    running.communicate()
    for path in (*tmp_path.glob("out.*"), tmp_path / "state"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    with connect(redis_url) as redis:
        redis.flushall()
    restored = run_pifleet("restore", "jobs.tar", folder=tmp_path, env=env)
    assert f"next: pifleet collect {tmp_path / 'out.csv'}" in restored.stdout, restored.stderr
    collected = run_pifleet("collect", "out.csv", folder=tmp_path, env=env)
    assert collected.returncode == 0, collected.stderr
    rows = "".join(f"{name},{text}\n" for name, text in sorted(texts.items()))
    assert (tmp_path / "out.csv").read_text() == rows


def test_backup_is_restored_into_a_folder_and_nothing_is_overwritten(
    settings: Settings, tmp_path: Path
) -> None:
    make_job(tmp_path)
    file = tmp_path / "jobs.tar"
    (kept,) = back_up(settings, file)
    assert file.stat().st_mode & 0o077 == 0
    with pytest.raises(FleetError, match="is there already"):
        list(restore(settings, file, None))
    (output,) = restore(settings, file, tmp_path / "elsewhere")
    assert output == tmp_path / "elsewhere" / kept.job / "7f3a9c21.csv"
    with Ledger(ledger_path(output), read_only=True) as ledger:
        assert ledger.counts().failed == 2


def tar_of(folder: Path, **members: bytes) -> Path:
    path = folder / "odd.tar"
    with tarfile.open(path, "w") as archive:
        for name, content in members.items():
            entry = tarfile.TarInfo(name.replace("_", "."))
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return path


@pytest.mark.parametrize(
    "members",
    [
        {},
        {"other": b"x"},
        {"jobs_json": b"\xff"},
        {"jobs_json": b'[{"job": "../../etc", "output": "/x"}]'},
        {"jobs_json": b'[{"job": "a", "output": "x.csv"}]'},
        {"jobs_json": b'[{"job": "a", "output": "x.csv"}]', "a_ledger": b"no database"},
    ],
    ids=["empty", "other", "no JSON", "a path", "no ledger", "no database"],
)
def test_what_is_no_backup_is_one_sentence_and_leaves_nothing(
    settings: Settings, tmp_path: Path, members: dict[str, bytes]
) -> None:
    with pytest.raises(FleetError):
        list(restore(settings, tar_of(tmp_path, **members), tmp_path / "into"))
    assert [path for path in (tmp_path / "into").rglob("*") if path.is_file()] == []


def test_file_that_is_no_tar_and_place_that_is_none_are_refused(
    settings: Settings, tmp_path: Path
) -> None:
    (tmp_path / "x").write_bytes(b"x" * 2000)
    with pytest.raises(FleetError, match="no backup") as refused:
        list(restore(settings, tmp_path / "x", None))
    assert "\n" not in str(refused.value)
    with pytest.raises(FleetError, match="No such file"):
        list(restore(settings, tmp_path / "missing.tar", None))
    with pytest.raises(FleetError, match="make it first"):
        back_up(settings, tmp_path / "missing" / "jobs.tar")
    ledger = make_job(tmp_path)
    with pytest.raises(FleetError, match="is a ledger"):
        back_up(settings, ledger)


def test_backup_of_no_jobs_says_so(tmp_path: Path) -> None:
    env = fleet_env("redis://127.0.0.1:1/0", tmp_path)
    done: subprocess.CompletedProcess[str] = run_pifleet(
        "backup", "jobs.tar", folder=tmp_path, env=env
    )
    assert (done.returncode, done.stdout.split(";")[0]) == (0, "0 jobs in jobs.tar")

"""Tables at the widths that people have: fewer columns, and nothing cut beyond recognition."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console, RenderableType

from broker.heartbeats import Fleet, Heartbeat
from producer.job.spec import Counts, JobSpec
from producer.models_cli import models_table
from producer.registry import KnownJob
from producer.tables import fleet_table, jobs_table
from producer.uncollected import Uncollected
from recognition.model_file import load_model, shipped_models

WIDTHS = (60, 80, 120, 200)
LONG = "raspberrypi-in-the-cupboard-of-the-physics-department"


STARTED_AT = time.time() - 90_000  # of every worker, each time that it is drawn up


def beat(number: int, **changes: object) -> Heartbeat:
    fields: dict[str, object] = {
        "worker": f"{LONG}-{number:02}",
        "pid": number,
        "host": LONG,
        "processes": 12,
        "in_hand": (f"7f3a9c21.{number}",),
        "proofs": (),
        "images": 1_234_567,
        "failed": 123_456,
        "images_per_s": 1234.0,
        "started_at": STARTED_AT,
        "temperature_c": 71.0,
        "throttled": 0x50005,
        "rss_mb": 900.0,
        "version": "0.1.0",
        "runtime": "tflite-runtime",
        "models": (),
    }
    return Heartbeat(**{**fields, **changes})  # type: ignore[arg-type]


def fleet(workers: int = 50) -> Fleet:
    return Fleet(tuple(beat(number) for number in range(workers)), waiting=12)


def job(number: int = 1) -> KnownJob:
    source = f"/home/someone/a folder/with a very long name/images of the year {number}/list.txt"
    return KnownJob(
        spec=JobSpec(f"7f3a9c2{number}", source, "0" * 64, "captcha-small", None, 3),
        output=Path(f"/home/someone/a folder/with a very long name/of {number}/submission.csv"),
        counts=Counts(total=1_000_000, read=999_999, failed=1, out=0),
        state="cancelled",
        created_at=time.time() - 90_000,
    )


def drawn(table: RenderableType, width: int) -> list[str]:
    console = Console(width=width)
    with console.capture() as shown:
        console.print(table)
    return shown.get().splitlines()


def models() -> RenderableType:
    return models_table({name: load_model(name) for name in shipped_models()})


TABLES: dict[str, Callable[[], RenderableType]] = {
    "status": lambda: fleet_table(fleet(3)),
    "jobs": lambda: jobs_table([job(1), job(2)], {}),
    "models": models,
}


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", TABLES)
def test_table_fits_and_cuts_nothing_to_a_few_letters(name: str, width: int) -> None:
    lines = drawn(TABLES[name](), width)
    assert max(len(line) for line in lines) <= width
    cells = [cell.strip() for line in lines if "│" in line for cell in line.strip("│").split("│")]
    assert [cell for cell in cells if "…" in cell and len(cell) < 12] == []


def test_narrow_status_has_what_a_person_looks_for_and_names_the_rest() -> None:
    text = "\n".join(drawn(fleet_table(fleet(3)), 80))
    for wanted in ("worker", "images/s", "1,234", "-02 ", "71", "in hand"):
        assert wanted in text
    assert re.search(r"(?s)a wider terminal or --json also has: .*version", text)
    assert "also has" not in "\n".join(drawn(fleet_table(fleet(3)), 250))


def test_narrow_jobs_keep_id_state_and_counts() -> None:
    text = "\n".join(drawn(jobs_table([job()], {}), 80))
    for wanted in ("7f3a9c21", "cancelled", "999,999", "submission.csv"):
        assert wanted in text


def test_status_says_whose_chunks_are_in_hand_and_waiting() -> None:
    busy = Fleet((beat(1, in_hand=("aaaa1111.1", "bbbb2222.7", "bbbb2222.8")),), waiting=4)
    (summary, *_) = drawn(fleet_table(busy), 120)
    assert "4 chunks waiting, 3 in hand (bbbb2222: 2, aaaa1111: 1)" in summary


def test_jobs_count_what_waits_to_be_collected() -> None:
    open_job = job()
    lines = drawn(jobs_table([open_job], {open_job.spec.job: Uncollected(read=1038)}), 120)
    text = "\n".join(lines)
    assert "1,001,037" in text  # 999,999 in the ledger
    assert "1,038 of them wait in Redis: pifleet collect 7f3a9c21" in text

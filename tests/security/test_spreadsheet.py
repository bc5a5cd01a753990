"""The submission is what was read; a copy without formulas is for whoever opens a spreadsheet."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from contract.reasons import Reason
from producer.job.deliveries import Deliveries
from producer.job.spec import JobSpec
from producer.job.store import Ledger
from producer.sources.image import SourceImage
from producer.submission import Layout, keep_layout, load_layout, spreadsheet_safe, write_submission
from tests.support.read_ledger import read_ledger

READ = {"-1.png": "=1+1", "=a.png": "-7", "b.png": "A+B", "c.png": "@SUM", "d.png": "+4"}


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with read_ledger(tmp_path / "out.ledger", READ) as ledger:
        yield ledger


def test_submission_is_never_altered_and_the_copy_holds_no_formula(
    ledger: Ledger, tmp_path: Path
) -> None:
    write_submission(ledger, tmp_path / "out.csv", Layout(is_spreadsheet_safe=True))
    assert (tmp_path / "out.csv").read_text() == (
        "-1.png,=1+1\n=a.png,-7\nb.png,A+B\nc.png,@SUM\nd.png,+4\n"
    )
    assert (tmp_path / "out.spreadsheet.csv").read_text() == (
        "'-1.png,'=1+1\n'=a.png,'-7\nb.png,A+B\nc.png,'@SUM\nd.png,'+4\n"
    )


def test_copy_is_written_only_when_it_is_asked_for(ledger: Ledger, tmp_path: Path) -> None:
    write_submission(ledger, tmp_path / "out.csv", Layout())
    assert not (tmp_path / "out.spreadsheet.csv").exists()


def test_whoever_collects_the_job_writes_it_too(ledger: Ledger) -> None:
    keep_layout(ledger, Layout(is_spreadsheet_safe=True))
    assert load_layout(ledger).is_spreadsheet_safe


@pytest.mark.parametrize("cell", ["=1", "+1", "-1", "@x", "\t=1", "\r=1", "\n=1"])
def test_formula_is_made_text(cell: str) -> None:
    assert spreadsheet_safe(cell) == "'" + cell


@pytest.mark.parametrize("cell", ["", "A=1", "1-1", " =1", "'=1"])
def test_what_is_no_formula_stays(cell: str) -> None:
    assert spreadsheet_safe(cell) == cell


def test_failures_have_a_copy_too(tmp_path: Path) -> None:
    with Ledger(tmp_path / "out.ledger") as ledger:
        images = [SourceImage("=cmd.png", "http://h/=cmd.png")]
        ledger.seal(JobSpec("j", "s", "0" * 64, "m", None, 3), images, model=b"m")
        Deliveries(ledger).fail_open(Reason.CANCELLED)
        write_submission(ledger, tmp_path / "out.csv", Layout(is_spreadsheet_safe=True))
    raw = (tmp_path / "out.failures.csv").read_text().splitlines()
    safe = (tmp_path / "out.failures.spreadsheet.csv").read_text().splitlines()
    assert raw[1].startswith("=cmd.png,http://h/=cmd.png,cancelled")
    assert safe == [raw[0], "'" + raw[1]]

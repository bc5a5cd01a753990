"""A job's letters may be written in upper case; the ledger keeps what was read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from producer.job.store import Ledger
from producer.submission import Layout, keep_layout, load_layout, write_submission
from tests.support.read_ledger import read_ledger

READ = {"a.png": "a", "b.png": "Bn", "c.png": "7"}


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """Make a job of three images that were read."""
    with read_ledger(tmp_path / "out.ledger", READ) as ledger:
        yield ledger


@pytest.mark.parametrize(
    ("layout", "written"),
    [
        (Layout(), "a.png,a\nb.png,Bn\nc.png,7\n"),
        (Layout(capitalise=True), "a.png,A\nb.png,BN\nc.png,7\n"),
        (Layout(("text", "index"), capitalise=True), "A,0\nBN,1\n7,2\n"),
        (Layout(("name",), capitalise=True), "a.png\nb.png\nc.png\n"),
    ],
    ids=["as read", "capitals", "other columns", "no text"],
)
def test_only_the_text_is_folded(
    ledger: Ledger, tmp_path: Path, layout: Layout, written: str
) -> None:
    write_submission(ledger, tmp_path / "out.csv", layout)
    assert (tmp_path / "out.csv").read_text() == written
    assert [text for _, text in ledger.rows(["name", "text"])] == list(READ.values())


def test_copy_for_a_spreadsheet_is_folded_too(ledger: Ledger, tmp_path: Path) -> None:
    layout = Layout(is_spreadsheet_safe=True, capitalise=True)
    write_submission(ledger, tmp_path / "out.csv", layout)
    copy = tmp_path / "out.spreadsheet.csv"
    assert copy.read_text() == (tmp_path / "out.csv").read_text()


def test_whoever_collects_the_job_folds_it_too(ledger: Ledger) -> None:
    keep_layout(ledger, Layout(capitalise=True))
    assert load_layout(ledger).capitalise

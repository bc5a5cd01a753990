"""A CSV is written whole or not at all."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from contract.errors import OutputError
from contract.files import QUOTED, format_row, write_rows


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_fields_are_quoted_only_where_they_must_be(tmp_path: Path) -> None:
    rows = [
        ("a.png", "AB"),
        ("b,1.png", '"'),
        ("c.png", "#/\\[]:><%{}-+"),
        (" d ", "x\ny"),
        ("", ""),
    ]
    out = tmp_path / "out.csv"
    assert write_rows(out, rows) == 5
    assert out.read_bytes() == (b'a.png,AB\n"b,1.png",""""\nc.png,#/\\[]:><%{}-+\n d ,"x\ny"\n,\n')
    with out.open(newline="") as file:
        assert [tuple(row) for row in csv.reader(file)] == rows


def test_first_line_and_header_come_first_and_are_not_counted(tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    assert write_rows(out, [("a", "b")], first_line="bob", header=("name", "text")) == 1
    assert out.read_text() == "bob\nname,text\na,b\n"


def test_older_file_is_replaced_in_one_step_and_nothing_is_left(tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    out.write_text("old")
    write_rows(out, [("ä", "b")])
    assert out.read_bytes() == "ä,b\n".encode()
    assert names(tmp_path) == ["out.csv"]


def test_older_file_survives_a_failure_in_the_middle(tmp_path: Path) -> None:
    def rows() -> Iterator[tuple[str, str]]:
        yield ("a", "b")
        raise RuntimeError("the source of the rows broke")

    out = tmp_path / "out.csv"
    out.write_text("old")
    with pytest.raises(RuntimeError, match="broke"):
        write_rows(out, rows())
    assert out.read_text() == "old"
    assert names(tmp_path) == ["out.csv"]


@pytest.mark.parametrize("place", ["missing/out.csv", "file/out.csv"])
def test_place_that_cannot_be_written_is_named(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match=r"out\.csv cannot be written: "):
        write_rows(tmp_path / place, [("a", "b")])


def test_folder_in_the_way_is_named_and_nothing_is_left(tmp_path: Path) -> None:
    (tmp_path / "out.csv").mkdir()
    with pytest.raises(OutputError, match="directory"):
        write_rows(tmp_path / "out.csv", [("a", "b")])
    assert names(tmp_path) == ["out.csv"]


def test_file_is_readable_by_others_as_the_umask_says(tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.write_text("")
    write_rows(tmp_path / "out.csv", [])
    assert (tmp_path / "out.csv").stat().st_mode == plain.stat().st_mode


@given(st.lists(st.text('ab,"\r\n é'), min_size=1, max_size=4))
def test_any_row_is_read_back_and_quoted_no_more_than_it_must_be(fields: list[str]) -> None:
    assume(fields != [""])  # an empty line, which the reader takes for no row
    line = format_row(fields)

    assert list(csv.reader(io.StringIO(line, newline=""), strict=True)) == [fields]
    quoted = sum(not QUOTED.isdisjoint(field) for field in fields)
    assert line.count('"') == 2 * quoted + 2 * "".join(fields).count('"')

"""Sources: what each kind yields, and what bad input is told."""

from __future__ import annotations

import io
import re
import time
from pathlib import Path
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract.errors import ServiceError, SourceError
from producer.sources import image
from producer.sources.image import SourceImage, name_from_url
from producer.sources.index_page import read_index
from producer.sources.links import find_links
from producer.sources.source import MAX_LINE, open_source
from tests.support.faulty_origin import Answer, FaultyOrigin


def names(images: object) -> list[str]:
    return [image.name for image in images]  # type: ignore[attr-defined]


def test_url_list_names_images_by_the_last_part_of_the_path(tmp_path: Path) -> None:
    listing = tmp_path / "urls.txt"
    listing.write_text("# a comment\n\nhttp://h/a%20b.png\r\nhttps://h/x/c.png?size=1\n")

    assert list(open_source(str(listing))) == [
        SourceImage("a b.png", "http://h/a%20b.png"),
        SourceImage("c.png", "https://h/x/c.png?size=1"),
    ]


def test_standard_input_is_a_url_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("http://h/a.png\n"))

    assert names(open_source("-")) == ["a.png"]


def test_name_of_a_url_without_a_path_is_the_whole_url() -> None:
    assert name_from_url("http://h/?f=a.png") == "http://h/?f=a.png"


def test_csv_takes_its_columns_by_name(tmp_path: Path) -> None:
    table = tmp_path / "list.csv"
    table.write_text('name,extra,url\n"a,b.png",1,http://h/1\n')

    assert list(open_source(str(table))) == [SourceImage("a,b.png", "http://h/1")]


def test_folder_yields_its_images_and_nothing_else(tmp_path: Path) -> None:
    for name in ("b.PNG", "a#1.png", "notes.txt", ".hidden.png", "deep/c.jpg", "deep/d.pbm"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")

    images = list(open_source(str(tmp_path)))

    assert names(images) == ["a#1.png", "b.PNG", "deep/c.jpg", "deep/d.pbm"]
    assert images[0].url == "folder:a%231.png"


def test_index_page_of_names_fills_the_template(origin: FaultyOrigin) -> None:
    page = origin.add("/?user=bob", b"one.png\ntwo #2.png\n")

    images = list(read_index(page, item=origin.url("/?user=bob&myfilename={name}")))

    assert names(images) == ["one.png", "two #2.png"]
    assert images[1].url == origin.url("/?user=bob&myfilename=two%20%232.png")


def test_index_page_of_links_resolves_them(origin: FaultyOrigin) -> None:
    html = b'<a href="../">up</a><a href="?C=N">sort</a><a href="a%20b.png">x</a><a href="/c.png">'
    page = origin.add("/folder/", html)

    images = list(read_index(page))

    assert names(images) == ["a b.png", "c.png"]
    assert [image.url for image in images] == [
        origin.url("/folder/a%20b.png"),
        origin.url("/c.png"),
    ]


def test_index_page_is_read_again_when_the_origin_fails(origin: FaultyOrigin) -> None:
    page = origin.add("/list", answer=Answer(b"a.png\n", fail_first=2))

    assert names(read_index(page)) == ["a.png"]
    assert origin.hits("/list") == 3


def test_index_page_cut_short_is_not_taken_for_a_shorter_list(
    origin: FaultyOrigin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("producer.sources.index_page.TRIES", 2)
    page = origin.add("/list", answer=Answer(b"a.png\nb.png\n", cut_at=6))

    with pytest.raises(ServiceError, match=r"index page .*/list"):
        list(read_index(page))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("name,url\na.png\n", "line 2: 1 columns, the header has 2"),
        ("a.png,http://h/a\n", "line 1: the header has to name the columns url and name"),
        ("url,name\nftp://h/a,a\n", "line 2: 'ftp://h/a' is not an absolute"),
        ("url,name\nhttp://h/a,\n", "line 2: name '' is empty"),
        ('url,name\nhttp://h/a,"a\nb"\n', "not printable"),
    ],
    ids=["short row", "no header", "scheme", "no name", "line break in a name"],
)
def test_bad_csv_is_named_by_line(tmp_path: Path, content: str, said: str) -> None:
    table = tmp_path / "list.csv"
    table.write_text(content)

    with pytest.raises(SourceError, match=said):
        list(open_source(str(table)))


@pytest.mark.parametrize("line", ["x.png", "http://", "http://h:x/", "http://h/a b", "file:///a"])
def test_malformed_url_is_named_by_line(tmp_path: Path, line: str) -> None:
    listing = tmp_path / "urls.txt"
    listing.write_text(f"http://h/a.png\n{line}\n")

    with pytest.raises(SourceError, match=r"line 2: .* is not an absolute"):
        list(open_source(str(listing)))


def test_text_that_is_no_utf8_is_refused(tmp_path: Path) -> None:
    listing = tmp_path / "urls.txt"
    listing.write_bytes(b"http://h/\xff.png\n")

    with pytest.raises(SourceError, match="not UTF-8"):
        list(open_source(str(listing)))


@pytest.mark.parametrize("name", ["image.txt", "image.csv"])
def test_line_without_an_end_fills_no_memory(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"\0" * (MAX_LINE + 1))
    with pytest.raises(SourceError, match=f"{name} is no list: a line of it has over"):
        list(open_source(str(tmp_path / name)))


def test_spaces_of_other_kinds_may_stand_in_a_name(tmp_path: Path) -> None:
    (tmp_path / "Screenshot at 9.41\u202fAM.png").touch()
    assert names(open_source(str(tmp_path))) == ["Screenshot at 9.41\u202fAM.png"]


def test_missing_source_is_named() -> None:
    with pytest.raises(SourceError, match="nowhere: no such file or folder"):
        open_source("nowhere")


def test_index_item_needs_an_index_page(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="--index-item is for an index page"):
        open_source(str(tmp_path), index_item="http://h/{name}")


def test_index_item_needs_a_name_in_it() -> None:
    with pytest.raises(SourceError, match=r"no \{name\}"):
        list(read_index("http://127.0.0.1:9/", item="http://h/"))


@pytest.mark.parametrize(
    "page",
    [
        "<a href=x>" + "<" * 40_000,
        "<a " * 13_000,
        "<a href=x>" + "a<" * 20_000,
        "<!--" * 10_000 + "<a ",
        "<script>" + "</scrip" * 6_000,
        "<a " + "a='" * 13_000,
        "<a " + "x" * 40_000,
    ],
    ids=["text", "open tags", "signs", "comments", "script", "quotes", "name"],
)
def test_time_of_an_index_page_grows_as_it_does(page: str) -> None:
    started = time.process_time()
    list(find_links(page * 5))
    assert time.process_time() - started < 1.0  # 40 kB took the library's parser up to 28 s


def test_links_of_a_page_are_what_a_browser_would_see() -> None:
    page = """<!DOCTYPE html><!-- <a href="no.png">no</a> --><script>"<a href='no.png'>"</script>
    <A class="a>b" HREF='a%20b.png' href=no>A &amp; <b>B</b></A><a name=no>no</a>
    <a\nhref = c.png?x=1&amp;y=2 >C<a href=d.png/>D</a> 1 < 2 <a href="e.png"></a><a href="f"""
    found = [(link.target, link.text) for link in find_links(page)]
    assert found == [
        ("a%20b.png", "A & B"),
        ("c.png?x=1&y=2", "C"),
        ("d.png/", "D"),
        ("e.png", ""),
    ]


def test_link_that_is_no_address_is_named(origin: FaultyOrigin) -> None:
    page = origin.add("/list", b"<a href='http://[/a.png'>a</a>")
    with pytest.raises(SourceError, match="a link that is no address"):
        list(read_index(page))


PLAIN = st.from_regex(image.PLAIN_URL, fullmatch=True)


@given(PLAIN | st.text("ab/.:-%?#@[]é ", max_size=20).map("http://".__add__))
def test_the_short_way_through_a_plain_url_leads_where_the_long_one_does(url: str) -> None:
    def told() -> str:
        try:
            return image.name_from_url(image.check_url(url, "line 1"))
        except SourceError as error:
            return str(error)

    shortly = told()
    with patch.object(image, "PLAIN_URL", re.compile("(?!)")):
        assert told() == shortly

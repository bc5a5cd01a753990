"""Where a job's images come from: a URL list, a CSV, a folder, or an index page."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TextIO
from urllib.parse import quote

from contract.errors import SourceError
from producer.sources.image import SERVED, SourceImage, check_name, check_url, name_from_url

MAX_LINE = 1024 * 1024  # characters


def is_index_page(spec: str) -> bool:
    """Tell whether a source is the address of an index page."""
    return spec.startswith(("http://", "https://"))


def open_source(spec: str, *, index_item: str | None = None) -> Iterable[SourceImage]:
    """Open a source by what it looks like.

    Args:
        spec: ``-`` or a text file of URLs, a ``.csv`` with ``url,name``, a folder, or the
            http(s) address of an index page.
        index_item: for an index page, the address of one image, with ``{name}`` in it.

    Returns:
        The images, read lazily; reading them raises ``SourceError`` with file and line.

    Raises:
        SourceError: there is no such source, or the options do not fit it.
    """
    is_index = is_index_page(spec)
    if index_item is not None and not is_index:
        raise SourceError(f"--index-item is for an index page, and {spec} is none")
    if is_index:
        from producer.sources.index_page import read_index  # aiohttp, only where it is needed

        return read_index(spec, item=index_item)
    if spec == "-":
        return _standard_input()
    path = Path(spec)
    if path.is_dir():
        return _folder(path)
    if not path.is_file() and not path.is_fifo():
        raise SourceError(f"source {spec}: no such file or folder")
    return _csv(path) if path.suffix.lower() == ".csv" else _url_file(path)


def _standard_input() -> Iterator[SourceImage]:
    if sys.stdin is None:
        raise SourceError("standard input is closed: pipe a list into it, or name a file")
    return _urls(sys.stdin, "standard input")


def _url_file(path: Path) -> Iterator[SourceImage]:
    with _opened(path) as file:
        yield from _urls(file, str(path))


def _urls(file: TextIO, origin: str) -> Iterator[SourceImage]:
    try:
        for number, line in enumerate(_lines(file, origin), start=1):
            url = line.strip()
            if url and not url.startswith("#"):
                where = f"{origin}, line {number}"
                check_url(url, where)
                yield SourceImage(name=check_name(name_from_url(url), where), url=url)
    except UnicodeDecodeError as error:
        raise SourceError(f"{origin} is not UTF-8 text: {error}") from error


def _csv(path: Path) -> Iterator[SourceImage]:
    with _opened(path) as file:
        try:
            yield from _csv_rows(csv.reader(_lines(file, str(path)), strict=True), path)
        except (csv.Error, UnicodeDecodeError) as error:
            raise SourceError(f"{path} is not a CSV file in UTF-8: {error}") from error


def _csv_rows(reader: Iterator[list[str]], path: Path) -> Iterator[SourceImage]:
    header = [column.strip().lower() for column in next(reader, [])]
    if "url" not in header or "name" not in header:
        raise SourceError(f"{path}, line 1: the header has to name the columns url and name")
    url_at, name_at = header.index("url"), header.index("name")
    for number, row in enumerate(reader, start=2):
        where = f"{path}, line {number}"
        if not row:
            continue
        if len(row) != len(header):
            raise SourceError(f"{where}: {len(row)} columns, the header has {len(header)}")
        url = check_url(row[url_at].strip(), where)
        yield SourceImage(name=check_name(row[name_at], where), url=url)


def _folder(folder: Path) -> Iterator[SourceImage]:
    from recognition.images import SUFFIXES  # Pillow, only where files are looked at

    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() not in SUFFIXES or not path.is_file():
            continue
        name = path.relative_to(folder).as_posix()
        if not any(part.startswith(".") for part in name.split("/")):
            yield SourceImage(name=check_name(name, str(folder)), url=SERVED + quote(name))


def _lines(file: TextIO, origin: str) -> Iterator[str]:
    """Yield the lines of a file; what has none, a disk's image for one, fills no memory."""
    while line := file.readline(MAX_LINE):
        if len(line) == MAX_LINE:
            raise SourceError(f"{origin} is no list: a line of it has over {MAX_LINE} characters")
        yield line


def _opened(path: Path) -> TextIO:
    try:
        return path.open(encoding="utf-8-sig", newline="")
    except OSError as error:
        raise SourceError(f"source {path} cannot be read: {error.strerror}") from error

"""Read an index page: links, or a name a line, from an origin that may be unreliable."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Iterator
from html.parser import HTMLParser
from urllib.parse import quote, unquote, urljoin, urlsplit

import aiohttp

from contract.errors import ServiceError, SourceError
from producer.sources.source import SourceImage, check_name, check_url

log = logging.getLogger(__name__)

TRIES = 6  # an origin that fails one request in twenty fails six in a row once in 64 million
TIMEOUT = aiohttp.ClientTimeout(total=60, connect=10)
MAX_BYTES = 256 * 1024 * 1024  # two million names of a hundred letters


def read_index(url: str, *, item: str | None = None) -> Iterator[SourceImage]:
    """Read an index page and yield its images.

    Args:
        url: of the page; HTML whose links are the images, or text with a name a line.
        item: the address of one image, with ``{name}`` where its quoted name goes; None takes
            the links, or the names relative to the page.

    Raises:
        SourceError: the template has no ``{name}``, or the page names no image.
        ServiceError: the page cannot be read.
    """
    if item is not None and "{name}" not in item:
        raise SourceError(f"--index-item {item!r} has no {{name}} in it")
    page = asyncio.run(_fetch(check_url(url, "index page")))
    entries = _links(page) if "<a " in page.lower() else _lines(page)
    for name, link in entries:
        target = urljoin(url, link) if item is None else item.replace("{name}", quote(name))
        where = f"index page {url}"
        yield SourceImage(name=check_name(name, where), url=check_url(target, where))


def _lines(page: str) -> Iterator[tuple[str, str]]:
    for line in page.splitlines():
        if line.strip():
            yield line.strip(), quote(line.strip())


def _links(page: str) -> Iterator[tuple[str, str]]:
    parser = _LinkParser()
    parser.feed(page)
    parser.close()
    for link, text in parser.links:
        last = unquote(urlsplit(link).path.rsplit("/", 1)[-1])
        if last or text.strip():
            yield last or text.strip(), link


class _LinkParser(HTMLParser):
    """Collect (href, text) of every link that may be an image, in the page's order."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[tuple[str, str]] = []
        self._open = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Begin a link; those to folders, anchors and sorted listings are no images."""
        link = dict(attrs).get("href") or ""
        is_item = tag == "a" and bool(link) and not link.startswith(("#", "mailto:", "?C="))
        if (is_item and not urlsplit(link).path.endswith("/")) or (is_item and "=" in link):
            self.links.append((link, ""))
            self._open = True

    def handle_data(self, data: str) -> None:
        """Add to the text of the link that is open."""
        if self._open:
            link, text = self.links[-1]
            self.links[-1] = (link, text + data)

    def handle_endtag(self, tag: str) -> None:
        """End a link."""
        if tag == "a":
            self._open = False


async def _fetch(url: str) -> str:
    async with aiohttp.ClientSession(timeout=TIMEOUT, trust_env=False) as session:
        for attempt in range(TRIES):
            try:
                return await _fetch_once(session, url)
            except (aiohttp.ClientError, TimeoutError) as error:
                problem = f"{type(error).__name__} {error}".strip()
                log.warning("index page failed url=%s attempt=%d: %s", url, attempt + 1, problem)
            await asyncio.sleep(random.uniform(0, min(10.0, 0.5 * 2**attempt)))
    raise ServiceError(f"index page {url}: {problem}, {TRIES} times (is the address right?)")


async def _fetch_once(session: aiohttp.ClientSession, url: str) -> str:
    async with session.get(url) as response:
        if 400 <= response.status < 500 and response.status not in (408, 425, 429):
            raise SourceError(f"index page {url}: the origin answers {response.status}")
        response.raise_for_status()
        body = await response.content.read(MAX_BYTES)
        while chunk := await response.content.read(MAX_BYTES):
            body += chunk
            if len(body) > MAX_BYTES:
                raise SourceError(f"index page {url} is over {MAX_BYTES} bytes")
        try:
            return body.decode(response.charset or "utf-8")
        except (UnicodeDecodeError, LookupError) as error:
            raise SourceError(f"index page {url} is not text: {error}") from error

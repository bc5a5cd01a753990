"""Read an index page: links, or a name a line, from an origin that may be unreliable."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Iterator
from urllib.parse import quote, unquote, urljoin, urlsplit

import aiohttp

from contract.errors import ServiceError, SourceError
from producer.sources.image import SourceImage, check_name, check_url
from producer.sources.links import find_links

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
    where = f"index page {url}"
    try:
        for name, link in entries:
            target = urljoin(url, link) if item is None else item.replace("{name}", quote(name))
            yield SourceImage(name=check_name(name, where), url=check_url(target, where))
    except ValueError as error:  # of a link such as http://[
        raise SourceError(f"{where} has a link that is no address: {error}") from error


def _lines(page: str) -> Iterator[tuple[str, str]]:
    for line in page.splitlines():
        if line.strip():
            yield line.strip(), quote(line.strip())


def _links(page: str) -> Iterator[tuple[str, str]]:
    for link in find_links(page):
        last = unquote(urlsplit(link.target).path.rsplit("/", 1)[-1])
        if _is_item(link.target) and (last or link.text):
            yield last or link.text, link.target


def _is_item(target: str) -> bool:
    """Tell whether a link may be an image: those to folders, anchors and sorted lists are none."""
    if target.startswith(("#", "mailto:", "?C=")):
        return False
    return not urlsplit(target).path.endswith("/") or "=" in target


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
        body = bytearray()
        while chunk := await response.content.read(MAX_BYTES):
            body += chunk
            if len(body) > MAX_BYTES:
                raise SourceError(f"index page {url} is over {MAX_BYTES} bytes")
        try:
            return body.decode(response.charset or "utf-8")
        except (UnicodeDecodeError, LookupError) as error:
            raise SourceError(f"index page {url} is not text: {error}") from error

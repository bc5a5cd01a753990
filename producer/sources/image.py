"""One image of a job as its source names it: a name that may stand in the CSV, and a URL."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterable, Iterator
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from contract.errors import SourceError

SERVED = "folder:"  # scheme of an image that the producer itself serves; its port may change
MAX_NAME = 1024  # characters; longer than any file system's own limit
# What most lists hold throughout, told by one match: urlsplit takes ten times as long.
PLAIN_URL = re.compile(r"https?://[A-Za-z0-9.-]+(?::[0-9]{1,4})?/[A-Za-z0-9._~!$&'()*+,;=:@/-]*")


class SourceImage(NamedTuple):
    """One image of a job: the name it has in the submission, and where it is."""

    name: str
    url: str


class SourceDigest:
    """A digest of the images of a source, in their order."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()

    def over(self, images: Iterable[SourceImage]) -> Iterator[SourceImage]:
        """Yield the images, and take each into the digest."""
        for image in images:
            self._hash.update(f"{image.name}\n{image.url}\n".encode())
            yield image

    def hexdigest(self) -> str:
        """Write the digest of what was taken in so far."""
        return self._hash.hexdigest()


def digest_of(images: Iterable[SourceImage]) -> str:
    """Compute the digest of a whole source.

    Raises:
        SourceError: it cannot be read.
    """
    digest = SourceDigest()
    for _ in digest.over(images):
        pass
    return digest.hexdigest()


def check_name(name: str, where: str) -> str:
    """Refuse a name that could not stand in the submission as it is.

    Raises:
        SourceError: it is empty, too long, or holds a control character.
    """
    if not name or len(name) > MAX_NAME or not _is_shown(name):
        raise SourceError(
            f"{where}: name {name[:80]!r} is empty, over {MAX_NAME} characters or not printable"
        )
    return name


def _is_shown(name: str) -> bool:
    """Tell whether a name is printable; a Mac puts a narrow no-break space into a screenshot's."""
    return name.isprintable() or all(
        letter.isprintable() or unicodedata.category(letter) == "Zs" for letter in name
    )


def check_url(url: str, where: str) -> str:
    """Refuse what is no absolute http(s) URL.

    Raises:
        SourceError: names the line.
    """
    if PLAIN_URL.fullmatch(url):
        return url
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises on a port that is no number
        good = parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        good = False
    if not good or not url.isprintable() or " " in url:
        raise SourceError(f"{where}: {url[:120]!r} is not an absolute http(s) URL")
    return url


def name_from_url(url: str) -> str:
    """Take the last part of a URL's path as the name; without one, the whole URL."""
    if PLAIN_URL.fullmatch(url):
        return url.rpartition("/")[2] or url
    return unquote(urlsplit(url).path.rsplit("/", 1)[-1]) or url

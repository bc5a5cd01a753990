"""A job's images for a person's eye: fetched once, under the worker's rules, and drawn anew.

What a browser gets is a picture that we made of the pixels, never the bytes of an origin: these may
hold anything. The bytes are kept as they came, for the labelled set that is made of them.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from io import BytesIO
from pathlib import Path
from urllib.parse import unquote

from contract.errors import ImageError
from contract.files import atomic_write
from contract.reasons import Reason
from contract.settings import Settings
from producer.job.spec import JobSpec
from producer.review.review import ReviewImage
from producer.sources.image import SERVED
from recognition.images import open_coloured
from workers.fetch.fetcher import Fetcher, FetchLimits, open_fetcher

SHOWN_PX = 1200  # the longer side; more is more than a card of the page shows
MOST_BYTES = 8 * 1024 * 1024
# A person waits, and may ask again.
LIMITS = FetchLimits(max_bytes=MOST_BYTES, attempts=2, attempt_s=10.0, retry_until_s=5.0)


class JobImages:
    """The images of all jobs; lives in one event loop."""

    def __init__(self, cache: Path, fetcher: Fetcher) -> None:
        self._cache = cache
        self._fetcher = fetcher
        self._coming: dict[Path, asyncio.Task[bytes]] = {}

    async def data(self, spec: JobSpec, image: ReviewImage) -> bytes:
        """Give the file as its origin has it; asked for twice, it is fetched once.

        Raises:
            ImageError: it cannot be fetched.
        """
        if image.url.startswith(SERVED):
            return await asyncio.to_thread(_read_served, spec, image.url)
        kept = self._cache / spec.job / str(image.index)
        if kept.is_file():
            return await asyncio.to_thread(kept.read_bytes)
        task = self._coming.get(kept)
        if task is None:
            task = self._coming[kept] = asyncio.create_task(self._fetch(image.url, kept))
            task.add_done_callback(lambda _: self._coming.pop(kept, None))
        return await asyncio.shield(task)

    async def picture(self, spec: JobSpec, image: ReviewImage) -> bytes:
        """Draw an image anew, as a PNG.

        Raises:
            ImageError: it cannot be fetched, or is none.
        """
        return await asyncio.to_thread(draw, await self.data(spec, image))

    async def _fetch(self, url: str, kept: Path) -> bytes:
        data = await self._fetcher.fetch(url)
        await asyncio.to_thread(_keep, kept, data)
        return data


@asynccontextmanager
async def open_images(settings: Settings) -> AsyncIterator[JobImages]:
    """Open the images of this machine's jobs."""
    cache = settings.cache_dir / "review"
    async with open_fetcher(settings.fetch_allow, LIMITS, random.Random()) as fetcher:
        yield JobImages(cache, fetcher)


def draw(data: bytes) -> bytes:
    """Draw a file's pixels as a PNG.

    Raises:
        ImageError: it is no image that we read.
    """
    file = BytesIO()
    image = open_coloured(data, most_px=SHOWN_PX)
    image.info.clear()  # a camera's notes say where somebody lives
    image.save(file, "PNG", compress_level=3)
    return file.getvalue()


def _read_served(spec: JobSpec, url: str) -> bytes:
    """Read an image of the job's own folder, and nothing outside of it."""
    root = Path(spec.served or "").resolve()
    path = (root / unquote(url.removeprefix(SERVED))).resolve()
    if spec.served is None or not path.is_relative_to(root):
        raise ImageError(Reason.BAD_URL, "it lies outside of the job's folder")
    try:
        if path.stat().st_size > MOST_BYTES:
            raise ImageError(Reason.TOO_LARGE, f"over {MOST_BYTES} bytes")
        return path.read_bytes()
    except OSError as error:
        raise ImageError(Reason.CONNECT, f"{path.name}: {error.strerror}") from error


def _keep(path: Path, data: bytes) -> None:
    """Keep a copy; where the disk is full, it is fetched again the next time."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with atomic_write(path, is_secret=True) as file:
            file.write(data)
    except OSError:
        return

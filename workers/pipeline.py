"""Read the images of one chunk: while some are on their way, those that came are recognised.

A coroutine waits for each image. Each origin's limit decides how many of its own are in flight
(``workers/fetch/origin.py``), so a slow origin does not hold up the images of the others. What
arrives is recognised at once, in the same thread; meanwhile the kernel goes on receiving the rest.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field

from broker.claims import Item
from broker.results import Row
from contract.errors import ImageError
from contract.reasons import Reason
from recognition.decoding import Decoder
from recognition.images import open_image, to_tensor
from recognition.recogniser import Recogniser
from workers.health import in_flight
from workers.health.stages import StageTimes

log = logging.getLogger(__name__)

LANES = 256  # coroutines; more than a chunk has images, unless --chunk says otherwise
DEADLINE_S = 180.0  # no fetch starts later; the last one ends before the chunk is given up

Fetch = Callable[[str], Awaitable[bytes]]


@dataclass(frozen=True, slots=True)
class ChunkReader:
    """What a chunk needs besides its images: how to fetch and how to read.

    Attributes:
        fetch: gives the bytes behind a URL, or raises ``ImageError``.
        recogniser: the job's model.
        decoder: that keeps to the symbols which the job allows; None allows all.
        times: where the seconds of each stage are noted.
        deadline_s: seconds after which no more fetch starts.
        recalled: done as soon as the job is cancelled.
    """

    fetch: Fetch
    recogniser: Recogniser
    decoder: Decoder | None
    times: StageTimes = field(default_factory=StageTimes)
    deadline_s: float = DEADLINE_S
    recalled: asyncio.Future[None] | None = None


async def read_items(items: Sequence[Item], how: ChunkReader) -> tuple[Row, ...]:
    """Read every image into a row, in the order of the items, whatever happens to each.

    Where the job is cancelled meanwhile, what is not read by then is so for that reason.
    """
    rows: dict[int, Row] = {}
    stop_at = time.monotonic() + how.deadline_s
    waiting = iter(items)
    async with asyncio.TaskGroup() as group:
        lanes = [
            group.create_task(_work(waiting, how, rows, stop_at=stop_at))
            for _ in range(min(len(items), LANES))
        ]
        if how.recalled is not None:
            how.recalled.add_done_callback(lambda _: [lane.cancel() for lane in lanes])
    unread = ImageError(Reason.CANCELLED)
    return tuple(rows.get(item.index) or failure_row(item.index, unread) for item in items)


def read_bytes(
    index: int,
    data: bytes,
    recogniser: Recogniser,
    decoder: Decoder | None,
    *,
    times: StageTimes | None = None,
) -> Row:
    """Read one image from its bytes; never raises, whatever the bytes.

    Args:
        index: the image's index in its job.
        data: a whole image file.
        recogniser: the job's model.
        decoder: that keeps to the symbols which the job allows; None allows all.
        times: where the seconds of an image are noted that is read.
    """
    began = time.monotonic()
    try:
        image = open_image(data, recogniser.card.input)
    except ImageError as error:
        return failure_row(index, error)
    except Exception as error:  # an odd decoder must not take its chunk along
        log.exception("decoder-failed index=%d", index)
        return failure_row(index, ImageError(Reason.DAMAGED, repr(error)))
    try:
        tensor = to_tensor(image, recogniser.card.input)
        decoded = time.monotonic()
        read = recogniser.read([tensor], decoder)[0]
    except ImageError as error:  # nothing is drawn on it
        return failure_row(index, error)
    except Exception as error:
        log.exception("model-failed index=%d", index)
        return failure_row(index, ImageError(Reason.MODEL, repr(error)))
    if not 0.0 <= read.confidence <= 1.0:  # NaN: weights that overflow on these pixels
        return failure_row(index, ImageError(Reason.MODEL, f"confidence {read.confidence}"))
    if times is not None:
        times.note_read(index, began, decoded, time.monotonic())
    return Row(index, read.text, round(read.confidence, 4))  # as many digits as travel


def failure_row(index: int, error: ImageError) -> Row:
    """Build the row of an image that has no text."""
    return Row(index=index, text=None, reason=error.reason, detail=error.detail)


async def _work(
    waiting: Iterator[Item], how: ChunkReader, rows: dict[int, Row], *, stop_at: float
) -> None:
    for item in waiting:
        rows[item.index] = await _read_item(item, how, stop_at=stop_at)


async def _read_item(item: Item, how: ChunkReader, *, stop_at: float) -> Row:
    asked = time.monotonic()
    if asked > stop_at:
        late = ImageError(Reason.TIMEOUT, "the chunk's time ran out before this image's turn")
        return failure_row(item.index, late)
    try:
        data = await how.fetch(item.url)
    except ImageError as error:
        how.times.note_unfetched(item.index, asked, error.reason)
        return failure_row(item.index, error)
    except Exception as error:  # the download loop's border: the others of the chunk go on
        log.exception("fetch-failed index=%d", item.index)
        return failure_row(item.index, ImageError(Reason.CONNECT, repr(error)))
    in_flight.begin(item.index)
    how.times.note_fetch(item.index, asked, time.monotonic())
    try:
        return read_bytes(item.index, data, how.recogniser, how.decoder, times=how.times)
    finally:
        in_flight.end()

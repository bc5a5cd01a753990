"""A chunk's images: a row for each, whatever happens to any of them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from broker.claims import Item
from broker.results import Row
from contract.errors import ImageError
from contract.reasons import Reason
from recognition.decoding import Decoder, make_decoder
from recognition.decoding import Reading as ReadText
from recognition.recogniser import Recogniser
from tests.support.stripes import png, some_text
from workers.pipeline import ChunkReader, Fetch, read_bytes, read_items


@pytest.fixture(scope="module")
def recogniser() -> Recogniser:
    return Recogniser((Path(__file__).parents[1] / "data" / "tiny.tflite").read_bytes())


async def fetch_text(url: str) -> bytes:
    """Stand in for an origin: the URL is the text that the image shows."""
    await asyncio.sleep(0)
    return png(url)


def read(fetch: Fetch, urls: Sequence[str], how: Recogniser, **options: Any) -> list[Row]:
    reading = ChunkReader(fetch, how, None, **options)
    return list(asyncio.run(read_items([Item(i, url) for i, url in enumerate(urls)], reading)))


def test_every_image_gets_its_row_in_order(recogniser: Recogniser) -> None:
    texts = [some_text(seed) for seed in range(100)]
    rows = read(fetch_text, texts, recogniser)
    assert [row.text for row in rows] == texts
    assert [row.index for row in rows] == list(range(100))
    assert all(row.confidence > 0.9 for row in rows)


def test_images_of_one_host_do_not_hold_up_the_others(recogniser: Recogniser) -> None:
    """The first images come only when the last one was asked for."""

    async def scenario() -> tuple[Row, ...]:
        last_begins = asyncio.Event()

        async def fetch(url: str) -> bytes:
            if url == "B":
                last_begins.set()
            await last_begins.wait()
            return png(url)

        items = [Item(index, "A") for index in range(127)] + [Item(127, "B")]
        return await read_items(items, ChunkReader(fetch, recogniser, None))

    rows = asyncio.run(asyncio.wait_for(scenario(), timeout=10))
    assert [row.text for row in rows] == ["A"] * 127 + ["B"]


def test_image_is_read_while_others_are_on_their_way(recogniser: Recogniser) -> None:
    """The second fetch returns only when the first image has been fetched, and so was read."""

    async def scenario() -> tuple[Row, ...]:
        second_begins = asyncio.Event()

        async def fetch(url: str) -> bytes:
            if url == "A":
                await second_begins.wait()
            else:
                second_begins.set()
            return png(url)

        return await read_items([Item(0, "A"), Item(1, "B")], ChunkReader(fetch, recogniser, None))

    rows = asyncio.run(asyncio.wait_for(scenario(), timeout=5))
    assert [row.text for row in rows] == ["A", "B"]


def test_failures_are_rows_among_the_others(recogniser: Recogniser) -> None:
    async def fetch(url: str) -> bytes:
        if url == "gone":
            raise ImageError(Reason.HTTP_STATUS, "status 404")
        return b"<html>" if url == "page" else png(url)

    rows = read(fetch, ["A", "gone", "page", "B"], recogniser)
    assert [row.text for row in rows] == ["A", None, None, "B"]
    assert [row.reason for row in rows[1:3]] == [Reason.HTTP_STATUS, Reason.NOT_AN_IMAGE]
    assert rows[1].detail == "status 404"


def test_unexpected_fault_of_one_fetch_spares_the_others(
    recogniser: Recogniser, caplog: pytest.LogCaptureFixture
) -> None:
    async def fetch(url: str) -> bytes:
        if url == "B":
            raise ZeroDivisionError("a bug")
        return png(url)

    with caplog.at_level(logging.ERROR):
        rows = read(fetch, ["A", "B", "C"], recogniser)
    assert [row.text for row in rows] == ["A", None, "C"]
    assert rows[1].reason is Reason.CONNECT
    assert "fetch-failed index=1" in caplog.text


def test_fault_of_the_model_is_a_row_and_a_log_line(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(Recogniser):
        def read(
            self, images: Sequence[NDArray[np.uint8]], decoder: Decoder | None = None
        ) -> list[ReadText]:
            raise RuntimeError("tensor arena is gone")

    model = (Path(__file__).parents[1] / "data" / "tiny.tflite").read_bytes()
    with caplog.at_level(logging.ERROR):
        row = read_bytes(5, png("A"), Broken(model), None)
    assert (row.index, row.text, row.reason) == (5, None, Reason.MODEL)
    assert "model-failed index=5" in caplog.text


def test_unexpected_fault_of_the_decoder_is_a_row(
    recogniser: Recogniser, monkeypatch: pytest.MonkeyPatch
) -> None:
    def explode(_: bytes) -> None:
        raise ZeroDivisionError("in a plugin")

    monkeypatch.setattr("workers.pipeline.open_image", explode)
    assert read_bytes(0, png("A"), recogniser, None).reason is Reason.DAMAGED


def test_symbols_that_the_job_does_not_allow_are_not_written(recogniser: Recogniser) -> None:
    row = read_bytes(0, png("AB"), recogniser, make_decoder(recogniser.card, "AC"))
    assert row.text is not None
    assert row.text.startswith("A")
    assert "B" not in row.text


def test_images_whose_turn_comes_too_late_time_out(recogniser: Recogniser) -> None:
    rows = read(fetch_text, ["A", "B"], recogniser, deadline_s=-1.0)
    assert [row.reason for row in rows] == [Reason.TIMEOUT, Reason.TIMEOUT]

"""Every bad origin gives its image the outcome that docs/failures.md promises."""

from __future__ import annotations

import asyncio
import random
from contextlib import ExitStack

import pytest

from broker.claims import Item
from broker.results import Row
from contract.settings import parse_networks
from recognition.recogniser import Recogniser
from tests.support.bad_images import READ, TEXT
from tests.support.bad_origins import CAP_BYTES, IMAGE, LOOPBACK, ORIGINS, BadOrigin, Stage, gives
from tests.support.failures_table import table
from tests.support.faulty_origin import FaultyOrigin
from tests.support.make_tiny_model import TINY_MODEL
from workers.fetch.fetcher import FetchLimits, open_fetcher
from workers.pipeline import ChunkReader, read_items

QUICK = FetchLimits(
    max_bytes=CAP_BYTES, attempts=3, connect_s=0.3, read_s=0.3, attempt_s=1.0, retry_until_s=5.0
)


@pytest.fixture(scope="module")
def recogniser() -> Recogniser:
    return Recogniser(TINY_MODEL.read_bytes())


def read(urls: list[str], recogniser: Recogniser, *, allow: str) -> list[Row]:
    """Read images as a worker's process does, one after the other through one session."""

    async def run() -> list[Row]:
        networks = parse_networks("X", allow)
        async with open_fetcher(networks, QUICK, random.Random(0)) as fetcher:
            how = ChunkReader(fetcher.fetch, recogniser, None)
            return [row for url in urls for row in await read_items([Item(0, url)], how)]

    return asyncio.run(run())


@pytest.mark.parametrize("case", ORIGINS, ids=lambda case: case.name)
def test_image_of_origin_has_its_outcome(
    case: BadOrigin,
    origin: FaultyOrigin,
    recogniser: Recogniser,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with ExitStack() as stack:
        url = case.url(Stage(origin, stack, monkeypatch))
        (row,) = read([url], recogniser, allow=case.allow)
    assert (row.reason or READ) == case.outcome, row.detail
    assert row.text == (TEXT if case.outcome == READ else None)
    if case.allow != LOOPBACK:
        assert origin.requests == [], "nothing may reach a forbidden address"


def test_table_of_origins_is_what_is_tested() -> None:
    assert table("Origins") == {case.name: case.outcome for case in ORIGINS}


def test_surplus_of_one_body_does_not_reach_the_next(
    origin: FaultyOrigin, recogniser: Recogniser, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = {"Content-Length": str(len(IMAGE) - 60)}
    with ExitStack() as stack:
        bad = gives(short, IMAGE, Stage(origin, stack, monkeypatch))
        good = [origin.add(f"/{number}.png", IMAGE) for number in range(3)]
        rows = read([bad, *good], recogniser, allow=LOOPBACK)
    assert [row.text for row in rows] == [None, TEXT, TEXT, TEXT]

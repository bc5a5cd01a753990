"""What a process may hold at once: bytes of bodies, and files."""

from __future__ import annotations

import asyncio
import random
import resource
from collections.abc import Iterator
from typing import TextIO

import pytest

from contract.settings import Settings, parse_networks
from tests.support.faulty_origin import FaultyOrigin
from workers import process
from workers.fetch.budget import MIB, ByteBudget, default_budget
from workers.fetch.fetcher import FetchLimits, open_fetcher


@pytest.fixture
def few_files() -> Iterator[int]:
    """Allow this process a few files more than it has; returns the old limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
    yield soft
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_body_waits_until_there_are_bytes_for_it() -> None:
    async def run() -> list[str]:
        budget, seen = ByteBudget(100), []

        async def hold(name: str, count: int) -> None:
            taken = await budget.take(count)
            seen.append(f"{name} in")
            await asyncio.sleep(0)
            seen.append(f"{name} out")
            budget.give_back(taken)

        await asyncio.gather(hold("a", 80), hold("b", 80), hold("c", 10))
        return seen

    assert asyncio.run(run()) == ["a in", "a out", "b in", "c in", "b out", "c out"]


def test_body_larger_than_the_budget_gets_all_of_it() -> None:
    budget = ByteBudget(100)
    assert asyncio.run(budget.take(1000)) == 100


def test_bytes_of_a_body_that_is_given_up_are_free_again() -> None:
    async def run() -> int:
        budget = ByteBudget(100)
        first = await budget.take(100)
        waits = asyncio.create_task(budget.take(50))
        await asyncio.sleep(0)
        waits.cancel()
        await asyncio.gather(waits, return_exceptions=True)
        budget.give_back(first)
        return await budget.take(100)

    assert asyncio.run(run()) == 100


def test_default_budget_holds_one_body_of_the_largest_size() -> None:
    assert default_budget(8 * MIB) >= 8 * MIB
    assert default_budget(500 * MIB) == 500 * MIB


def test_large_bodies_are_all_fetched_within_the_budget(
    origin: FaultyOrigin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.fetch.budget.MOST", MIB)
    body = bytes(MIB // 2)
    urls = [origin.add(f"/{number}.png", body) for number in range(40)]

    async def run() -> list[bytes]:
        limits = FetchLimits(max_bytes=MIB)
        allow = parse_networks("X", "127.0.0.0/8")
        async with open_fetcher(allow, limits, random.Random(0)) as fetcher:
            return await asyncio.gather(*(fetcher.fetch(url) for url in urls))

    assert asyncio.run(run()) == [body] * 40


def test_process_may_open_as_many_files_as_the_system_allows(
    few_files: int, redis_url: str
) -> None:
    process.open_process(Settings(redis_url=redis_url))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    process.close_process()
    assert soft == hard


def test_lack_of_files_costs_no_attempt(origin: FaultyOrigin, few_files: int) -> None:
    """The files are all in use for a moment; an image that had one attempt only is fetched."""
    url = origin.add("/a.png", b"body")

    async def run() -> bytes:
        limits = FetchLimits(attempts=1)
        allow = parse_networks("X", "127.0.0.0/8")
        async with open_fetcher(allow, limits, random.Random(0)) as fetcher:
            hogs = _take_all_files()
            asyncio.get_running_loop().call_later(0.3, lambda: [hog.close() for hog in hogs])
            return await fetcher.fetch(url)

    assert asyncio.run(run()) == b"body"


def _take_all_files() -> list[TextIO]:
    hogs: list[TextIO] = []
    try:
        while True:
            hogs.append(open("/dev/null"))  # noqa: SIM115
    except OSError:
        return hogs

"""The benchmarks measure what they say: every arm reads the same, and system A's job ends whole."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from benchmarks.throughput import by_hand
from benchmarks.throughput.origin import lean_origin
from tests.support.stripes import png, some_text

ROOT = Path(__file__).parents[2]
TEXTS = [some_text(number) for number in range(40)]


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    for number, text in enumerate(TEXTS):
        (folder / f"{number:03}.png").write_bytes(png(text))
    return folder


@pytest.fixture
def origin_url(images: Path) -> Iterator[str]:
    with lean_origin(images) as url:
        yield url


def test_lean_origin_answers_many_requests_on_one_connection(origin_url: str) -> None:
    with requests.Session() as session:
        bodies = [
            session.get(f"{origin_url}/{number}.png", timeout=5).content for number in (0, 3, 43)
        ]
    assert bodies == [png(TEXTS[0]), png(TEXTS[3]), png(TEXTS[3])]


@pytest.mark.timeout(60)
def test_script_by_hand_reads_as_the_fleet_does(origin_url: str, tiny_model: Path) -> None:
    urls = [f"{origin_url}/{number}.png" for number in range(len(TEXTS))]
    seconds, texts = by_hand.read_all(urls, str(tiny_model), urls[:2])
    assert texts == TEXTS
    assert seconds > 0


@pytest.mark.redis
@pytest.mark.timeout(120)
def test_system_a_job_is_whole_though_its_origin_fails_and_its_producer_is_killed(
    images: Path, tiny_model: Path, tmp_path: Path
) -> None:
    out = tmp_path / "submission.csv"
    command = [sys.executable, "-m", "benchmarks.chaos.system_a", str(images), "-o", str(out)]
    done = subprocess.run(
        [*command, "--model", str(tiny_model), "--faults", "0.2", "--kill-producer", "1"],
        cwd=ROOT,
        check=True,
        stdout=subprocess.PIPE,
    )
    result = json.loads(done.stdout)
    assert (result["rows"], result["failed"], result["same_bytes"]) == (len(TEXTS), 0, True)
    assert sorted(out.read_text().splitlines()) == sorted(
        f"{number:03}.png,{text}" for number, text in enumerate(TEXTS)
    )

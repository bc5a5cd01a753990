"""A list of many hosts, and a worker that may open few files: no row is lost, none is slow."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.conftest import Pifleet, StartWorker
from tests.producer.test_jobs import csv_of, finished
from tests.support.faulty_origin import FaultyOrigin, faulty_origin
from tests.support.few_files_worker import MOST
from tests.support.stripes import png, some_text
from workers.fetch.origins import MOST_OPEN

pytestmark = [pytest.mark.redis, pytest.mark.timeout(90)]

ROOT = Path(__file__).parents[2]
HOSTS = 600  # more than twice the files that one process may open
MOST_S = 20.0


@pytest.fixture
def everywhere() -> Iterator[FaultyOrigin]:
    with faulty_origin(listens_on="0.0.0.0") as origin:
        yield origin


def test_more_hosts_than_files_cost_no_row_and_no_attempt(
    pifleet: Pifleet, start_worker: StartWorker, everywhere: FaultyOrigin, tmp_path: Path
) -> None:
    texts = {f"{number:03}.png": some_text(number) for number in range(HOSTS)}
    urls = []
    for number, (name, text) in enumerate(texts.items()):
        host = f"127.1.{number // 200}.{number % 200 + 1}"
        urls.append(everywhere.add(f"/{name}", png(text)).replace("127.0.0.1", host))
    (tmp_path / "urls.txt").write_text("\n".join(urls))
    module = "tests.support.few_files_worker"
    worker = start_worker(module=module, env={"PYTHONPATH": str(ROOT)})
    (child,) = psutil.Process(worker.process.pid).children()

    options = ("-o", "out.csv", "--attempts", "1", "--chunk", "512")
    summary = json.loads(finished(pifleet("submit", "urls.txt", *options)))

    assert (tmp_path / "out.csv").read_text() == csv_of(texts)
    assert summary["seconds"] < MOST_S
    assert child.is_running()
    assert child.rlimit(psutil.RLIMIT_NOFILE) == (MOST, MOST), "it raised its own limit"
    idle = [one for one in child.net_connections() if one.raddr and one.raddr.ip != "127.0.0.1"]
    assert 0 < len(idle) <= MOST_OPEN

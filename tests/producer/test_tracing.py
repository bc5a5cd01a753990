"""A chunk is one trace, from its sending to its answer, across two machines; or nothing at all."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from contract.settings import Settings
from tests.conftest import StartWorker, wait_until
from tests.support.collector import Collector, SeenSpan, collector
from tests.support.commands import fleet_env, run_pifleet
from tests.support.faulty_origin import FaultyOrigin
from tests.support.ports import free_port
from tests.support.stripes import png

PARTS_OFF = """
import sys, broker.claims, producer.submit, workers.process
from contract.settings import Settings
broker.claims.Claims(None, "job").close()
workers.process.WorkerProcess(Settings(redis_url="redis://127.0.0.1:1/0")).close()
print([name for name in sys.modules if name.startswith("opentelemetry.exporter")])
"""


def submit(
    origin: FaultyOrigin, redis_url: str, folder: Path, model: Path, env: dict[str, str]
) -> subprocess.CompletedProcess[str]:
    urls = [origin.add("/a.png", png("A")), origin.add("/b.png", png("B")), origin.url("/none.png")]
    (folder / "urls.txt").write_text("\n".join(urls))
    command = ("submit", "urls.txt", "-o", "out.csv", "--model", str(model), "--json")
    return run_pifleet(*command, folder=folder, env={**fleet_env(redis_url, folder), **env})


@pytest.mark.redis
def test_chunk_is_one_trace_from_its_sending_to_its_answer(
    redis_url: str,
    origin: FaultyOrigin,
    start_worker: StartWorker,
    tiny_model: Path,
    tmp_path: Path,
) -> None:
    with collector() as seen:
        start_worker(name="attic", env=seen.env)
        done = submit(origin, redis_url, tmp_path, tiny_model, seen.env)
        assert done.returncode == 1, done.stderr  # one image is not there
        wait_until(lambda: len(seen.named("read chunk")) == len(seen.named("chunk")), timeout_s=5)
        sent = next(span for span in seen.named("chunk") if span.about["pifleet.images"] == "3")
        assert (sent.service, sent.about["pifleet.outcome"]) == ("pifleet-producer", "done")
        (read,) = beneath(seen, sent)
        assert (read.service, read.name) == ("pifleet-worker", "read chunk")
        assert (read.about["pifleet.worker"], read.trace) == ("attic", sent.trace)
        parts = beneath(seen, read)
    names = ["answer", "decode", "decode", "fetch", "fetch", "fetch", "read", "read"]
    assert sorted(span.name for span in parts) == names
    assert [s.about["pifleet.image"] for s in parts if "error.type" in s.about] == ["2"]
    assert all(0.0 <= span.seconds <= read.seconds <= sent.seconds for span in parts)


def beneath(seen: Collector, parent: SeenSpan) -> list[SeenSpan]:
    return [span for span in seen.spans if span.parent == parent.own]


@pytest.mark.redis
def test_collector_that_is_away_holds_nobody_up(
    redis_url: str,
    origin: FaultyOrigin,
    start_worker: StartWorker,
    tiny_model: Path,
    tmp_path: Path,
) -> None:
    address = f"http://127.0.0.1:{free_port()}"
    at_once = {"OTEL_EXPORTER_OTLP_TIMEOUT": "1", "OTEL_BSP_SCHEDULE_DELAY": "100"}
    away = {"OTEL_EXPORTER_OTLP_ENDPOINT": address, **at_once}
    worker = start_worker(env=away)
    done = submit(origin, redis_url, tmp_path, tiny_model, away)
    assert (done.returncode, (tmp_path / "out.csv").read_text().count("\n")) == (1, 3), done.stderr
    lost = f"traces are lost: {address}/v1/traces takes none"
    wait_until(lambda: lost in worker.log.read_text(), what="a line of the worker")
    assert done.stderr.count(lost) == 1, done.stderr
    assert "Traceback" not in done.stderr + worker.log.read_text()


def test_nothing_of_it_is_imported_where_nobody_asks(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PARTS_OFF], capture_output=True, text=True, check=False
    )
    assert done.stdout == "[]\n", done.stderr


@pytest.mark.parametrize(
    ("env", "is_traced"),
    [
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c:4318/v1/traces"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318", "OTEL_SDK_DISABLED": "true"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318", "OTEL_TRACES_EXPORTER": "none"}, False),
    ],
    ids=["unset", "empty", "all", "traces", "disabled", "no exporter"],
)
def test_variables_are_those_of_opentelemetry(env: dict[str, str], is_traced: bool) -> None:
    assert Settings.from_env(env).is_traced is is_traced

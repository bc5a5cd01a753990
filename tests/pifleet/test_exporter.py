"""Prometheus sees the fleet: under the metrics role, cheaply, and whatever is away or lies."""

from __future__ import annotations

import json
import logging
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from msgspec.structs import replace
from redis import Redis

from broker.connection import connect
from broker.heartbeats import WORKERS_KEY, Fleet, Heartbeat, heartbeat_key
from broker.heartbeats import beat as send_beat
from broker.loads import OriginLoad, Stage, Stages
from contract.settings import Settings
from pifleet.local.children import end_child, start_child
from producer.job.spec import JobSpec
from producer.job.store import Ledger
from producer.registry import remember
from producer.sources.image import SourceImage
from producer.tables import THROTTLE_FLAGS
from tests.conftest import StartWorker, wait_until
from tests.producer.test_tables import beat
from tests.support.commands import PIFLEET, fleet_env
from tests.support.faulty_origin import FaultyOrigin
from tests.support.fleet_job import FleetJob
from tests.support.ports import free_port
from tests.support.secured_redis import redis_with_users, url_of
from tests.support.stripes import png

pytest.importorskip("prometheus_client")

from prometheus_client.parser import text_string_to_metric_families  # an extra

from pifleet.metrics.collector import MOST_OF_A_KIND, MOST_WORKERS, FleetCollector
from pifleet.metrics.exporter import SaidOnce
from pifleet.metrics.labels import KEPT_S, Label
from pifleet.metrics.totals import MOST_IMAGES, Totals

Samples = dict[tuple[str, str], float]  # by name and values of labels


def look(client: Redis, settings: Settings) -> Samples:
    """Collect once, as a scrape does."""
    return samples(FleetCollector(client, settings))


def samples(collector: FleetCollector) -> Samples:
    collector._collected_at = float("-inf")
    return {
        (one.name, "/".join(one.labels.values())): one.value
        for family in collector.collect()
        for one in family.samples
    }


@pytest.fixture
def settings(redis_url: str, tmp_path: Path) -> Settings:
    return Settings(redis_url=redis_url, state_dir=tmp_path / "state")


def make_job(folder: Path, *, name: str = "7f3a9c21", images: int = 10) -> Path:
    """Make a ledger with failed images, and note it in the list of jobs."""
    output = folder / f"{name}.csv"
    listed = (SourceImage(f"{n}.png", f"http://host/{n}.png") for n in range(images))
    with Ledger(output.with_suffix(".ledger")) as ledger:
        ledger.seal(JobSpec(name, "urls.txt", "0" * 64, "captcha", None, 3), listed, model=b"x")
        ledger.db.execute("UPDATE image SET state = 3, reason = 'timeout' WHERE idx < 2")
        ledger.db.execute("UPDATE image SET state = 2, text = 'a' WHERE idx IN (2, 3, 4)")
        ledger.put("repeats", "7")
    remember(folder / "state", name, output)
    return output.with_suffix(".ledger")


@pytest.mark.redis
def test_workers_queue_origins_and_jobs_are_told(settings: Settings, tmp_path: Path) -> None:
    make_job(tmp_path)
    origin = OriginLoad("http://a:80", 3, 2, 4.5, 12.5, "latency")
    hot = beat(
        1, worker="pi1", slowed="84 °C", throttled=0x1, origins=(origin,), models=("c" * 64,)
    )
    with connect(settings.redis_url) as client:
        send_beat(client, hot)
        client.zadd(WORKERS_KEY, {"pi-gone": float(client.time()[0]) - 60})
        seen = look(client, settings)
    for name, labels, value in (
        ("broker_up", "", 1),
        ("workers", "slowed", 1),
        ("workers", "silent", 1),
        ("worker_up", "pi1", 1),
        ("worker_up", "pi-gone", 0),
        ("workers_by_version", "0.1.0", 1),
        ("workers_by_model", "c" * 12, 1),
        ("worker_temperature_celsius", "pi1", 71),
        ("worker_throttled", "pi1/under-voltage", 1),
        ("worker_throttled", "pi1/throttled", 0),
        ("worker_slowed", "pi1", 1),
        ("origin_latency_seconds", "http://a:80", 0.0125),
        ("origin_held", "http://a:80/latency", 1),
        ("job_images", "7f3a9c21/waiting", 5),
        ("job_images", "7f3a9c21/read", 3),
        ("job_dead_images", "7f3a9c21/timeout", 2),
        ("job_repeats_total", "7f3a9c21", 7),
        ("job_info", "7f3a9c21/open/captcha", 1),
    ):
        assert seen[f"pifleet_{name}", labels] == value, (name, labels)
    assert seen["pifleet_broker_memory_bytes", ""] > 0


@pytest.mark.redis
def test_age_of_the_oldest_chunk_and_how_long_the_queue_stands_still(
    job: FleetJob, settings: Settings
) -> None:
    from broker.chunks import find_oldest
    from broker.claims import Claims
    from tests.support.fleet_job import chunk_task

    chunks = [chunk_task("m", ["http://a/b"], delivery=delivery) for delivery in (1, 2)]
    Claims(job.redis, "job1").send(chunks)
    assert find_oldest(job.redis)[0] == "job1.1"
    collector = FleetCollector(job.redis, settings)
    first = samples(collector)
    assert 0.0 < first["pifleet_queue_oldest_age_seconds", ""] < 60.0
    assert samples(collector)["pifleet_queue_unmoved_seconds", ""] > 0.0
    job.redis.rpop("pifleet:chunks")
    assert samples(collector)["pifleet_queue_unmoved_seconds", ""] == 0.0
    job.redis.rpush("pifleet:chunks", b"\xff no notice")
    assert samples(collector)["pifleet_queue_oldest_age_seconds", ""] == 0.0


@pytest.mark.redis
def test_look_costs_three_commands_a_worker_and_few_more(settings: Settings) -> None:
    workers = 50
    with connect(settings.redis_url) as client:
        for number in range(workers):
            send_beat(client, beat(number, worker=f"pi{number}"))
        collector = FleetCollector(client, settings)
        samples(collector)
        client.config_resetstat()
        assert samples(collector)["pifleet_workers", "reads"] == workers
        stats = client.info("commandstats")
    calls = {name: found["calls"] for name, found in stats.items() if "config" not in name}
    assert calls.pop("cmdstat_hmget") == workers
    assert calls.pop("cmdstat_hstrlen") == 2 * workers  # of both fields: anybody may write them
    assert sum(calls.values()) <= 10, calls


def grown(images: int = 0, **changes: object) -> Heartbeat:
    stage = Stage(0.01 * images, (0, images))
    fields: dict[str, object] = {"images": images, "failed": 0, "stages": Stages(model=stage)}
    return beat(1, started_at=1e9, **{**fields, **changes})


def test_totals_are_what_each_worker_adds_and_never_fall() -> None:
    totals = Totals()
    for worker in (
        grown(500),
        grown(600, failed=3, reasons={"timeout": 2}),
        grown(650, failed=3, reasons={"timeout": 2}),
    ):
        totals.note(Fleet((worker,)))
    assert (totals.read, totals.failed) == (147, {"timeout": 2, "unknown": 1})
    assert totals.stages["model"].counts[1] == 150
    assert totals.stages["model"].sum_s == pytest.approx(1.5)
    totals.note(Fleet(()))
    totals.note(Fleet((beat(1, started_at=2e9, images=10, failed=0),)))
    assert totals.read == 147, "a worker that starts again counts from then on"


@pytest.mark.parametrize(
    "lie",
    [
        grown(100 + 2 * MOST_IMAGES),
        grown(5),
        grown(200, failed=150, reasons={"timeout": 999_999}),
        grown(200, failed=9000),
    ],
    ids=["too many", "fewer", "more failures than images", "more failed than read"],
)
def test_lies_of_a_worker_add_nothing(lie: Heartbeat) -> None:
    totals = Totals()
    for worker in (grown(100), lie):
        totals.note(Fleet((worker,)))
    assert (totals.read, totals.failed) == (0, {})


def test_seconds_that_cannot_be_add_nothing() -> None:
    totals = Totals()
    for stage in (Stage(0.0, ()), Stage(1e12, (0, 1)), Stage(2e12, (5, 0))):
        totals.note(Fleet((grown(0, stages=Stages(fetch=stage)),)))
    assert totals.stages["fetch"].sum_s == 0.0


@pytest.mark.redis
@pytest.mark.parametrize(
    "field",
    [
        '"images_per_s": NaN',
        '"images_per_s": 1e999',
        '"images_per_s": -5',
        '"images": 1e300',
        '"temperature_c": 1e300',
        '"started_at": 1e300',
        '"origins": [{"origin": "\\u001b[2J", "limit": 1e300}]',
        '"stages": {"model": {"sum_s": 1, "counts": [1e300]}}',
        '"throttled": -1',
        '"reasons": {"\\u001b[31m": 5}',
    ],
)
def test_odd_values_of_a_heartbeat_spoil_nothing(settings: Settings, field: str) -> None:
    text = beat(1, worker="pi1").to_json().decode()
    name = field.partition(":")[0]
    odd = json.loads(text)
    odd.pop(name.strip('"'))
    broken = json.dumps(odd)[:-1] + f", {field}}}"
    with connect(settings.redis_url) as client:
        send_beat(client, beat(2, worker="pi2"))
        client.zadd(WORKERS_KEY, {"pi1": client.time()[0]})
        client.hset(heartbeat_key("pi1"), mapping={"beat": broken, "at": client.time()[0]})
        seen = look(client, settings)
    assert seen["pifleet_worker_up", "pi2"] == 1
    assert all(abs(value) < 1e18 and value == value for value in seen.values())
    assert not any("\x1b" in labels for _, labels in seen)


@pytest.mark.redis
def test_damaged_ledger_is_one_line_and_the_others_are_told(
    settings: Settings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    make_job(tmp_path)
    damaged = make_job(tmp_path, name="0badcafe", images=3000)
    damaged.write_bytes(damaged.read_bytes()[:20_000] + b"\xff" * 50_000)
    with connect(settings.redis_url) as client:
        collector = FleetCollector(client, settings)
        for _ in range(3):
            assert samples(collector)["pifleet_job_images", "7f3a9c21/read"] == 3
    assert len([line for line in caplog.messages if "0badcafe" in line]) == 1


def test_broker_that_is_away_is_said_once_and_jobs_are_served(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    make_job(tmp_path)
    url = f"redis://127.0.0.1:{free_port()}/0"
    settings = Settings(redis_url=url, state_dir=tmp_path / "state")
    collector = FleetCollector(Redis.from_url(url), settings)
    for _ in range(2):
        seen = samples(collector)
    assert (seen["pifleet_broker_up", ""], seen["pifleet_broker_refused", ""]) == (0, 0)
    assert seen["pifleet_job_images", "7f3a9c21/read"] == 3
    assert len(caplog.messages) == 1
    assert "Connection refused" in caplog.text


@pytest.mark.redis
def test_role_that_may_not_look_is_told_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with redis_with_users(tmp_path) as port:
        url = url_of("pi1", port)
        seen = look(Redis.from_url(url), Settings(redis_url=url, state_dir=tmp_path))
    assert (seen["pifleet_broker_up", ""], seen["pifleet_broker_refused", ""]) == (0, 1)
    assert "use the user of this role" in caplog.text


@pytest.mark.redis
def test_worker_that_makes_up_names_fills_nobodys_disk(settings: Settings) -> None:
    """Its password lets it beat as pi1+anything, and say anything of itself."""
    collector, made = FleetCollector(connect(settings.redis_url), settings), 300
    series: set[tuple[str, str]] = set()
    for scrape in range(6):
        with connect(settings.redis_url) as client:
            client.flushall()
            for n in range(made):
                own = f"{scrape}-{n}"
                liar = beat(n, worker=f"pi1+{own}", version=own, runtime=own, machine=own)
                origins = tuple(OriginLoad(f"http://{own}-{m}", held_by=own) for m in range(8))
                send_beat(client, replace(liar, origins=origins, models=(own,), reasons={own: 1}))
        series |= samples(collector).keys()
    by_name = Counter(name for name, _ in series)
    assert by_name["pifleet_worker_throttled"] <= MOST_WORKERS * len(THROTTLE_FLAGS)
    assert by_name["pifleet_worker_info"] <= 2 * MOST_WORKERS
    assert by_name["pifleet_worker_up"] <= MOST_WORKERS
    assert by_name["pifleet_workers_by_version"] <= MOST_OF_A_KIND + 1
    assert sum(by_name.values()) < 12_000  # of 40,000


def test_reason_that_a_worker_makes_up_is_none_of_ours() -> None:
    totals = Totals()
    totals.note(Fleet((beat(1, images=0, failed=0, reasons={}),)))
    totals.note(Fleet((beat(1, images=9, failed=9, reasons={"timeout": 1, "x": 3, "y": 5}),)))
    assert totals.failed == {"timeout": 1, "other": 8}


def test_label_has_room_again_after_a_day() -> None:
    now = 0.0
    label = Label("worker", 2, clock=lambda: now)
    assert [label.of(name) for name in ("a", "b", "c", "a")] == ["a", "b", "other", "a"]
    now = KEPT_S
    assert [label.of(name) for name in ("b", "c", "d")] == ["b", "c", "other"]


def test_sentence_is_said_once() -> None:
    once = SaidOnce()
    record = logging.LogRecord("x", logging.WARNING, "", 0, "%s", ("damaged",), None)
    assert [once.filter(record) for _ in range(3)] == [True, False, False]


@pytest.fixture
def exporter(tmp_path: Path) -> Iterator[tuple[str, int]]:
    """Run a broker with users, and the exporter with the role metrics; URL and broker's port."""
    with redis_with_users(tmp_path) as broker:
        port, log = free_port(), tmp_path / "exporter.log"
        env = fleet_env(url_of("metrics", broker), tmp_path)
        child = start_child([*PIFLEET, "exporter", "--port", str(port)], env=env, log=log)
        try:
            wait_until(lambda: "metrics: http" in log.read_text(), timeout_s=20, what=str(log))
            yield f"http://127.0.0.1:{port}/metrics", broker
        finally:
            end_child(child, grace_s=5)


@pytest.mark.redis
def test_prometheus_is_served_under_the_metrics_role_while_a_chunk_is_read(
    exporter: tuple[str, int], origin: FaultyOrigin, tmp_path: Path, tiny_model: Path
) -> None:
    url, broker = exporter
    env = {**fleet_env(url_of("pi1", broker), tmp_path), "PIFLEET_HEARTBEAT_S": "0.2"}
    worker = start_child([*PIFLEET, "worker", "--concurrency", "1"], env=env, log=tmp_path / "w")
    try:
        wait_until(lambda: scraped(url).get("pifleet_workers/idle"), timeout_s=30, what="a worker")
        urls = [origin.add(f"/{n}.png", png("A")) for n in range(20)]
        (tmp_path / "urls.txt").write_text("\n".join([*urls, origin.url("/missing")]))
        subprocess.run(
            [*PIFLEET, "submit", "urls.txt", "--model", str(tiny_model)],
            cwd=tmp_path,
            env=fleet_env(url_of("producer", broker), tmp_path),
            capture_output=True,
            check=False,
        )
        wait_until(lambda: scraped(url).get("pifleet_images_failed_total/http_status") == 1)
        seen = scraped(url)
    finally:
        end_child(worker, grace_s=20)
    assert seen["pifleet_images_read_total/"] == 20
    assert seen["pifleet_stage_seconds_count/model"] == 20
    with Redis.from_url(url_of("admin", broker), decode_responses=True) as admin:
        refused = [one for one in admin.acl_log() if one["username"] == "metrics"]
    assert [one["object"] for one in refused if not one["object"].startswith("client")] == []


def scraped(url: str) -> dict[str, float]:
    """Scrape, as Prometheus does; a scrape of a moment ago is answered from memory."""
    text = requests.get(url, timeout=10).text
    return {
        f"{one.name}/{'/'.join(one.labels.values())}": one.value
        for family in text_string_to_metric_families(text)
        for one in family.samples
    }


@pytest.mark.redis
def test_workers_of_another_version_are_counted_apart(
    settings: Settings, start_worker: StartWorker
) -> None:
    worker = start_worker()
    with connect(settings.redis_url) as client:
        send_beat(client, beat(9, worker="old", version="0.0.9"))
        seen = look(client, settings)
    running = worker.heartbeat()
    assert running is not None
    assert seen["pifleet_workers_by_version", "0.0.9"] == 1
    assert seen["pifleet_workers_by_version", running.version] == 1

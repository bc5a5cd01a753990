"""One bad message, one bad key, one bad machine, one stolen password: none stops the fleet."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest
from redis import Redis
from redis.exceptions import NoPermissionError, ResponseError

from broker.chunks import QUEUE_KEY, Notice
from broker.claims import claim, claim_key
from broker.connection import connect, make_client
from broker.heartbeats import WORKERS_KEY, heartbeat_key, look
from broker.keys import TASK_READ_CHUNK
from broker.rates import rate_key, reserve
from broker.repair import repair_all
from broker.results import RESULT_FIELD, results_key
from broker.transport import CONTROL, clean
from contract.errors import ImageError
from recognition.signing import make_key
from tests.conftest import Pifleet, RunningWorker, StartWorker, wait_until
from tests.producer.test_jobs import csv_of, finished
from tests.support.faulty_origin import Answer, FaultyOrigin
from tests.support.secured_redis import redis_with_users, url_of
from tests.support.stripes import png, some_text

pytestmark = pytest.mark.redis

Attack = Callable[[Redis], object]
CHANNEL = CONTROL.removeprefix("&")
LAST_ID = "18446744073709551615-18446744073709551614"


def envelope(content: bytes, **changes: Any) -> bytes:
    """Build a message as kombu has it, around a body of the attacker's."""
    message = {
        "body": base64.b64encode(content).decode(),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": {"task": TASK_READ_CHUNK, "id": "j.1", "lang": "py"},
        "properties": {"delivery_tag": "t", "delivery_info": {}, "body_encoding": "base64"},
    }
    return json.dumps({**message, **changes}).encode()


GOOD_BODY = json.dumps([[Notice("j", 1, "0" * 64).to_wire()], {}, {}]).encode()
CROOKED = {
    "no object": b'"notalist"',
    "no JSON": b"{",
    "no text": b"\xff\xfe",
    "empty": b"",
    "brackets": b"[" * 10_000,
    "a number": b"5",
    "no headers": b"{}",
    "body is no list": envelope(b'"notalist"'),
    "body is no JSON": envelope(b"{"),
    "no argument": envelope(b"[[], {}, {}]"),
    "argument is no object": envelope(b'[["x"], {}, {}]'),
    "body is no base64": envelope(GOOD_BODY, body="\u20ac"),
    "another task": envelope(GOOD_BODY, headers={"task": "celery.chord", "id": "x"}),
    "pickled": envelope(GOOD_BODY, **{"headers": {"task": "x", "id": "x"}, "content-type": "p"}),
    "a bomb": envelope(
        zlib.compress(GOOD_BODY + b" " * 400_000_000),
        headers={"task": TASK_READ_CHUNK, "id": "j.1", "compression": "application/x-gzip"},
    ),
    "an id that is none": envelope(GOOD_BODY, headers={"task": TASK_READ_CHUNK, "id": "a\nb"}),
    "half a character": envelope(b'[[{"v":3,"job":"\\ud800"}], {}, {}]'),
}


@pytest.fixture(scope="module")
def bomb_is_small() -> None:
    assert len(CROOKED["a bomb"]) < 600_000


@pytest.mark.parametrize("item", CROOKED.values(), ids=CROOKED)
def test_message_that_is_none_of_ours_is_dropped(item: bytes, bomb_is_small: None) -> None:
    assert clean(item) is None


def test_message_of_ours_keeps_what_a_chunk_needs_and_nothing_else() -> None:
    evil = {"callbacks": [{"task": "x"}], "chain": [], "chord": {}}
    body = json.dumps([[Notice("j", 1, "0" * 64).to_wire()], {"a": 1}, evil]).encode()
    headers = {"task": TASK_READ_CHUNK, "id": "j.1", "eta": "x", "reply_to": "x", "retries": "x"}

    cleaned = clean(envelope(body, headers=headers))

    assert cleaned is not None
    arguments, named, embedded = json.loads(base64.b64decode(cleaned["body"]))
    assert Notice.from_wire(arguments[0]) == Notice("j", 1, "0" * 64)
    assert (named, embedded) == ({}, {})
    assert not {"eta", "reply_to", "retries"} & cleaned["headers"].keys()


def job_of(
    origin: FaultyOrigin,
    folder: Path,
    images: int = 40,
    delay_s: float = 0.0,
    host: str = "127.0.0.1",
) -> str:
    """Write a list of images; returns the CSV that their job must end with."""
    texts = {f"{i:04}.png": some_text(i) for i in range(images)}
    urls = [
        origin.add(f"/{name}", answer=Answer(png(text), delay_s=delay_s))
        for name, text in texts.items()
    ]
    (folder / "urls.txt").write_text("\n".join(urls).replace("127.0.0.1", host))
    return csv_of(texts)


MOST_BYTES = 200e6  # of a worker's parent, and of a producer, whatever was sent to them
SUBMIT = ("submit", "urls.txt", "-o", "out.csv", "--chunk", "8")


def make_hash(name: str) -> Attack:
    return lambda redis: (redis.delete(name), redis.hset(name, "x", "y"))


BROKEN: dict[str, Attack] = {
    "crooked messages": lambda redis: redis.lpush(QUEUE_KEY, *CROOKED.values()),
    "the queue is a set": lambda redis: redis.sadd(QUEUE_KEY, "x"),
    "the queue is a hash": make_hash(QUEUE_KEY),
    "the list of workers is a hash": make_hash(WORKERS_KEY),
    "ghosts for ever": lambda redis: redis.zadd(
        WORKERS_KEY, {b"ghost\xff%d" % i: float("inf") for i in range(5000)}
    ),
    "bindings are nonsense": lambda redis: redis.sadd("pifleet:_kombu.binding.chunks", "x"),
}


@pytest.mark.parametrize("attack", BROKEN.values(), ids=BROKEN)
def test_job_ends_whatever_stands_in_redis(
    attack: Attack,
    pifleet: Pifleet,
    start_worker: StartWorker,
    origin: FaultyOrigin,
    redis_url: str,
    tmp_path: Path,
) -> None:
    expected = job_of(origin, tmp_path)
    worker = start_worker()
    with connect(redis_url) as redis:
        attack(redis)
        finished(pifleet(*SUBMIT))
        assert (tmp_path / "out.csv").read_text() == expected
        assert worker.process.poll() is None, "it is the same worker still"
        assert psutil.Process(worker.process.pid).memory_info().rss < MOST_BYTES
        assert not redis.zcount(WORKERS_KEY, "inf", "inf"), "the job's producer forgot the ghosts"
        wait_until(lambda: look(redis).processes == 1, what="its next heartbeat")


def test_stream_that_nobody_can_add_to_any_more_is_made_anew(
    pifleet: Pifleet,
    start_worker: StartWorker,
    origin: FaultyOrigin,
    redis_url: str,
    tmp_path: Path,
) -> None:
    expected = job_of(origin, tmp_path, delay_s=0.3)
    start_worker()
    producer = pifleet(*SUBMIT)
    with connect(redis_url) as redis:
        wait_until(lambda: redis.keys(results_key("*")), timeout_s=30, what="the job's stream")
        (stream,) = redis.keys(results_key("*"))
        redis.xadd(stream, {RESULT_FIELD: "x"}, id=LAST_ID)
    finished(producer)
    assert (tmp_path / "out.csv").read_text() == expected


BROADCASTS = {
    "empty": b"{}",
    "a text": b'"x"',
    "a number": b"5",
    "a list": b"[]",
    "no JSON": b"{",
    "no text": b"\xff",
    "no tag": b'{"properties": {}}',
    "body is no base64": envelope(b"", body="\u20ac"),
    "body is no JSON": envelope(b"not"),
    "body is a text": envelope(b'"x"'),
    "packed": envelope(zlib.compress(b" " * 10**8), headers={"compression": "application/x-gzip"}),
    "a clock that is none": envelope(b"{}", headers={"clock": "x"}),
    "no question": envelope(b"{}"),
    "a question of nonsense": envelope(
        b'{"method": "ping", "arguments": 5, "destination": 5, "reply_to": {"exchange": 5}}'
    ),
    "an order": envelope(b'{"method": "shutdown", "arguments": {}, "destination": null}'),
    "an order in half a character": envelope(b'{"method": "\\ud800"}'),
    "brackets": b"[" * 100_000,
    "brackets in a body": envelope(b"[" * 100_000),
    "brackets that close": envelope(b"[" * 980 + b"]" * 980),
    "a decimal that is none": b'{"__type__": "decimal", "__value__": "x"}',
    "an id that is none": b'{"__type__": "uuid", "__value__": {"hex": 5}}',
    "a date in a body": envelope(b'{"__type__": "decimal", "__value__": "x"}'),
    "an id in a question": envelope(
        b'{"method": "ping", "arguments": {"__type__": "uuid", "__value__": {"hex": 5}}}'
    ),
}


def count_dropped(worker: RunningWorker) -> int:
    return worker.log.read_text().count("broadcast-dropped")


def test_no_broadcast_ends_a_worker(
    start_worker: StartWorker,
    pifleet: Pifleet,
    origin: FaultyOrigin,
    redis_url: str,
    tmp_path: Path,
) -> None:
    expected = job_of(origin, tmp_path)
    worker = start_worker()
    with connect(redis_url) as redis:
        for name, message in BROADCASTS.items():
            wait_until(partial(redis.publish, CHANNEL, message), what="a worker that listens")
            dropped = count_dropped(worker)
            # Celery listens anew after a question that it cannot follow
            wait_until(
                lambda: redis.publish(CHANNEL, b"{}") and count_dropped(worker) > dropped,  # noqa: B023
                what=f"a worker that still listens after {name}",
            )
        finished(pifleet(*SUBMIT))
    assert (tmp_path / "out.csv").read_text() == expected
    assert worker.process.poll() is None, worker.log.read_text()[-500:]


@pytest.mark.parametrize("value", ["text", "inf", "nan", "1e300", "-5"])
def test_bucket_with_nonsense_holds_nobody_up(redis_url: str, value: str) -> None:
    with connect(redis_url) as redis:
        redis.hset("pifleet:rate:job:j", "next", value)
        assert reserve(redis, "pifleet:rate:job:j", 10.0, within_s=5.0) == 0.0


def test_bucket_of_another_type_costs_no_attempt(redis_url: str) -> None:
    with connect(redis_url) as redis:
        redis.sadd("pifleet:rate:job:j", "x")
        with pytest.raises(ImageError, match="rate_limit"):
            reserve(redis, "pifleet:rate:job:j", 10.0, within_s=5.0)


@pytest.mark.parametrize(
    "limit", [("--rate", "200"), ("--per-host", "200")], ids=["of the job", "of the host"]
)
def test_bucket_of_another_type_holds_a_job_up_for_a_moment_only(
    limit: tuple[str, str],
    pifleet: Pifleet,
    start_worker: StartWorker,
    origin: FaultyOrigin,
    redis_url: str,
    tmp_path: Path,
) -> None:
    expected = job_of(origin, tmp_path)
    start_worker()
    with connect(redis_url) as redis:
        redis.sadd(rate_key("host:127.0.0.1"), "x")
        producer = pifleet(*SUBMIT, *limit)
        wait_until(lambda: redis.keys(results_key("*")), timeout_s=30, what="the job's stream")
        for stream in redis.keys(results_key("*")):
            with suppress(ResponseError):
                redis.sadd(rate_key(f"job:{stream.decode().rpartition(':')[2]}"), "x")
        summary = json.loads(finished(producer))
    assert (tmp_path / "out.csv").read_text() == expected
    assert summary["seconds"] < 20


def test_broker_is_put_right_by_hand(redis_url: str) -> None:
    with connect(redis_url) as redis:
        redis.sadd(QUEUE_KEY, "x")
        redis.sadd(results_key("j"), "x")
        redis.set(heartbeat_key("pi1"), "x")
        redis.set("somebody:elses", "x")
        wrong = repair_all(redis)
        assert sorted(wrong) == sorted([QUEUE_KEY, results_key("j"), heartbeat_key("pi1")])
        assert redis.keys() == [b"somebody:elses"]
        assert repair_all(redis) == []


def test_large_answers_do_not_fill_the_producers_memory(
    pifleet: Pifleet,
    start_worker: StartWorker,
    origin: FaultyOrigin,
    redis_url: str,
    tmp_path: Path,
) -> None:
    expected = job_of(origin, tmp_path, delay_s=0.5)
    producer = pifleet(*SUBMIT)
    peak = 0
    with connect(redis_url) as redis:
        wait_until(lambda: redis.keys(results_key("*")), timeout_s=30, what="the job's stream")
        (stream,) = redis.keys(results_key("*"))
        for _ in range(20):
            redis.xadd(stream, {RESULT_FIELD: b"x" * 30_000_000})
        start_worker()
        program = psutil.Process(producer.pid)
        while producer.poll() is None:
            peak = max(peak, program.memory_info().rss if program.is_running() else 0)
            if look(redis).workers and not redis.exists(stream):
                break
    finished(producer)
    assert (tmp_path / "out.csv").read_text() == expected
    assert peak < MOST_BYTES


def test_worker_that_refuses_a_model_is_passed_over(
    pifleet: Pifleet,
    start_worker: StartWorker,
    origin: FaultyOrigin,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PIFLEET_HEARTBEAT_S", "0.2")  # the producer hears of it in mid-job
    make_key(tmp_path / "stranger")
    expected = job_of(origin, tmp_path, images=80, delay_s=0.2)
    trusts = {"PIFLEET_TRUSTED_KEYS": str(tmp_path / "stranger.pub")}
    refusing = start_worker(name="refuses", env=trusts)
    start_worker(name="reads")

    def is_named() -> bool:
        beat = refusing.heartbeat()
        return beat is not None and "not signed" in " ".join(beat.refused.values())

    producer = pifleet(*SUBMIT)
    wait_until(is_named, timeout_s=30, what="its refusal, as `pifleet status` shows it")
    finished(producer)

    assert (tmp_path / "out.csv").read_text() == expected


@pytest.mark.parametrize(
    ("sickness", "symptom"),
    [("no-dns", "outcome=done images=8 failed=8"), ("old", "message-refused")],
    ids=["no-dns", "old"],
)
def test_sick_machine_costs_no_row(
    sickness: str,
    symptom: str,
    pifleet: Pifleet,
    start_worker: StartWorker,
    origin: FaultyOrigin,
    tmp_path: Path,
) -> None:
    expected = job_of(origin, tmp_path, images=80, delay_s=0.1, host="localhost")
    sick = start_worker(name="sick", module="tests.support.sick_worker", env={"SICKNESS": sickness})
    start_worker(name="sound")

    finished(pifleet(*SUBMIT, "--attempts", "1"))  # which one that fails at all would use up

    assert (tmp_path / "out.csv").read_text() == expected
    assert sick.process.poll() is None
    assert symptom in sick.log.read_text(), "it was sick, and took chunks"


def test_machine_whose_failures_stand_out_rests_while_others_read(
    pifleet: Pifleet,
    start_worker: StartWorker,
    origin: FaultyOrigin,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PIFLEET_HEARTBEAT_S", "0.2")
    expected = job_of(origin, tmp_path, images=240, delay_s=0.3, host="localhost")
    sick = start_worker(name="sick", module="tests.support.sick_worker", env={"SICKNESS": "no-dns"})
    start_worker(name="sound")

    def at_rest() -> int:
        beat = sick.heartbeat()
        return beat.images if beat and "images failed" in beat.resting and not beat.in_hand else 0

    producer = pifleet(*SUBMIT)
    wait_until(at_rest, timeout_s=30, what="its rest")
    images = at_rest()
    assert producer.poll() is None, "there is more to read"
    finished(producer)

    assert (tmp_path / "out.csv").read_text() == expected
    assert at_rest() == images


def test_thief_of_one_pis_key_reads_and_writes_no_others(tmp_path: Path) -> None:
    with (
        redis_with_users(tmp_path) as port,
        connect(url_of("admin", port)) as admin,
        make_client(url_of("pi1", port)) as thief,
    ):
        assert_no_rights(thief, admin)


def assert_no_rights(thief: Redis, admin: Redis) -> None:
    """Try, with the shipped rights, what would reach another's chunks or heartbeat."""
    admin.hset(heartbeat_key("pi2"), "beat", "x")
    refused: list[Attack] = [
        lambda redis: redis.hset(heartbeat_key("pi2"), "beat", "forged"),
        lambda redis: redis.hget(heartbeat_key("pi2"), "beat"),
        lambda redis: redis.hdel(heartbeat_key("pi2"), "beat"),
        lambda redis: redis.get("pifleet:rest:pi2"),
        lambda redis: redis.hgetall("pifleet:unacked"),
        lambda redis: redis.lrange(QUEUE_KEY, 0, -1),
        lambda redis: redis.xrange(results_key("j")),
        lambda redis: redis.set(claim_key("j", 1), "forged"),
        lambda redis: redis.delete(QUEUE_KEY),
    ]
    for attack in refused:
        with pytest.raises(NoPermissionError):
            attack(thief)


def test_forged_answers_and_crashes_for_others_chunks_change_nothing(
    start_worker: StartWorker,
    pifleet: Pifleet,
    origin: FaultyOrigin,
    redis_url: str,
    tmp_path: Path,
) -> None:
    expected = job_of(origin, tmp_path, images=80, delay_s=0.3)
    start_worker()
    producer = pifleet(*SUBMIT)
    with connect(redis_url) as redis:
        wait_until(lambda: len(origin.requests) > 4, timeout_s=30, what="the job's beginning")
        (stream,) = redis.keys(results_key("*"))
        job = stream.decode().rpartition(":")[2]
        for delivery in range(1, 11):
            for forged in forgeries(delivery):
                redis.xadd(stream, {RESULT_FIELD: json.dumps(forged)})
            assert claim(redis, Notice(job, 0, "0")) is None
    summary = json.loads(finished(producer))
    assert (tmp_path / "out.csv").read_text() == expected
    assert summary["failed"] == 0


def forgeries(delivery: int) -> list[dict[str, object]]:
    """Build what a thief would say of another's delivery, in every way that it could."""
    first = 8 * (delivery - 1)
    said = {"v": 3, "delivery": delivery, "worker": "pi1", "took_s": 0.1, "token": "0" * 32}
    rows = [[index, "X", 1.0] for index in range(first, first + 8)]
    crash = {"was_seen": True, "image": first}
    return [
        {**said, "outcome": "done", "rows": rows},
        *[{**said, "outcome": "crashed", "crash": crash}] * 4,
        {**said, "outcome": "bad_model", "detail": "no"},
        {**said, "outcome": "done", "rows": [[i, None, 0.0, "http_status", ""] for i in range(8)]},
    ]


@pytest.mark.parametrize("command", ["status", "doctor"])
@pytest.mark.parametrize("name", [QUEUE_KEY, WORKERS_KEY])
def test_whoever_looks_at_keys_of_a_wrong_type_is_told_what_to_do(
    redis_url: str, pifleet: Pifleet, name: str, command: str
) -> None:
    with connect(redis_url) as redis:
        make_hash(name)(redis)
        out, said = (looking := pifleet(command)).communicate(timeout=30)
    assert "pifleet doctor --repair" in out + said
    assert "Traceback" not in said
    assert looking.returncode != 0


def test_doctor_repairs_and_says_what(redis_url: str, pifleet: Pifleet) -> None:
    with connect(redis_url) as redis:
        redis.sadd(QUEUE_KEY, "x")
        _, said = pifleet("doctor", "--repair").communicate(timeout=30)
        assert f"removed, of a wrong type: {QUEUE_KEY}" in said
        assert not redis.exists(QUEUE_KEY)

"""A thief of one Pi's key, under the shipped rights: what it does costs nobody else a row."""

from __future__ import annotations

import itertools
import json
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from msgspec.structs import replace
from redis import Redis
from redis.exceptions import RedisError, ResponseError

from broker.chunks import QUEUE_KEY, Notice
from broker.claims import claim_key, offer
from broker.connection import connect, make_client
from broker.heartbeats import (
    BEAT_FIELD,
    MAX_HEARTBEAT_BYTES,
    WORKERS_KEY,
    ask_to_rest,
    beat,
    heartbeat_key,
    look,
)
from broker.models import model_key
from broker.rates import rate_key
from broker.results import RESULT_FIELD, ResultStream, results_key
from broker.values import FIELD, MAX_VALUE_BYTES, read_value
from pifleet.access.roles import WORKER
from pifleet.local.children import end_child
from recognition.model_file import load_model
from tests.conftest import wait_until
from tests.producer.test_reconcile import BEAT
from tests.security.test_one_bad_thing import (
    BROADCASTS,
    CHANNEL,
    CROOKED,
    envelope,
    forgeries,
    job_of,
)
from tests.security.test_roles import start, status
from tests.support.faulty_origin import FaultyOrigin
from tests.support.fleet_job import JOB, chunk_task
from tests.support.secured_redis import redis_with_users, url_of

pytestmark = pytest.mark.redis

TAKES = "getdel"  # the one command that gives a worker a chunk, and takes it from all others
NO_COMMAND_OF_A_KEY = {"psubscribe", "punsubscribe", "publish", "ping", "info", "time"}
ARGUMENTS = (
    (), ("x",), ("0",), ("0", "-1"), ("0.1",), ("value",), ("x", "y"), ("1", "x"), ("*", "x", "y")
)  # fmt: skip
BIG = 20_000_000


@contextmanager
def two_pis(folder: Path) -> Iterator[int]:
    """Run a Redis with the shipped users and a second Pi; gives its port."""
    with redis_with_users(folder) as port:
        with Redis.from_url(url_of("admin", port)) as admin:
            rules = WORKER.rules("pi2").split()
            admin.execute_command("ACL", "SETUSER", "pi2", "on", ">pi2", *rules)
        yield port


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    with two_pis(tmp_path) as port:
        yield port


def test_nothing_that_a_worker_may_do_shows_it_a_chunk_that_it_does_not_take(port: int) -> None:
    """Whoever could read a token beforehand could answer for another; so try all commands."""
    task = chunk_task("0" * 64, ["http://h/a.png"])
    key = claim_key(task.job, task.delivery)
    commands = [one.removeprefix("+") for one in WORKER.commands if not one.startswith("+@")]
    assert TAKES in commands
    with connect(url_of("producer", port)) as producer, connect(url_of("pi1", port)) as thief:
        for command, more in itertools.product(commands, ARGUMENTS):
            if command in NO_COMMAND_OF_A_KEY or command == TAKES:
                continue
            offer(producer, task)
            shown: object = None
            with suppress(ResponseError):
                shown = thief.execute_command(command, key, *more)
            assert task.pack() not in _flat(shown), (command, more)
            assert producer.type(key) == b"string", (command, more)
        assert thief.getdel(key) == task.pack()
        for write in (("lpush", key, "x"), ("hset", key, "x", "y"), ("sadd", key, "x")):
            thief.execute_command(*write)
            assert producer.type(key) != b"string", "what it took it cannot put back"
            producer.delete(key)


def _flat(shown: object) -> list[object]:
    return [one for part in shown for one in _flat(part)] if isinstance(shown, list) else [shown]


def test_what_a_worker_writes_of_itself_is_measured_before_it_is_read(port: int) -> None:
    with connect(url_of("metrics", port)) as watcher, connect(url_of("pi1", port)) as thief:
        for number in range(8):
            name = f"pi1+{number}"
            beat(thief, replace(BEAT, worker=name))
            thief.hset(heartbeat_key(name), BEAT_FIELD, b"x" * BIG)
        thief.hset(heartbeat_key("pi1"), "at", b"x" * (MAX_HEARTBEAT_BYTES + 1))
        beat(thief, replace(BEAT, worker="pi1+9"))
        with most_memory(BIG):
            assert [one.worker for one in look(watcher, known=["pi1"]).workers] == ["pi1+9"]


def test_large_answers_behind_many_small_ones_are_read_one_by_one(port: int) -> None:
    """A guess from the first of its nodes, of a hundred entries each, would find them all small."""
    with connect(url_of("producer", port)) as producer, connect(url_of("pi1", port)) as thief:
        stream = ResultStream(producer, JOB)
        stream.make()
        small, large = {RESULT_FIELD: "{}"}, {RESULT_FIELD: b"x" * BIG}
        for entry in [small] * 600 + [large] * 8 + [small] * 20:
            thief.xadd(results_key(JOB), entry)
        has_more = True
        with most_memory(4 * BIG):
            while has_more:
                _, stream.position, has_more = stream.read(wait_ms=0)


@contextmanager
def most_memory(size_bytes: int) -> Iterator[None]:
    """Let a block take so much at most, at any time."""
    tracemalloc.start()
    try:
        yield
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < size_bytes


def test_planted_value_is_measured_before_it_is_read(port: int) -> None:
    with connect(url_of("pi1", port)) as thief, connect(url_of("pi2", port)) as pi:
        thief.hset(model_key("0" * 64), FIELD, b"x" * (MAX_VALUE_BYTES + 1))
        assert read_value(pi, model_key("0" * 64)) is None


def test_worker_is_asked_to_rest_with_its_own_rights(port: int) -> None:
    with connect(url_of("producer", port)) as producer, connect(url_of("pi1", port)) as pi:
        assert beat(pi, replace(BEAT, worker="pi1")) == ""
        ask_to_rest(producer, "pi1", "its failures stand out")
        assert beat(pi, replace(BEAT, worker="pi1")) == "its failures stand out"


Mischief = Callable[[Redis, str, str], object]
MISCHIEF: dict[str, Mischief] = {
    "forges answers, refusals and crashes": lambda redis, job, _: [
        redis.xadd(results_key(job), {RESULT_FIELD: json.dumps(forged)})
        for delivery in range(1, 12)
        for forged in forgeries(delivery)
    ],
    "plants another model": lambda redis, _, model: redis.hset(model_key(model), FIELD, "x"),
    "takes the model away": lambda redis, _, model: redis.hdel(model_key(model), FIELD),
    "strikes others off the list": lambda redis, *_: redis.zrem(WORKERS_KEY, "pi2"),
    "lists ghosts": lambda redis, *_: redis.zadd(WORKERS_KEY, {"ghost": float("inf"), "g": 1.0}),
    "fills the queue": lambda redis, job, _: redis.lpush(
        QUEUE_KEY, *CROOKED.values(), *(forged_notice(job, n) for n in range(20))
    ),
    "broadcasts": lambda redis, *_: [redis.publish(CHANNEL, one) for one in BROADCASTS.values()],
    "holds all": lambda redis, job, _: beat(
        redis, replace(BEAT, worker="pi1", in_hand=tuple(f"{job}.{n}" for n in range(1, 12)))
    ),
    "seems to be many": lambda redis, *_: [
        beat(redis, replace(BEAT, worker=f"pi1+{n}", processes=1024, refused={"0" * 64: "no"}))
        for n in range(5)
    ],
    "refuses the model": lambda redis, _, model: beat(
        redis, replace(BEAT, worker="pi1", refused={model: "no"})
    ),
    "makes keys of a wrong type": lambda redis, job, _: [
        redis.execute_command(command, name, "1", "2")  # type: ignore[no-untyped-call]
        for name in (rate_key(f"job:{job}"), claim_key(job, 99), QUEUE_KEY)
        for command in ("SADD", "LPUSH", "ZADD")
        if not redis.exists(name)
    ],
}


def forged_notice(job: str, delivery: int) -> bytes:
    """Build a notice as Celery has it, of a model that nobody has."""
    return envelope(json.dumps([[Notice(job, delivery, "0" * 64).to_wire()], {}, {}]).encode())


def test_job_is_read_right_by_others_whatever_a_thief_does_beside(
    port: int, origin: FaultyOrigin, tmp_path: Path, tiny_model: Path
) -> None:
    expected = job_of(origin, tmp_path, images=80, delay_s=0.2)
    digest = load_model(str(tiny_model)).digest
    out, source = tmp_path / "out.csv", str(tmp_path / "urls.txt")
    options = ["--model", str(tiny_model), "-o", str(out), "--chunk", "8"]
    worker = start("pi2", port, tmp_path, "worker", "--concurrency", "1", "--name", "pi2")
    over, done = threading.Event(), dict.fromkeys(MISCHIEF, 0)
    thief = threading.Thread(target=make_mischief, args=(port, digest, over, done))
    try:
        wait_until(lambda: status("metrics", port)["workers"], timeout_s=30, what="a heartbeat")
        submit = start("producer", port, tmp_path, "submit", source, *options)
        thief.start()
        assert submit.wait(timeout=90) == 0, (tmp_path / "producer.log").read_text()[-2000:]
        assert worker.poll() is None, (tmp_path / "pi2.log").read_text()[-2000:]
    finally:
        over.set()
        if thief.is_alive():
            thief.join()
        end_child(worker, grace_s=30)
    assert out.read_text() == expected
    assert min(done.values()) > 0, done


def make_mischief(port: int, model: str, over: threading.Event, done: dict[str, int]) -> None:
    """Do all of it, over and over, to the job that there is."""
    with (
        Redis.from_url(url_of("admin", port)) as admin,  # whose job it is, it hears in the queue
        make_client(url_of("pi1", port)) as thief,
    ):
        while not over.wait(0.05):
            jobs = [name.decode().rpartition(":")[2] for name in admin.keys(results_key("*"))]
            for job, (what, do) in itertools.product(jobs, MISCHIEF.items()):
                with suppress(RedisError):
                    do(thief, job, model)
                    done[what] += 1

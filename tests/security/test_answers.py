"""A worker that somebody else controls can spoil neither a submission nor the producer."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from redis import Redis

from broker.claims import make_token
from broker.connection import connect
from broker.heartbeats import (
    MAX_HEARTBEAT_BYTES,
    MAX_PROCESSES,
    WORKERS_KEY,
    Heartbeat,
    heartbeat_key,
    look,
)
from broker.results import (
    MAX_RESULT_BYTES,
    RESULT_FIELD,
    ChunkResult,
    Crash,
    Outcome,
    Row,
    results_key,
)
from contract.errors import MessageError
from contract.reasons import Reason
from producer.job.answer_check import AnswerCheck
from producer.job.deliveries import format_spans, list_spans, parse_ranges
from producer.tables import fleet_table
from tests.broker.test_messages import BEAT
from tests.conftest import Pifleet, StartWorker, wait_until
from tests.producer.test_jobs import csv_of, finished
from tests.support.faulty_origin import Answer, FaultyOrigin
from tests.support.stripes import png, some_text

SECRET = "of the job"
MEMBERS = {7: frozenset({10, 11, 12})}
GOOD = ChunkResult(
    delivery=7,
    worker="pi1",
    outcome=Outcome.DONE,
    token=make_token(SECRET, 7),
    rows=(Row(10, "AB", 0.5), Row(11, "", 1.0), Row(12, None, reason=Reason.TIMEOUT)),
)


def check(result: ChunkResult) -> None:
    AnswerCheck(lambda chunk: MEMBERS.get(chunk, frozenset()), "ABC", secret=SECRET).check(result)


def rows(*changed: Row) -> ChunkResult:
    return replace(GOOD, rows=changed)


@pytest.mark.parametrize("indexes", [[], [0], [5, 6, 7], [1, 3, 4, 5, 9], list(range(1000))])
def test_ranges_give_back_what_they_were_made_of(indexes: list[int]) -> None:
    assert parse_ranges(format_spans(list_spans(indexes))) == set(indexes)


def test_good_answer_is_taken() -> None:
    check(GOOD)
    check(replace(GOOD, outcome=Outcome.CRASHED, rows=(), crash=Crash(was_seen=True, image=11)))


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (replace(GOOD, delivery=8), "was ever sent"),
        (replace(GOOD, token=make_token(SECRET, 8)), "the token of its delivery"),
        (replace(GOOD, token=""), "the token of its delivery"),
        (rows(*GOOD.rows[:2]), "2 rows for 3 images"),
        (rows(), "0 rows for 3 images"),
        (rows(*GOOD.rows, Row(13, "A", 1.0)), "4 rows for 3 images"),
        (rows(*GOOD.rows[:2], Row(99, "A", 1.0)), "or for others"),
        (rows(*GOOD.rows[:2], Row(10, "C", 1.0)), "two rows"),
        (rows(Row(10, "AD", 0.5), *GOOD.rows[1:]), "beyond the symbols"),
        (rows(Row(10, "=A", 0.5), *GOOD.rows[1:]), "beyond the symbols"),
        (rows(Row(10, "A\nx,y", 0.5), *GOOD.rows[1:]), "beyond the symbols"),
        (replace(GOOD, outcome=Outcome.CRASHED), "though it is crashed"),
        (
            replace(GOOD, outcome=Outcome.CRASHED, rows=(), crash=Crash(image=99)),
            "suspects an image",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_answer_that_cannot_be_ours_is_refused(bad: ChunkResult, why: str) -> None:
    with pytest.raises(MessageError, match=why):
        check(bad)


def test_text_that_the_job_does_not_accept_is_refused() -> None:
    members = MEMBERS.__getitem__
    checker = AnswerCheck(members, "ABC", secret=SECRET, accepts={"A"}.__contains__)
    with pytest.raises(MessageError, match="not as demanded"):
        checker.check(replace(GOOD, rows=(Row(10, "B", 1.0), *GOOD.rows[1:])))


def test_refused_answer_is_logged_and_the_others_are_taken(
    caplog: pytest.LogCaptureFixture,
) -> None:
    checker = AnswerCheck(lambda chunk: MEMBERS.get(chunk, frozenset()), "ABC", secret=SECRET)
    with caplog.at_level(logging.WARNING):
        assert checker.acceptable([replace(GOOD, delivery=8), GOOD]) == [GOOD]
    assert "answer refused delivery=8 worker=pi1" in caplog.text


def wire(**changes: Any) -> str:
    return json.dumps({**json.loads(GOOD.to_json()), **changes})


@pytest.mark.parametrize(
    "text",
    [
        " " * (MAX_RESULT_BYTES + 1),
        "[" * 100_000,
        wire(delivery=-1),
        wire(delivery=10**30),
        wire(delivery=True),
        wire(took_s=-1.0),
        wire(took_s=1e300),
        wire(took_s="1"),
        wire(rows=[[10, "A", 2]]),
        wire(rows=[[10, "A", True, 1]]),
        wire(rows={"10": "A"}),
        wire(rows=[[10, None, 0.0, "no such reason", ""]]),
        wire(crash={"image": "10"}),
        wire(v=99),
    ],
    ids=lambda text: text[:60].strip() or "two megabytes",
)
def test_answer_of_another_form_is_refused(text: str) -> None:
    with pytest.raises(MessageError):
        ChunkResult.from_json(text)


def test_what_a_worker_says_cannot_command_a_terminal_or_break_a_line() -> None:
    evil = "\x1b]0;owned\x07\r\nname,text\u202e"
    said = ChunkResult.from_json(
        wire(worker=evil, detail=evil * 100, rows=[[10, None, 0.0, "timeout", evil]])
    )
    for text in (said.worker, said.detail, said.rows[0].detail):
        assert text.isprintable()
        assert len(text) <= 200


@pytest.mark.parametrize(
    "changes",
    [
        {"processes": MAX_PROCESSES + 1},
        {"processes": -1},
        {"pid": -1},
        {"in_hand": ["x" * MAX_HEARTBEAT_BYTES]},
    ],
    ids=lambda changes: str(changes)[:40],
)
def test_heartbeat_that_would_mislead_the_producer_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(MessageError):
        Heartbeat.from_json(json.dumps({**json.loads(BEAT.to_json()), **changes}))


@pytest.mark.redis
def test_heartbeat_under_another_name_is_not_believed(redis_url: str) -> None:
    with connect(redis_url) as redis:
        seconds, _ = redis.time()
        redis.zadd(WORKERS_KEY, {"pi1": seconds, "thief": seconds})
        for name in ("pi1", "thief"):
            fields = {"beat": BEAT.to_json(), "at": str(seconds)}
            redis.hset(heartbeat_key(name), mapping=fields)
        assert [worker.worker for worker in look(redis).workers] == ["pi1"]


@pytest.mark.redis
def test_name_of_a_worker_is_no_markup_to_the_status_table(redis_url: str) -> None:
    from rich.console import Console

    name = "[/red][link=http://evil]x"
    with connect(redis_url) as redis:
        seconds, _ = redis.time()
        redis.zadd(WORKERS_KEY, {name: seconds})
        fields = {"beat": replace(BEAT, worker=name).to_json(), "at": str(seconds)}
        redis.hset(heartbeat_key(name), mapping=fields)
        console = Console(width=200)
        with console.capture() as shown:
            console.print(fleet_table(look(redis)))
    assert name in shown.get()


@pytest.mark.redis
def test_forged_answers_change_no_byte_of_the_submission(
    pifleet: Pifleet,
    start_worker: StartWorker,
    origin: FaultyOrigin,
    tmp_path: Path,
    redis_url: str,
) -> None:
    texts = {f"{i:04}.png": some_text(i) for i in range(60)}
    urls = [
        origin.add(f"/{name}", answer=Answer(png(text), delay_s=0.5))
        for name, text in texts.items()
    ]
    (tmp_path / "urls.txt").write_text("\n".join(urls))
    process = pifleet("submit", "urls.txt", "-o", "out.csv", "--chunk", "8")
    with connect(redis_url) as redis:
        forge(redis)
    start_worker()

    summary = json.loads(finished(process))

    assert (tmp_path / "out.csv").read_text() == csv_of(texts)
    assert (summary["read"], summary["failed"], summary["repeats"]) == (60, 0, 0)


def forge(redis: Redis) -> None:
    """Answer a job as a thief would, before any worker does."""
    wait_until(lambda: redis.exists("pifleet:chunks"), timeout_s=30, what="a chunk in the queue")
    (key,) = redis.keys(results_key("*"))
    done = {
        "v": 3,
        "token": "0" * 32,
        "worker": "thief",
        "outcome": "done",
        "took_s": 0.1,
        "detail": "",
    }
    forged: list[object] = [
        {**done, "delivery": 1, "rows": [[index, "=HYPERLINK()", 1.0] for index in range(8)]},
        {**done, "delivery": 1, "rows": []},
        {**done, "delivery": 1, "rows": [[index, "A", 1.0] for index in range(60)]},
        {**done, "delivery": 1, "rows": [[index, "A", 1.0] for index in range(50, 58)]},
        {**done, "chunk": 99, "rows": [[0, "A", 1.0]]},
        {**done, "delivery": 10**40, "rows": []},
        {**done, "outcome": "crashed", "chunk": 2, "rows": [], "suspects": [50, 51]},
        "no object",
    ]
    for message in forged:
        redis.xadd(key, {RESULT_FIELD: json.dumps(message)})
    redis.xadd(key, {RESULT_FIELD: b"\xff\x00"})
    redis.xadd(key, {b"\xff": b"another field"})
    redis.xadd(key, {RESULT_FIELD: "[" * 200_000})

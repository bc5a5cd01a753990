"""The shipped users file: each role can do its work, and nothing that it does not need."""

from __future__ import annotations

import json
import os
import subprocess
import urllib.request
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from redis.exceptions import AuthenticationError, NoPermissionError, ResponseError

from broker.chunks import QUEUE_KEY
from broker.claims import Claims, is_recalled
from broker.connection import connect
from broker.results import results_key
from pifleet.access.roles import ROLES
from pifleet.access.users_file import NOBODY
from pifleet.local.children import Child, end_child, start_child
from tests.conftest import wait_until
from tests.support.commands import PIFLEET, fleet_env
from tests.support.faulty_origin import Answer, FaultyOrigin
from tests.support.ports import free_port
from tests.support.secured_redis import INFRA, redis_with_users, url_of
from tests.support.stripes import png, some_text

pytestmark = pytest.mark.redis

REFUSED = "(?i)has no permissions|not allowed"  # Redis 7 refuses DEBUG and MODULE to everyone
OTHER_JOB = results_key("0badcafe")


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with redis_with_users(tmp_path_factory.mktemp("redis")) as port:
        with Redis.from_url(url_of("admin", port)) as admin:
            admin.lpush(QUEUE_KEY, "a chunk")
            admin.xadd(OTHER_JOB, {"r": "{}"})
            admin.set("pifleet:model:0", "a model")
            admin.hset("pifleet:unacked", "tag", "a chunk in another's hands")
        yield port


@pytest.fixture
def clean(tmp_path: Path) -> Iterator[int]:
    with redis_with_users(tmp_path) as port:
        yield port


def start(role: str, port: int, folder: Path, *arguments: str) -> Child:
    """Start a real command with a role's password."""
    env = {**fleet_env(url_of(role, port), folder), "FLOWER_BASIC_AUTH": "a:b"}
    return start_child([*PIFLEET, *arguments], env=env, log=folder / f"{role}.log")


def status(role: str, port: int) -> dict[str, Any]:
    """Ask what `pifleet status` says to a role."""
    command = [*PIFLEET, "status", "--json"]
    env = {**os.environ, "PIFLEET_REDIS_URL": url_of(role, port)}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    seen: dict[str, Any] = json.loads(done.stdout)
    return seen


def refused(port: int) -> list[tuple[str, str]]:
    """List what the server has refused, as who and what.

    But for the name and version of itself that redis-py tells a server without asking.
    """
    with Redis.from_url(url_of("admin", port), decode_responses=True) as admin:
        log: list[dict[str, str]] = admin.acl_log()
    named = [(entry["username"], entry["object"]) for entry in log]
    return [(user, command) for user, command in named if not command.startswith("client")]


def serve(origin: FaultyOrigin, folder: Path, number: int) -> str:
    """Serve drawn images and list them; return the expected submission."""
    texts = {f"{i:04}.png": some_text(i) for i in range(number)}
    urls = [origin.add(f"/{name}", png(text)) for name, text in texts.items()]
    (folder / "urls.txt").write_text("\n".join(urls))
    return "".join(f"{name},{text}\n" for name, text in sorted(texts.items()))


def test_whole_job_runs_with_each_program_in_its_role_and_nothing_is_refused(
    clean: int, origin: FaultyOrigin, tmp_path: Path, tiny_model: Path
) -> None:
    expected = serve(origin, tmp_path, 200)
    out = tmp_path / "out.csv"
    worker = start("pi1", clean, tmp_path, "worker", "--concurrency", "2", "--name", "pi1")
    try:
        wait_until(lambda: status("metrics", clean)["workers"], timeout_s=30, what="a heartbeat")
        options = ["--model", str(tiny_model), "-o", str(out), "--chunk", "16"]
        submit = start("producer", clean, tmp_path, "submit", str(tmp_path / "urls.txt"), *options)
        submit.wait(timeout=60)
    finally:
        assert end_child(worker, grace_s=30) == 0
    assert out.read_text() == expected
    assert refused(clean) == []
    with Redis.from_url(url_of("admin", clean)) as admin:
        assert admin.zcard("pifleet:workers") == 0, "it could sign off"
        assert not admin.exists("pifleet:unacked"), "it could acknowledge"


def test_flower_sees_the_workers_with_a_role_that_sees_no_chunk(clean: int, tmp_path: Path) -> None:
    web = free_port()
    worker = start("pi1", clean, tmp_path, "worker", "--concurrency", "1", "--name", "pi1")
    flower = start("dashboard", clean, tmp_path, "dashboard", "--port", str(web))
    request = urllib.request.Request(f"http://127.0.0.1:{web}/api/workers?refresh=1")
    request.add_header("Authorization", f"Basic {b64encode(b'a:b').decode()}")

    def details() -> bool:
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return "active_queues" in json.load(answer).get("pifleet@pi1", {})
        except OSError:
            return False

    try:
        wait_until(details, timeout_s=45, what="what Flower knows of the worker")
    finally:
        end_child(flower, grace_s=10)
        assert end_child(worker, grace_s=30) == 0
    assert refused(clean) == []


WORKER_MUST_NOT = {
    "read another job's rows": ("XREAD", "STREAMS", OTHER_JOB, "0"),
    "read them from the end": ("XREVRANGE", OTHER_JOB, "+", "-"),
    "read them in a range": ("XRANGE", OTHER_JOB, "-", "+"),
    "read them as a group": ("XGROUP", "CREATE", OTHER_JOB, "g", "0"),
    "look into a stream": ("XINFO", "STREAM", OTHER_JOB),
    "copy a stream": ("COPY", OTHER_JOB, "pifleet:heartbeats"),
    "dump a stream": ("DUMP", OTHER_JOB),
    "delete rows": ("XDEL", OTHER_JOB, "1-1"),
    "trim rows": ("XTRIM", OTHER_JOB, "MAXLEN", "0"),
    "delete another job's stream": ("DEL", OTHER_JOB),
    "delete the queue": ("DEL", QUEUE_KEY),
    "unlink the queue": ("UNLINK", QUEUE_KEY),
    "expire the queue": ("EXPIRE", QUEUE_KEY, "0"),
    "expire the queue at a time": ("EXPIREAT", QUEUE_KEY, "1"),
    "overwrite the queue": ("SET", QUEUE_KEY, "x"),
    "rename the queue": ("RENAME", QUEUE_KEY, "pifleet:workers"),
    "trim the queue": ("LTRIM", QUEUE_KEY, "1", "0"),
    "look into the queue": ("LRANGE", QUEUE_KEY, "0", "-1"),
    "overwrite a model": ("SET", "pifleet:model:0", "x"),
    "append to a model": ("APPEND", "pifleet:model:0", "x"),
    "see what others hold": ("HGETALL", "pifleet:unacked"),
    "run KEYS": ("KEYS", "*"),
    "run SCAN": ("SCAN", "0"),
    "empty the server": ("FLUSHALL",),
    "empty the database": ("FLUSHDB",),
    "read settings": ("CONFIG", "GET", "*"),
    "change settings": ("CONFIG", "SET", "dir", "/tmp"),
    "run Lua": ("EVAL", "return 1", "0"),
    "run loaded Lua": ("EVALSHA", "0" * 40, "0"),
    "load Lua": ("SCRIPT", "LOAD", "return 1"),
    "list users": ("ACL", "LIST"),
    "make a user": ("ACL", "SETUSER", "thief", "on", "nopass", "+@all", "~*"),
    "list connections": ("CLIENT", "LIST"),
    "end connections": ("CLIENT", "KILL", "TYPE", "normal"),
    "listen to everybody": ("MONITOR",),
    "stop the server": ("SHUTDOWN", "NOSAVE"),
    "make it a replica": ("REPLICAOF", "192.0.2.1", "6379"),
    "load a module": ("MODULE", "LOAD", "/tmp/x.so"),
    "debug": ("DEBUG", "SLEEP", "0"),
    "write a snapshot": ("SAVE",),
    "use another database": ("SELECT", "1"),
    "move keys away": ("MIGRATE", "192.0.2.1", "6379", QUEUE_KEY, "0", "100"),
    "read what is not the fleet's": ("GET", "other:key"),
    "write what is not the fleet's": ("LPUSH", "other:list", "x"),
    "talk on other channels": ("PUBLISH", "other", "x"),
    "listen on all channels": ("PSUBSCRIBE", "*"),
}
OTHERS_MUST_NOT = {
    "producer": {
        "take chunks": ("BRPOP", QUEUE_KEY, "1"),
        "fake a heartbeat": ("HSET", "pifleet:heartbeats", "pi1", "{}"),
        "run KEYS": ("KEYS", "*"),
        "empty the server": ("FLUSHALL",),
        "read settings": ("CONFIG", "GET", "*"),
        "run Lua": ("EVAL", "return 1", "0"),
        "make a user": ("ACL", "SETUSER", "thief"),
        "command workers": ("PUBLISH", "pifleet:/0.celery.pidbox", "{}"),
        "write what is not the fleet's": ("SET", "other:key", "x"),
    },
    "dashboard": {
        "take chunks": ("BRPOP", QUEUE_KEY, "1"),
        "delete the queue": ("DEL", QUEUE_KEY),
        "read rows": ("XREAD", "STREAMS", OTHER_JOB, "0"),
        "read a model": ("GET", "pifleet:model:0"),
        "run KEYS": ("KEYS", "*"),
        "read settings": ("CONFIG", "GET", "*"),
        "run Lua": ("EVAL", "return 1", "0"),
    },
    "metrics": {
        "take chunks": ("BRPOP", QUEUE_KEY, "1"),
        "add chunks": ("LPUSH", QUEUE_KEY, "x"),
        "fake a heartbeat": ("HSET", "pifleet:heartbeats", "pi1", "{}"),
        "read rows": ("XREAD", "STREAMS", OTHER_JOB, "0"),
        "read settings": ("CONFIG", "GET", "*"),
        "command workers": ("PUBLISH", "pifleet:/0.celery.pidbox", "{}"),
    },
}


@pytest.mark.parametrize("command", WORKER_MUST_NOT.values(), ids=WORKER_MUST_NOT.keys())
def test_worker_cannot(port: int, command: tuple[str, ...]) -> None:
    with Redis.from_url(url_of("pi1", port)) as pi, pytest.raises(ResponseError, match=REFUSED):
        pi.execute_command(*command)


@pytest.mark.parametrize(
    ("role", "command"),
    [(role, command) for role, table in OTHERS_MUST_NOT.items() for command in table.values()],
    ids=[f"{role} cannot {what}" for role, table in OTHERS_MUST_NOT.items() for what in table],
)
def test_other_role_cannot(port: int, role: str, command: tuple[str, ...]) -> None:
    with Redis.from_url(url_of(role, port)) as redis, pytest.raises(NoPermissionError):
        redis.execute_command(*command)


@pytest.mark.parametrize(
    "command",
    [
        ("HSET", QUEUE_KEY, "f", "x"),
        ("ZADD", QUEUE_KEY, "1", "x"),
        ("SADD", "pifleet:model:0", "x"),
        ("LPUSH", "pifleet:model:0", "x"),
        ("XADD", QUEUE_KEY, "*", "f", "x"),
    ],
    ids=" ".join,
)
def test_what_a_worker_may_write_destroys_no_key_of_another_kind(
    port: int, command: tuple[str, ...]
) -> None:
    with (
        Redis.from_url(url_of("pi1", port)) as pi,
        pytest.raises(ResponseError, match=r"WRONGTYPE|wrong kind"),
    ):
        pi.execute_command(*command)


def test_without_a_password_nobody_gets_in(port: int) -> None:
    with Redis(port=port) as stranger, pytest.raises(AuthenticationError):
        stranger.ping()


def test_worker_adds_rows_only_where_somebody_waits(port: int) -> None:
    with connect(url_of("pi1", port)) as pi:
        assert pi.exists(OTHER_JOB)
        assert pi.xadd(results_key("over"), {"r": "{}"}, nomkstream=True) is None


def test_worker_hears_that_a_job_is_cancelled_and_cannot_cancel_one(port: int) -> None:
    with connect(url_of("producer", port)) as producer, connect(url_of("pi1", port)) as pi:
        assert not is_recalled(pi, "0badcafe")
        Claims(producer, "0badcafe").recall()
        assert is_recalled(pi, "0badcafe")
        with pytest.raises(NoPermissionError):
            Claims(pi, "0badcafe").recall()


def test_shipped_file_says_what_the_code_says() -> None:
    users = {"admin": "admin", "producer": "producer", "dashboard": "dashboard"}
    users |= {"metrics": "metrics", "pi1": "worker"}
    lines = [
        f"user {user} on #SHA256-OF-THE-PASSWORD-OF-{user} {ROLES[role].rules(user)}"
        for user, role in users.items()
    ]
    assert (INFRA / "users.acl").read_text().splitlines() == [NOBODY, *lines]


def test_worker_may_give_its_chunks_back_when_it_leaves(
    clean: int, origin: FaultyOrigin, tmp_path: Path, tiny_model: Path
) -> None:
    texts = {f"{i:03}.png": some_text(i) for i in range(60)}
    urls = [
        origin.add(f"/{name}", answer=Answer(png(text), delay_s=0.4))
        for name, text in texts.items()
    ]
    (tmp_path / "urls.txt").write_text("\n".join(urls))
    out = tmp_path / "out.csv"
    options = ["--model", str(tiny_model), "-o", str(out), "--chunk", "4", "--rate", "200"]
    submit = start("producer", clean, tmp_path, "submit", str(tmp_path / "urls.txt"), *options)
    for number in range(2):
        seen = len(origin.requests) + 10
        worker = start("pi1", clean, tmp_path, "worker", "--concurrency", "1")
        wait_until(lambda seen=seen: len(origin.requests) >= seen, timeout_s=40)  # type: ignore[misc]
        if number:
            submit.wait(timeout=60)
        assert end_child(worker, grace_s=30) == 0
    assert len(out.read_text().splitlines()) == 60
    assert refused(clean) == []


def test_producer_may_push_a_model_and_cancel_a_job(
    clean: int, origin: FaultyOrigin, tmp_path: Path, tiny_model: Path
) -> None:
    serve(origin, tmp_path, 20)
    source, out = str(tmp_path / "urls.txt"), str(tmp_path / "out.csv")
    for arguments in (
        ("models", "push", str(tiny_model)),
        ("submit", source, "-o", out, "--model", str(tiny_model), "--detach"),
        ("cancel", out),
    ):
        command = start("producer", clean, tmp_path, *arguments)
        assert command.wait(timeout=30) in (0, 1), (tmp_path / "producer.log").read_text()
    assert refused(clean) == []

"""A broker that fails over: its master is whoever Sentinel says, in the middle of a job too."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from broker.app import make_app
from broker.connection import connect, make_client
from broker.sentinel import SentinelUrl, parse
from contract.errors import ServiceError, SettingsError
from contract.settings import Settings
from pifleet.local.children import Child, end_child, start_child
from pifleet.local.redis_server import find_redis_server
from tests.conftest import wait_until
from tests.support.commands import PIFLEET, fleet_env
from tests.support.faulty_origin import Answer, FaultyOrigin
from tests.support.ports import free_port
from tests.support.stripes import png, some_text

MASTER = "fleet"


@dataclass(frozen=True, slots=True)
class FailoverBroker:
    """A master, its replica, and the Sentinel that watches them."""

    url: str
    master: Child
    master_port: int


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[FailoverBroker]:
    ports = [free_port() for _ in range(3)]
    first, second, sentinel = ports
    rules = [
        f"sentinel monitor {MASTER} 127.0.0.1 {first} 1",
        f"sentinel down-after-milliseconds {MASTER} 1000",
        f"sentinel failover-timeout {MASTER} 5000",
    ]
    with ExitStack() as stack:
        master = _start(stack, tmp_path, first, ["repl-diskless-sync-delay 0"])
        _start(stack, tmp_path, second, [f"replicaof 127.0.0.1 {first}"])
        with make_client(f"redis://127.0.0.1:{second}/0") as replica:
            wait_until(
                lambda: replica.info("replication").get("master_link_status") == "up",
                timeout_s=20,
                what="the replica's copy",
            )
        _start(stack, tmp_path, sentinel, rules, "--sentinel")
        url = f"sentinel://127.0.0.1:{free_port()},127.0.0.1:{sentinel}/{MASTER}/0"
        with make_client(f"redis://127.0.0.1:{sentinel}/0") as watcher:
            wait_until(
                lambda: int(_master_of(watcher)["num-slaves"]) == 1, what="the replica's discovery"
            )
        yield FailoverBroker(url, master, first)


def _master_of(watcher: object) -> dict[str, str]:
    flat = watcher.execute_command("SENTINEL", "MASTER", MASTER)  # type: ignore[attr-defined]
    pairs = flat.items() if isinstance(flat, dict) else zip(flat[::2], flat[1::2], strict=True)
    return {_text(name): _text(value) for name, value in pairs}


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _start(stack: ExitStack, folder: Path, port: int, lines: list[str], *options: str) -> Child:
    """Start one server of the broker; all end with the stack."""
    own = folder / str(port)
    own.mkdir()
    config, log = own / "redis.conf", own / "log"
    config.write_text("\n".join([f"port {port}", "bind 127.0.0.1", f"dir {own}", *lines, ""]))
    log.write_text("")
    server = start_child([str(find_redis_server()), str(config), *options], log=log)
    stack.callback(end_child, server, grace_s=5)
    with make_client(f"redis://127.0.0.1:{port}/0") as client:
        wait_until(lambda: _answers(client), what=f"the server on {port}")
    return server


def _answers(client: object) -> bool:
    from redis.exceptions import RedisError

    try:
        return bool(client.ping())  # type: ignore[attr-defined]
    except RedisError:
        return False


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("sentinel://h/fleet", SentinelUrl((("h", 26379),), "fleet")),
        (
            "sentinel://pi:p%40ss@a:1,[::1]:2/fleet/3?ssl_ca_certs=/etc/ca.crt",
            SentinelUrl((("a", 1), ("::1", 2)), "fleet", 3, "pi", "p@ss", "/etc/ca.crt"),
        ),
    ],
    ids=["least", "most"],
)
def test_url_is_taken_apart(url: str, expected: SentinelUrl) -> None:
    assert parse(url) == expected


@pytest.mark.parametrize("url", ["sentinel://h", "sentinel:///fleet", "sentinel://h:x/fleet"])
def test_url_that_names_no_master_is_refused_by_its_variable(url: str) -> None:
    with pytest.raises(SettingsError, match=r"PIFLEET_REDIS_URL.*sentinel://"):
        make_client(url)


def test_kombu_is_told_every_sentinel_and_the_master() -> None:
    app = make_app("sentinel://:secret@a:1,b:2/fleet/0")
    assert app.conf.broker_url == "sentinel://:secret@a:1/0;sentinel://:secret@b:2/0"
    assert app.conf.broker_transport_options["master_name"] == "fleet"


def test_authority_reaches_sentinels_and_servers(tmp_path: Path) -> None:
    authority = tmp_path / "ca.crt"
    authority.touch()
    env = {"PIFLEET_REDIS_URL": "sentinel://h/fleet", "PIFLEET_REDIS_CA": str(authority)}
    url = Settings.from_env(env).redis_url
    app = make_app(url)
    assert parse(url).tls == {"ssl": True, "ssl_ca_certs": str(authority)}
    assert app.conf.broker_use_ssl["ssl_ca_certs"] == str(authority)
    assert app.conf.broker_transport_options["sentinel_kwargs"]["ssl"]


def test_sentinels_that_are_away_are_told_in_one_sentence() -> None:
    with pytest.raises(ServiceError, match=r"sentinel://127.0.0.1:1/fleet"):
        connect("sentinel://127.0.0.1:1/fleet/0")


@pytest.mark.redis
@pytest.mark.timeout(180)
def test_job_outlives_the_death_of_the_master(
    broker: FailoverBroker, origin: FaultyOrigin, tmp_path: Path, tiny_model: Path
) -> None:
    texts = {f"{i:04}.png": some_text(i) for i in range(240)}
    urls = [
        origin.add(f"/{name}", answer=Answer(png(text), delay_s=0.3))
        for name, text in texts.items()
    ]
    (tmp_path / "urls.txt").write_text("\n".join(urls))
    env = fleet_env(broker.url, tmp_path)
    worker = start_child(
        [*PIFLEET, "worker", "--concurrency", "1", "--name", "pi1"],
        env=env,
        log=tmp_path / "worker.log",
    )
    submit = ["submit", "urls.txt", "-o", "out.csv", "--model", str(tiny_model), "--json"]
    with subprocess.Popen(
        [*PIFLEET, *submit, "--chunk", "8"],
        cwd=tmp_path,
        env=env,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as producer:
        try:
            wait_until(lambda: len(origin.requests) > 60, timeout_s=60, what="60 requests")
            broker.master.kill()
            out, err = producer.communicate(timeout=120)
        finally:
            producer.kill()
            end_child(worker, grace_s=30)
    assert producer.returncode == 0, err + (tmp_path / "worker.log").read_text()[-3000:]
    assert json.loads(out)["read"] == 240
    assert (tmp_path / "out.csv").read_text() == "".join(
        f"{name},{text}\n" for name, text in sorted(texts.items())
    )
    with connect(broker.url) as redis:
        assert redis.connection_pool.get_master_address()[1] != broker.master_port

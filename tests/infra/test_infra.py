"""The files of infra/ agree with the code that they run."""

from __future__ import annotations

import configparser
import os
import re
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from broker.connection import connect
from broker.overview import certificate_ends, overlook
from contract.clocks import HARD_LIMIT_S
from contract.settings import Settings
from pifleet.local.broker_checks import check_redis
from pifleet.local.children import end_child, start_child
from pifleet.local.machine_checks import Level
from pifleet.local.redis_server import find_redis_server
from tests.conftest import wait_until
from tests.support.commands import run_pifleet
from tests.support.ports import free_port
from tests.support.secured_redis import tls_redis_server

INFRA = Path(__file__).parents[2] / "infra"


@pytest.mark.redis
def test_doctor_finds_nothing_wrong_with_the_broker_that_we_recommend(tmp_path: Path) -> None:
    config = (INFRA / "redis.conf").read_text().replace("bind 0.0.0.0 -::", "bind 127.0.0.1")
    (tmp_path / "redis.conf").write_text(config)
    port, log = free_port(), tmp_path / "log"
    options = ["--port", str(port), "--dir", str(tmp_path)]
    command = [str(find_redis_server()), str(tmp_path / "redis.conf"), *options]
    server = start_child(command, log=log)
    try:
        wait_until(lambda: "Ready to accept" in log.read_text(), what="the server's start")
        url = f"redis://:CHANGE-ME@127.0.0.1:{port}/0"
        assert [one for one in check_redis(url) if one.level is not Level.OK] == []
        with connect(url) as redis:
            assert redis.config_get("maxmemory") == {"maxmemory": str(256 * 1024 * 1024)}
    finally:
        end_child(server, grace_s=5)


def test_unit_gives_a_chunk_the_time_to_end() -> None:
    unit = configparser.RawConfigParser(strict=False)
    unit.optionxform = str  # type: ignore[assignment,method-assign]  # systemd minds the case
    unit.read(INFRA / "pifleet-worker.service")
    assert int(unit["Service"]["TimeoutStopSec"]) > HARD_LIMIT_S
    assert unit["Service"]["KillMode"] == "mixed"


def test_example_settings_are_all_known() -> None:
    lines = (INFRA / "pifleet.env.example").read_text().splitlines()
    names = {match[1] for line in lines if (match := re.match(r"(?:# )?(PIFLEET_\w+)=", line))}
    assert names >= {"PIFLEET_REDIS_URL", "PIFLEET_CACHE_DIR"}
    assert {name for name in names if name not in (Settings.__doc__ or "")} == set()


def compose_services() -> dict[str, Any]:
    text = (INFRA / "docker-compose.yml").read_text()
    services: dict[str, Any] = yaml.safe_load(text)["services"]
    return services


def test_compose_gives_no_password_of_its_own_and_pins_what_it_runs() -> None:
    services = compose_services()
    assert "${FLOWER_BASIC_AUTH:?" in services["flower"]["environment"]["FLOWER_BASIC_AUTH"]
    assert (
        "${GRAFANA_PASSWORD:?" in services["grafana"]["environment"]["GF_SECURITY_ADMIN_PASSWORD"]
    )
    images = [service.get("image", "built:1.0") for service in services.values()]
    assert all(re.search(r":v?\d+\.\d+", image) for image in images), images


def test_compose_opens_nothing_but_to_this_machine() -> None:
    ports = [port for one in compose_services().values() for port in one.get("ports", [])]
    assert len(ports) == 3
    assert all(port.startswith(("127.0.0.1:", "${REDIS_BIND:-127.0.0.1}:")) for port in ports)


def test_compose_mounts_what_is_there() -> None:
    for service in compose_services().values():
        for volume in service.get("volumes", []):
            source = volume.partition(":")[0]
            assert not source.startswith("./") or (INFRA / source).exists(), volume


def test_compose_is_understood() -> None:
    program = shutil.which("docker-compose")
    if program is None:
        pytest.skip("docker-compose is not installed")
    env = {**os.environ, "FLOWER_BASIC_AUTH": "a:b", "GRAFANA_PASSWORD": "c"}
    command = [program, "-f", str(INFRA / "docker-compose.yml"), "config", "--quiet"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    missing = "Couldn't find env file"  # what `pifleet access init` writes
    assert done.returncode == 0 or missing in done.stderr, done.stderr


@pytest.mark.redis
def test_broker_of_the_compose_file_speaks_tls_and_tells_when_its_certificate_ends(
    tmp_path: Path,
) -> None:
    pytest.importorskip("cryptography")
    server = tls_redis_server()
    if server is None:
        pytest.skip("no redis-server here speaks TLS")
    port, log = free_port(), tmp_path / "log"
    made = ("access", "init", "access", "--host", "127.0.0.1", "--port", str(port))
    done = run_pifleet(*made, "--at", str(tmp_path / "access"), folder=tmp_path)
    assert done.returncode == 0, done.stderr
    words = " ".join(compose_services()["redis"]["command"])
    words = words.replace("/etc/redis/pifleet", str(tmp_path / "access"))
    words = words.replace("/etc/redis.conf", str(INFRA / "redis.conf"))
    words = words.replace("/data", str(tmp_path)).replace("redis-server", str(server), 1)
    child = start_child([*words.split(), "--bind", "127.0.0.1"], log=log)
    try:
        wait_until(lambda: "Ready to accept" in log.read_text(), what=log.read_text())
        lines = (tmp_path / "access" / "metrics.env").read_text().splitlines()
        settings = Settings.from_env(dict(line.split("=", 1) for line in lines))
        with connect(settings.redis_url) as client:
            ends = certificate_ends(client, settings.redis_url)
            assert overlook(client).memory_limit_bytes == 256 * 1024 * 1024
    finally:
        end_child(child, grace_s=5)
    days = {name: (end - time.time()) / 86_400 for name, end in ends.items()}
    assert 820 < days["broker"] < 826
    assert days["authority"] > days["broker"]


def test_every_package_is_installed() -> None:
    setup = configparser.ConfigParser()
    setup.read(INFRA.parent / "setup.cfg")
    named = set(setup["options"]["packages"].split())
    rooms = {name.partition(".")[0] for name in named}
    found = {
        ".".join(path.parent.relative_to(INFRA.parent).parts)
        for room in rooms
        for path in (INFRA.parent / room).rglob("__init__.py")
    }
    assert named == found

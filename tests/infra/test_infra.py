"""The files of infra/ agree with the code that they run."""

from __future__ import annotations

import configparser
import re
from pathlib import Path

import pytest
import yaml

from broker.app import HARD_LIMIT_S
from broker.connection import connect
from contract.settings import Settings
from pifleet.local.broker_checks import check_redis
from pifleet.local.children import end_child, start_child
from pifleet.local.machine_checks import Level
from pifleet.local.redis_server import find_redis_server
from tests.conftest import wait_until
from tests.support.ports import free_port

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


def test_compose_gives_no_password_of_its_own() -> None:
    text = (INFRA / "docker-compose.yml").read_text()
    services = yaml.safe_load(text)["services"]
    assert "${REDIS_PASSWORD:?" in services["redis"]["command"][-1]
    assert "${FLOWER_BASIC_AUTH:?" in services["flower"]["environment"]["FLOWER_BASIC_AUTH"]
    assert all(":" in service.get("image", "built:here") for service in services.values())


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

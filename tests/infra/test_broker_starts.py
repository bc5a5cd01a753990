"""Each shipped broker configuration starts with the rights that its supervisor leaves it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from broker.connection import connect, make_client
from pifleet.access.access import make_folder
from pifleet.local.children import end_child, start_child
from pifleet.local.redis_server import find_redis_server
from tests.conftest import wait_until
from tests.support.ports import free_port
from tests.support.secured_redis import tls_redis_server

INFRA = Path(__file__).parents[2] / "infra"
DEBIAN = ("--supervised", "systemd", "--daemonize", "no")  # as its unit adds
DEBIAN_DATA = "/var/lib/redis"  # with its log and its socket all that the unit lets Redis write

# As systemd's ProtectSystem=strict, CapabilityBoundingSet= and NoNewPrivileges= leave it, started
# in /, as every unit without a WorkingDirectory is.
RESTRICTED = """
set -e
mount --bind "$1" "$1"
mount -t tmpfs none /var/lib
mkdir -p "$2"
mount -o remount,ro,bind /
cd /
shift 2
exec setpriv --bounding-set=-all --inh-caps=-all --no-new-privs "$@"
"""
UNSHARE = ("unshare", "--user", "--map-root-user", "--mount")


def can_restrict() -> bool:
    if not (shutil.which("unshare") and shutil.which("setpriv")):
        return False
    return subprocess.run([*UNSHARE, "true"], check=False, capture_output=True).returncode == 0


pytestmark = [
    pytest.mark.redis,
    pytest.mark.skipif(not can_restrict(), reason="needs a namespace of its own to take rights"),
]


def start_as_a_unit(folder: Path, *arguments: str, url: str, program: Path | None = None) -> None:
    """Start a server with a system that it cannot write, use it, and end it."""
    log = folder / "log"
    server = [str(program or find_redis_server()), *arguments]
    script = ["sh", "-c", RESTRICTED, "sh", str(folder), DEBIAN_DATA]
    child = start_child([*UNSHARE, *script, *server], log=log)
    try:
        ready = "eady to accept connections"
        wait_until(lambda: ready in log.read_text() or child.poll() is not None, what="a start")
        assert child.poll() is None, log.read_text()
        with connect(url) as redis:
            redis.incr("written")
        wait_until(lambda: _is_saved(url), what="the append-only file")
    finally:
        end_child(child, grace_s=5)


def _is_saved(url: str) -> bool:
    with make_client(url) as redis:
        info = redis.info("persistence")
    return bool(info["aof_enabled"]) and info["aof_last_write_status"] == "ok"


def shipped_config(folder: Path, port: int, *more: str) -> Path:
    path = folder / "redis.conf"
    text = (INFRA / "redis.conf").read_text().replace("bind 0.0.0.0 -::", "bind 127.0.0.1")
    path.write_text("\n".join([text.replace("port 6379", f"port {port}"), *more]))
    return path


def test_broker_starts_under_debians_unit(tmp_path: Path) -> None:
    port = free_port()
    config = shipped_config(tmp_path, port)
    url = f"redis://:CHANGE-ME@127.0.0.1:{port}/0"
    start_as_a_unit(tmp_path, str(config), *DEBIAN, url=url)


def test_broker_with_tls_and_users_starts_under_debians_unit(tmp_path: Path) -> None:
    program = tls_redis_server()
    if program is None:
        pytest.skip("no redis-server here speaks TLS")
    port, access = free_port(), tmp_path / "access"
    make_folder(access, ("localhost", "127.0.0.1"), port=port)
    config = shipped_config(tmp_path, 0, f"include {access / 'tls.conf'}")
    admin = dict(line.split("=", 1) for line in (access / "admin.env").read_text().splitlines())
    url = f"{admin['PIFLEET_REDIS_URL']}?ssl_ca_certs={access / 'ca.crt'}"
    start_as_a_unit(tmp_path, str(config), *DEBIAN, url=url, program=program)


def test_broker_of_the_containers_keeps_its_data_in_its_volume(tmp_path: Path) -> None:
    service = yaml.safe_load((INFRA / "docker-compose.yml").read_text())["services"]["redis"]
    volume = next(part.split(":")[1] for part in service["volumes"] if part.startswith("redis:"))
    port = free_port()
    config = shipped_config(tmp_path, port)
    plain = tmp_path / "plain.conf"  # for TLS and users see test_infra.py
    plain.write_text("")
    places = {"/etc/redis.conf": config, "/etc/redis/pifleet/tls.conf": plain, volume: tmp_path}
    assert places.keys() < set(service["command"])
    options = [str(places.get(part, part)) for part in service["command"][1:]]
    url = f"redis://:CHANGE-ME@127.0.0.1:{port}/0"
    start_as_a_unit(tmp_path, *options, url=url)
    assert list(tmp_path.glob("appendonly*"))

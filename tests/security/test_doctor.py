"""The doctor says when the broker is open to the network, without a password or in the clear."""

from __future__ import annotations

from pathlib import Path

import pytest

from pifleet.access.access import admin_url, make_folder
from pifleet.local.broker_checks import check_redis
from pifleet.local.machine_checks import Finding, Level
from tests.support.ports import free_port
from tests.support.secured_redis import redis_with_users, running_redis, tls_redis_server, url_of

pytestmark = pytest.mark.redis

NO_PASSWORD = "protected-mode no\n"
PASSWORD = "requirepass secret\n"


def access(url: str) -> Finding:
    (found,) = (finding for finding in check_redis(url) if finding.subject == "redis access")
    return found


@pytest.mark.parametrize(
    ("bind", "config", "login", "level", "text"),
    [
        ("127.0.0.1", NO_PASSWORD, "", Level.WARN, "no password; loopback only"),
        ("127.0.0.1", PASSWORD, ":secret@", Level.OK, "asks for a password"),
        ("0.0.0.0", NO_PASSWORD, "", Level.FAIL, "open to the network, without a password"),
        ("0.0.0.0", "protected-mode yes\n", "", Level.WARN, "no password; loopback only"),
        ("0.0.0.0", PASSWORD, ":secret@", Level.WARN, "no TLS"),
        (
            "0.0.0.0",
            NO_PASSWORD + "user pi on >pw ~* &* +@all\n",
            "pi:pw@",
            Level.FAIL,
            "open to the network, without a password",
        ),
    ],
    ids=["here", "here, password", "open", "protected", "in the clear", "open beside users"],
)
def test_doctor_tells_who_can_get_in(
    tmp_path: Path, bind: str, config: str, login: str, level: Level, text: str
) -> None:
    port = free_port()
    path = tmp_path / "redis.conf"
    path.write_text(f"bind {bind}\nport {port}\n{config}")
    with running_redis(tmp_path, path):
        found = access(f"redis://{login}127.0.0.1:{port}/0")
    assert (found.level, text in found.text) == (level, True), found


@pytest.mark.skipif(tls_redis_server() is None, reason="no redis-server with TLS on the PATH")
def test_doctor_finds_nothing_wrong_with_a_broker_made_by_access_init(tmp_path: Path) -> None:
    folder = tmp_path / "access"
    make_folder(folder, ("localhost",), port=free_port())
    config = folder / "tls.conf"
    config.write_text(config.read_text() + "bind 0.0.0.0\nappendonly yes\n")
    with running_redis(tmp_path, config, program=tls_redis_server()):
        found = list(check_redis(admin_url(folder)))
    assert [one for one in found if one.level is not Level.OK] == []
    assert "by TLS" in found[-1].text


def test_doctor_is_content_with_a_user_who_may_not_see_the_settings(tmp_path: Path) -> None:
    with redis_with_users(tmp_path) as port:
        found = list(check_redis(url_of("pi1", port)))
    assert [one for one in found if one.level is not Level.OK] == []

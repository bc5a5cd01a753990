"""A Pi joins by a token, and by nothing else; what breaks meanwhile costs nothing."""

from __future__ import annotations

import os
import ssl
import stat
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from broker.connection import connect
from contract.settings import Settings
from tests.support.commands import run_pifleet
from tests.support.control_node import ControlNode, control_node, needs

pytestmark = [
    pytest.mark.redis,
    pytest.mark.skipif(bool(needs()), reason=needs() or "-"),
]


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlNode]:
    with control_node(tmp_path_factory.mktemp("control")) as running:
        yield running


def join(
    node: ControlNode, token: str, etc: Path, *, name: str, at: str = ""
) -> subprocess.CompletedProcess[str]:
    etc.mkdir(exist_ok=True)
    options = ["--at", at or node.at, "--name", name, "--etc", str(etc)]
    return run_pifleet(
        "join", *options, folder=etc, env={**os.environ, "PIFLEET_JOIN_TOKEN": token}
    )


def settings_of(etc: Path) -> Settings:
    lines = (etc / "pifleet.env").read_text().splitlines()
    return Settings.from_env(dict(line.split("=", 1) for line in lines if "=" in line[:30]))


def test_pi_trades_its_token_for_a_user_of_its_own(node: ControlNode, tmp_path: Path) -> None:
    token = node.token()
    done = join(node, token, tmp_path / "etc", name="pi1")
    assert done.returncode == 0, done.stderr
    with connect(settings_of(tmp_path / "etc").redis_url) as redis:
        assert redis.acl_whoami() == "pi1"
    assert stat.S_IMODE((tmp_path / "etc" / "pifleet.env").stat().st_mode) == 0o600
    assert sorted(path.name for path in (tmp_path / "etc").iterdir()) == ["ca.crt", "pifleet.env"]
    assert node.joined(token) == ["pi1"]
    secret = token.split(".")[1]
    assert f"enrolled name=pi1 token={token.split('.')[0]}" in node.log.read_text()
    assert secret not in node.log.read_text() + (node.folder / "access/tokens.json").read_text()


def test_token_is_used_up(node: ControlNode, tmp_path: Path) -> None:
    token = node.token("--uses", "2")
    codes = [join(node, token, tmp_path / n, name=f"used-{n}").returncode for n in "abc"]
    assert codes == [0, 0, 2]
    assert node.joined(token) == ["used-a", "used-b"]
    assert "used-c" not in node.users()


def test_pi_that_never_got_its_answer_asks_again(node: ControlNode, tmp_path: Path) -> None:
    token, etc = node.token(), tmp_path / "etc"
    assert join(node, token, etc, name="again").returncode == 0
    settings = settings_of(etc)
    password = settings.redis_url.split(":")[2].partition("@")[0]
    (etc / "pifleet.env").unlink()  # as if the power had gone before it was written
    (etc / "password").write_text(password)
    assert join(node, token, etc, name="again").returncode == 0
    assert settings_of(etc).redis_url == settings.redis_url
    assert node.joined(token) == ["again"]


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda token: "nonsense", "that is no enrolment token"),
        (lambda token: token.replace(token.split(".")[1], "x" * 43), "is wrong"),
        (lambda token: f"00000000{token[8:]}", "is wrong"),
        (lambda token: token[:-1] + ("0" if token[-1] != "0" else "1"), "is not the control node"),
    ],
    ids=["nonsense", "secret", "unknown", "fleet"],
)
def test_wrong_token_lets_nobody_in(
    node: ControlNode, tmp_path: Path, spoil: object, said: str
) -> None:
    token = spoil(node.token())  # type: ignore[operator]
    done = join(node, token, tmp_path / "etc", name="thief")
    assert (done.returncode, said in done.stderr) == (2, True), done.stderr
    assert "thief" not in node.users()
    assert not (tmp_path / "etc" / "pifleet.env").exists()
    assert len(done.stderr.splitlines()) == 1


def test_token_takes_over_no_name_that_is_in_use(node: ControlNode, tmp_path: Path) -> None:
    for name in ("admin", "producer"):
        done = join(node, node.token(), tmp_path / name, name=name)
        assert (done.returncode, "may join already" in done.stderr) == (2, True), done.stderr
    only = join(node, node.token("--name", "pi5"), tmp_path / "pi6", name="pi6")
    assert (only.returncode, "is for pi5" in only.stderr) == (2, True), only.stderr


def test_wheels_and_installer_are_given_and_nothing_else(node: ControlNode) -> None:
    (node.folder / "wheels" / "a-1-py3-none-any.whl").write_bytes(b"wheel")
    (node.folder / "wheels" / "secret.txt").write_bytes(b"secret")
    trusted = ssl.create_default_context(cafile=str(node.folder / "access" / "ca.crt"))

    def get(path: str) -> bytes | int:
        try:
            with urllib.request.urlopen(f"{node.at}{path}", context=trusted) as answer:
                return bytes(answer.read())
        except urllib.error.HTTPError as error:
            error.close()
            return error.code

    assert get("/wheels/a-1-py3-none-any.whl") == b"wheel"
    listed = get("/wheels/")
    assert isinstance(listed, bytes)
    assert b"a-1-py3-none-any.whl" in listed
    assert b"secret" not in listed
    installer = get("/install.sh")
    assert isinstance(installer, bytes)
    assert installer.startswith(b"#!/bin/sh")
    paths = ("/wheels/secret.txt", "/wheels/..%2faccess%2fca.key", "/ca.key", "/", "/users.acl")
    assert [get(path) for path in paths] == [404] * len(paths)

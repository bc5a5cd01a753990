"""A Pi joins by a token, and by nothing else; what breaks meanwhile costs nothing."""

from __future__ import annotations

import os
import ssl
import stat
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from broker.connection import connect
from contract.errors import AccessError, ServiceError, UserError
from contract.settings import Settings
from pifleet.cli import cli
from pifleet.joining import mdns
from pifleet.joining.enrolment import enrol
from pifleet.joining.server import MOST_WRONG, WRONG_WITHIN_S, Tries
from pifleet.joining.tokens import Token, fingerprint, parse_token, read_authority, read_issued
from tests.support.commands import run_pifleet
from tests.support.control_node import (
    ControlNode,
    broker_with_access,
    control_node,
    needs,
    serving,
)
from tests.support.ports import free_port

pytestmark = pytest.mark.redis
NEEDS = pytest.mark.skipif(bool(needs()), reason=needs() or "-")


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlNode]:
    with control_node(tmp_path_factory.mktemp("control")) as running:
        yield running


def settings_of(etc: Path) -> Settings:
    lines = (etc / "pifleet.env").read_text().splitlines()
    return Settings.from_env(dict(line.split("=", 1) for line in lines if line[:1] == "P"))


@NEEDS
def test_pi_trades_its_token_for_a_user_of_its_own(node: ControlNode, tmp_path: Path) -> None:
    token, etc = node.token(), tmp_path / "etc"
    options = ["--at", node.at, "--name", "pi1", "--etc", str(etc)]
    env = {**os.environ, "PIFLEET_JOIN_TOKEN": str(token)}
    done = run_pifleet("join", *options, folder=tmp_path, env=env)
    assert done.returncode == 0, done.stderr
    settings = settings_of(etc)
    assert settings.redis_url.startswith("rediss://pi1:")
    with connect(settings.redis_url) as redis:
        assert redis.ping()
    assert stat.S_IMODE((etc / "pifleet.env").stat().st_mode) == 0o600
    assert sorted(path.name for path in etc.iterdir()) == ["ca.crt", "pifleet.env"]
    assert node.joined(token) == ["pi1"]


@NEEDS
def test_no_secret_stands_in_a_log_or_in_the_clear(node: ControlNode, tmp_path: Path) -> None:
    token, etc = node.token(), tmp_path / "etc"
    enrol(node.at, token, name="quiet", folder=etc)
    password = settings_of(etc).redis_url.split(":")[2].partition("@")[0]
    log = node.log.read_text()
    assert f"enrolled name=quiet token={token.name} from=127.0.0.1" in log
    kept = log + "".join((node.access / name).read_text() for name in ("tokens.json", "users.acl"))
    assert token.secret not in kept
    assert password not in kept
    assert stat.S_IMODE((node.access / "tokens.json").stat().st_mode) == 0o600
    assert token.secret not in repr(token)


@NEEDS
def test_token_is_used_up(node: ControlNode, tmp_path: Path) -> None:
    token = node.token(uses=2)
    for name in ("used-a", "used-b"):
        enrol(node.at, token, name=name, folder=tmp_path / name)
    with pytest.raises(AccessError, match=r"used up: 2 came in \(make another"):
        enrol(node.at, token, name="used-c", folder=tmp_path / "used-c")
    assert node.joined(token) == ["used-a", "used-b"]
    assert "used-c" not in node.users()


@NEEDS
def test_token_ends(node: ControlNode, tmp_path: Path) -> None:
    with pytest.raises(AccessError, match="has ended"):
        enrol(node.at, node.token(hours=-1), name="late", folder=tmp_path)
    assert "late" not in node.users()


@NEEDS
def test_pi_that_never_got_its_answer_asks_again(node: ControlNode, tmp_path: Path) -> None:
    token = node.token()
    enrol(node.at, token, name="again", folder=tmp_path)
    url = settings_of(tmp_path).redis_url
    (tmp_path / "pifleet.env").unlink()  # as if the power had gone before it was written
    (tmp_path / "password").write_text(url.split(":")[2].partition("@")[0])
    enrol(node.at, token, name="again", folder=tmp_path)
    assert settings_of(tmp_path).redis_url == url
    assert node.joined(token) == ["again"]


@NEEDS
@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda token: replace(token, secret="x" * 43), "is wrong"),
        (lambda token: replace(token, name="00000000"), "is wrong"),
        (lambda token: replace(token, fingerprint="0" * 32), "is not the control node"),
    ],
    ids=["secret", "unknown", "another fleet's"],
)
def test_wrong_token_lets_nobody_in(
    node: ControlNode, tmp_path: Path, spoil: Callable[[Token], Token], said: str
) -> None:
    with pytest.raises(UserError, match=said):
        enrol(node.at, spoil(node.token()), name="thief", folder=tmp_path)
    assert "thief" not in node.users()
    assert not (tmp_path / "pifleet.env").exists()


@NEEDS
@pytest.mark.parametrize("name", ["admin", "producer", "default", "../x", "a b"])
def test_token_takes_no_name_that_is_in_use_or_none(
    node: ControlNode, tmp_path: Path, name: str
) -> None:
    before = (node.access / "users.acl").read_text()
    with pytest.raises(AccessError, match=r"may join already|is not accepted"):
        enrol(node.at, node.token(), name=name, folder=tmp_path)
    assert (node.access / "users.acl").read_text() == before


@NEEDS
def test_token_for_one_name_is_for_that_alone(node: ControlNode, tmp_path: Path) -> None:
    with pytest.raises(AccessError, match="is for pi5, and this is 'pi6'"):
        enrol(node.at, node.token(only="pi5"), name="pi6", folder=tmp_path)


@NEEDS
def test_wheels_and_installer_are_given_and_nothing_else(node: ControlNode) -> None:
    (node.folder / "wheels" / "a-1-py3-none-any.whl").write_bytes(b"wheel")
    (node.folder / "wheels" / "secret.txt").write_bytes(b"secret")
    trusted = ssl.create_default_context(cafile=str(node.access / "ca.crt"))

    def get(path: str) -> bytes:
        try:
            with urllib.request.urlopen(f"{node.at}{path}", context=trusted) as answer:
                return bytes(answer.read())
        except urllib.error.HTTPError as error:
            error.close()
            return str(error.code).encode()

    assert get("/wheels/a-1-py3-none-any.whl") == b"wheel"
    assert b'href="a-1-py3-none-any.whl"' in get("/wheels/")
    assert b"secret" not in get("/wheels/")
    assert get("/install.sh").startswith(b"#!/bin/sh")
    assert get("/ca.crt") == read_authority(node.access)
    paths = ("/wheels/secret.txt", "/wheels/..%2faccess%2fca.key", "/ca.key", "/", "/users.acl")
    assert [get(path) for path in paths] == [b"404"] * len(paths)


@NEEDS
def test_control_node_whose_broker_is_away_lets_the_pi_try_again(tmp_path: Path) -> None:
    with broker_with_access(tmp_path):
        pass
    (tmp_path / "wheels").mkdir()
    with serving(tmp_path) as node:
        token = node.token()
        with pytest.raises(ServiceError, match="the control node cannot: Redis at rediss://admin"):
            enrol(node.at, token, name="early", folder=tmp_path / "etc")
        with broker_with_access(tmp_path):
            enrol(node.at, token, name="early", folder=tmp_path / "etc")
    assert settings_of(tmp_path / "etc").redis_url.startswith("rediss://early:")


def test_tries_of_one_address_are_limited() -> None:
    now = 0.0
    tries = Tries(clock=lambda: now)
    for _ in range(MOST_WRONG):
        assert not tries.are_too_many("thief")
        tries.note("thief")
    assert tries.are_too_many("thief")
    assert not tries.are_too_many("somebody else")
    now = WRONG_WITHIN_S + 1
    assert not tries.are_too_many("thief")


@pytest.mark.parametrize("mode", ["--token", "--new=pi7", "--many=2", "--serve"])
def test_folder_that_is_none_is_one_line(tmp_path: Path, mode: str) -> None:
    (tmp_path / "wheelhouse").mkdir()
    done = run_pifleet("join", mode, folder=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("pifleet: access")
    assert "`pifleet access init`" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@NEEDS
@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--name", "../x"), "is not accepted"),
        (("--name", "p\udcff"), "is not accepted"),
        (("--hours", "nan"), "nan is no number"),
    ],
    ids=["path", "odd byte", "nan"],
)
def test_token_that_could_let_nobody_in_is_not_made(
    node: ControlNode, options: tuple[str, str], said: str
) -> None:
    access = node.folder / "access"
    before = read_issued(access)
    command = ["join", "--token", "--folder", str(access), *options]
    done = CliRunner().invoke(cli, command)
    assert done.exit_code != 0
    assert said in f"{done.output}{done.exception}"
    assert read_issued(access) == before


@pytest.mark.parametrize("text", ["", "nonsense", "a.b.c", "ab12cd34.short.00", "\x00" * 300])
def test_what_is_no_token_is_told_so(text: str) -> None:
    with pytest.raises(UserError, match="that is no enrolment token"):
        parse_token(text)


@pytest.mark.parametrize(
    "at", ["nonsense", "http://127.0.0.1", "https://", "https://[::1", "https://a:99999"]
)
def test_what_is_no_address_is_told_so(at: str, tmp_path: Path) -> None:
    token = parse_token(f"ab12cd34.{'x' * 43}.{'0' * 32}")
    with pytest.raises(UserError, match="is no address"):
        enrol(at, token, name="pi", folder=tmp_path)


def test_pi_finds_its_own_fleet_by_mdns() -> None:
    pytest.importorskip("zeroconf")
    ours, others, port = fingerprint(b"ours"), fingerprint(b"others"), free_port()
    addresses = mdns.own_addresses()
    with mdns.announced(addresses, port, ours) as is_announced:
        if not (addresses and is_announced):
            pytest.skip("no network here that takes multicast")
        assert mdns.find(ours, port=1) in [f"https://{one}:{port}" for one in addresses]
        assert mdns.find(others, port=1, wait_s=0.5) == "https://pifleet.local:1"


def test_pi_that_cannot_look_calls_the_usual_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "zeroconf", None)
    assert mdns.find("0" * 32, port=8765) == "https://pifleet.local:8765"

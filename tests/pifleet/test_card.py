"""A card lets its Pi in at the first boot; its files are ones that cloud-init takes."""

from __future__ import annotations

import shutil
import stat
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from broker.connection import connect
from contract.errors import SettingsError
from pifleet.cli import cli
from pifleet.joining.card import Card, Site, Wifi, write_card
from pifleet.joining.tokens import parse_token, read_issued
from tests.support.control_node import broker_with_access, needs

AT = "https://192.168.1.10:8765"
SITE = Site(AT, "-----BEGIN CERTIFICATE-----\nabc\n-----END CERTIFICATE-----\n")
ODD = "key: \"with\" 'quotes' # and {more}"
KEY = f"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB+/= {ODD}"
CARDS = {
    "one": Card(SITE, "PIFLEET_REDIS_URL=rediss://pi7:secret@h:6379/0\n", "pi7"),
    "many": Card(SITE, "ab12cd34.secret.00\n"),
    "all": Card(
        Site(AT, SITE.authority, ("192.168.1.10",), KEY, Wifi(ODD[:32], ODD, "DE")), "x\n", "pi7"
    ),
}


def files_of(card: Card) -> dict[str, dict[str, str]]:
    return {one["path"]: one for one in user_data(card)["write_files"]}


def user_data(card: Card) -> dict[str, Any]:
    data = yaml.safe_load(card.user_data())
    assert isinstance(data, dict)
    return data


def test_card_for_one_holds_its_settings_and_is_called_so() -> None:
    card = CARDS["one"]
    files = files_of(card)
    assert files["/etc/pifleet/pifleet.env"]["content"] == card.secret
    assert files["/etc/pifleet/pifleet.env"]["permissions"] == "0600"
    assert files["/etc/pifleet/ca.crt"]["content"] == SITE.authority
    assert files["/usr/local/sbin/pifleet-install"]["content"].startswith("#!/bin/sh\n")
    unit = files["/etc/systemd/system/pifleet-first-boot.service"]["content"]
    assert f"ExecStart=/usr/local/sbin/pifleet-install --at {AT}\n" in unit
    assert user_data(card)["hostname"] == "pi7"


def test_card_for_many_holds_a_token_and_no_name() -> None:
    card = CARDS["many"]
    files = files_of(card)
    assert files["/etc/pifleet/token"]["permissions"] == "0600"
    assert "/etc/pifleet/pifleet.env" not in files
    assert "hostname" not in user_data(card)
    naming = user_data(card)["runcmd"][0][-1]
    assert subprocess.run(["sh", "-n", "-c", naming], check=False).returncode == 0


def test_what_a_person_writes_stays_what_it_is() -> None:
    card = CARDS["all"]
    assert user_data(card)["ssh_authorized_keys"] == [KEY]
    network = yaml.safe_load(card.network_config())["network"]
    assert network["wifis"]["wlan0"]["access-points"] == {ODD[:32]: {"password": ODD}}
    assert network["ethernets"]["eth0"] == {"dhcp4": True, "optional": True}


@pytest.mark.skipif(shutil.which("cloud-init") is None, reason="no cloud-init here")
@pytest.mark.parametrize("card", CARDS.values(), ids=CARDS)
def test_cloud_init_takes_the_user_data(card: Card, tmp_path: Path) -> None:
    path, _ = write_card(card, tmp_path / "card")
    command = ["cloud-init", "schema", "--config-file", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("wifi", "named"),
    [
        (("", "long enough", "DE"), "--wifi"),
        (("x" * 33, "long enough", "DE"), "--wifi"),
        (("home", "short", "DE"), "Wi-Fi password"),
        (("home", "long enough", "Germany"), "--wifi-country"),
        (("home", "long enough", ""), "--wifi-country"),
    ],
)
def test_wifi_that_cannot_be_is_refused(wifi: tuple[str, str, str], named: str) -> None:
    with pytest.raises(SettingsError) as refused:
        Wifi(*wifi)
    assert refused.value.name == named
    assert "short" not in str(refused.value)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"at": "http://192.168.1.10:8765"}, "--at"),
        ({"at": "https://a b:1"}, "--at"),
        ({"at": "https://a\nUser=root"}, "--at"),
        ({"time_servers": ("a", "b\nc")}, "--time-server"),
        ({"ssh_key": "-----BEGIN OPENSSH PRIVATE KEY-----\nshort\n"}, "--ssh-key"),
        ({"ssh_key": "\ufffd\ufffd"}, "--ssh-key"),
        ({"ssh_key": f"{KEY}\n{KEY}"}, "--ssh-key"),
    ],
)
def test_site_that_no_pi_could_use_is_refused(changes: dict[str, Any], named: str) -> None:
    with pytest.raises(SettingsError) as refused:
        replace(SITE, **changes)
    assert refused.value.name == named
    assert "short" not in str(refused.value)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    with broker_with_access(tmp_path):
        yield tmp_path


@pytest.mark.redis
@pytest.mark.skipif(bool(needs()), reason=needs() or "-")
def test_new_writes_a_card_whose_pi_may_join_at_once(site: Path) -> None:
    done = CliRunner().invoke(cli, ["join", "--new", "pi7", "--host", "control.local"])
    assert done.exit_code == 0, done.output
    card = site / "card-pi7"
    assert sorted(path.name for path in card.iterdir()) == ["network-config", "user-data"]
    assert {stat.S_IMODE(path.stat().st_mode) for path in card.iterdir()} == {0o600}
    written = yaml.safe_load((card / "user-data").read_text())["write_files"]
    settings = next(one["content"] for one in written if one["path"].endswith("pifleet.env"))
    url = next(line for line in settings.splitlines() if line.startswith("PIFLEET_REDIS_URL="))
    with connect(f"{url.partition('=')[2]}?ssl_ca_certs={site / 'access' / 'ca.crt'}") as redis:
        assert redis.ping()
    assert "--at https://control.local:8765\n" in (card / "user-data").read_text()


@pytest.mark.redis
@pytest.mark.skipif(bool(needs()), reason=needs() or "-")
def test_many_writes_a_card_with_a_token_for_so_many(site: Path) -> None:
    done = CliRunner().invoke(cli, ["join", "--many", "50", "-o", "card"])
    assert done.exit_code == 0, done.output
    written = yaml.safe_load((site / "card" / "user-data").read_text())["write_files"]
    token = next(one["content"] for one in written if one["path"].endswith("token"))
    issued = read_issued(site / "access")[parse_token(token).name]
    assert (issued.uses, issued.joined) == (50, {})


@pytest.mark.redis
@pytest.mark.skipif(bool(needs()), reason=needs() or "-")
def test_nobody_is_let_in_for_a_card_that_cannot_be(site: Path) -> None:
    before = (site / "access" / "users.acl").read_text()
    options = ["--wifi", "home", "--wifi-country", "Germany"]
    done = CliRunner().invoke(cli, ["join", "--new", "pi8", *options], input="long enough\n")
    assert done.exit_code == 1
    assert isinstance(done.exception, SettingsError)
    assert (site / "access" / "users.acl").read_text() == before


def test_two_things_at_once_are_refused() -> None:
    done = CliRunner().invoke(cli, ["join", "--new", "pi7", "--serve"])
    assert isinstance(done.exception, SettingsError)
    assert "one of them at a time" in str(done.exception)

"""Which addresses a worker may fetch from."""

from __future__ import annotations

import ipaddress
import re
import socket

import pytest

from contract.errors import ImageError
from contract.reasons import Reason
from contract.settings import parse_networks
from pifleet.joining.enrolment import ENV
from tests.support.secured_redis import INFRA
from workers.fetch.addresses import ForbiddenAddress, check_host, is_allowed, socket_factory

REFUSED = [
    "127.0.0.1",
    "127.8.8.8",
    "0.0.0.0",
    "0.1.2.3",
    "169.254.169.254",
    "100.64.0.1",
    "100.127.255.254",
    "224.0.0.1",
    "239.1.2.3",
    "240.0.0.1",
    "255.255.255.255",
    "192.0.2.1",
    "198.18.0.1",
    "::",
    "::1",
    "fe80::1",
    "fec0::1",
    "ff02::1",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "::127.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b:1::7f00:1",
    "2002:7f00:1::",
    "2002:a9fe:a9fe::1",
    "2001::1",
    "2001:db8::1",
    "fd00:ec2::254",
    "100::1",
]
ALLOWED = [
    "8.8.8.8",
    "168.63.129.17",
    "2606:4700::1111",
    "::ffff:8.8.8.8",
    "64:ff9b::808:808",
]
PRIVATE = [
    "10.0.0.7",
    "172.16.0.1",
    "172.31.255.254",
    "192.168.1.10",
    "fd12:3456::1",
    "::ffff:192.168.1.10",
    "64:ff9b::c0a8:10a",
]
METADATA = [
    "169.254.169.254",
    "169.254.170.2",
    "168.63.129.16",
    "192.0.0.192",
    "100.100.100.200",
    "fd00:ec2::254",
    "fd20:ce::254",
    "::ffff:169.254.169.254",
    "::ffff:168.63.129.16",
    "::169.254.169.254",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::a83f:8110",
    "2002:a9fe:a9fe::1",
    "2002:c000:c0::",
]


@pytest.mark.parametrize("address", REFUSED)
def test_address_of_the_machine_or_of_special_purpose_is_refused(address: str) -> None:
    assert not is_allowed(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", ALLOWED)
def test_public_address_is_allowed(address: str) -> None:
    assert is_allowed(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", PRIVATE)
def test_private_address_is_the_operators_decision(address: str) -> None:
    assert not is_allowed(ipaddress.ip_address(address))
    for word in ("lan", "LAN", "100.64.0.0/10, lan"):
        assert is_allowed(ipaddress.ip_address(address), parse_networks("X", word))


@pytest.mark.parametrize(
    "text",
    [ENV, (INFRA / "pifleet.env.example").read_text(), (INFRA / "docker-compose.yml").read_text()],
    ids=["join", "example", "compose"],
)
def test_operator_sees_that_the_lan_is_allowed(text: str) -> None:
    assert re.search(r"PIFLEET_FETCH_ALLOW[=:].*\blan\b", text)


@pytest.mark.parametrize("address", METADATA)
def test_metadata_of_a_cloud_is_refused_whatever_is_allowed(address: str) -> None:
    all_there_is = parse_networks("X", "lan,0.0.0.0/0,::/0")
    assert not is_allowed(ipaddress.ip_address(address))
    assert not is_allowed(ipaddress.ip_address(address), all_there_is)


@pytest.mark.parametrize("address", ["127.0.0.1", "169.254.1.1", "100.64.0.1", "::1", "fe80::1"])
def test_lan_is_not_the_machine_itself_nor_its_link(address: str) -> None:
    assert not is_allowed(ipaddress.ip_address(address), parse_networks("X", "lan"))


def test_operator_allows_a_network_in_addition() -> None:
    extra = parse_networks("X", "127.0.0.0/8,fe80::/10")
    assert is_allowed(ipaddress.ip_address("127.0.0.1"), extra)
    assert is_allowed(ipaddress.ip_address("::ffff:127.0.0.1"), extra)
    assert is_allowed(ipaddress.ip_address("fe80::1"), extra)
    assert not is_allowed(ipaddress.ip_address("169.254.169.254"), extra)


@pytest.mark.parametrize(
    "host",
    ["2130706433", "0x7f000001", "0x7f.1", "127.1", "0177.0.0.1", "127.0.0.01", "1.2.3.4.5", "0x"],
)
def test_address_in_disguise_is_refused(host: str) -> None:
    with pytest.raises(ImageError, match="in disguise") as caught:
        check_host(host)
    assert caught.value.reason is Reason.FORBIDDEN_ADDRESS


@pytest.mark.parametrize("host", ["127.0.0.1", "example.org", "1.example.org", "::1", "0xdead.org"])
def test_plain_host_passes_to_the_connector(host: str) -> None:
    check_host(host)  # the connector judges the address; this only refuses disguises


def test_no_socket_is_opened_to_a_refused_address() -> None:
    opened = socket_factory(())
    with pytest.raises(ForbiddenAddress):
        opened((socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", 80)))
    with pytest.raises(ForbiddenAddress):
        opened((socket.AF_INET6, socket.SOCK_STREAM, 0, "", ("fe80::1%eth0", 80, 0, 2)))
    with opened((socket.AF_INET, socket.SOCK_STREAM, 0, "", ("8.8.8.8", 80))) as allowed:
        assert allowed.family == socket.AF_INET

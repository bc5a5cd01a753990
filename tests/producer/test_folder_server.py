"""The folder server gives the job's images to whoever knows its token, and nothing else."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import requests

from contract.errors import OutputError
from producer.job.spec import JobSpec
from producer.job.store import Ledger, NameIndex
from producer.sources.folder_server import Address, serve_folder
from producer.sources.source import open_source

LISTED = ("a.png", "sub/b c.png")
OTHERS = (".env", ".git/config", "notes.txt", "later.png", "sub/.hidden.png", "link.png", "..")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    for name in (*LISTED, ".env", ".git/config", "notes.txt", "sub/.hidden.png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode())
    (tmp_path / "secret.png").write_bytes(b"secret")
    return folder


@pytest.fixture
def address(folder: Path, tmp_path: Path) -> Iterator[Address]:
    with Ledger(tmp_path / "j.ledger") as ledger:
        spec = JobSpec("j", str(folder), "0" * 64, "m", None, 3, served=str(folder))
        ledger.seal(spec, open_source(str(folder)), model=b"m")
        (folder / "later.png").touch()
        (folder / "link.png").symlink_to(folder.parent / "secret.png")
        wanted = Address("127.0.0.1", 0, "token")
        with (
            closing(NameIndex(ledger.path)) as names,
            serve_folder(folder, wanted, is_listed=names.has) as address,
        ):
            yield address


def test_listed_images_are_served(folder: Path, address: Address) -> None:
    for image in open_source(str(folder)):
        if image.name in LISTED:
            answer = requests.get(address.url_of(image.url), timeout=5)
            assert answer.content == image.name.encode()


@pytest.mark.parametrize("name", [*OTHERS, "%2e%2e/secret.png", "sub/%2e%2e/.env", "sub"])
def test_nothing_else_is_served(address: Address, name: str) -> None:
    answer = requests.get(address.url_of(f"folder:{name}"), timeout=5)
    assert answer.status_code == 404


def test_listed_image_that_became_a_link_out_of_the_folder_is_not_served(
    folder: Path, address: Address
) -> None:
    (folder / "a.png").unlink()
    (folder / "a.png").symlink_to(folder.parent / "secret.png")
    assert requests.get(address.url_of("folder:a.png"), timeout=5).status_code == 404


def test_wrong_token_gives_nothing(address: Address) -> None:
    url = address.url_of("folder:a.png").replace("/token/", "/guess/")
    assert requests.get(url, timeout=5).status_code == 404


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this machine has no IPv6")
def test_name_with_ipv4_and_ipv6_is_served_at_one_port(folder: Path) -> None:
    wanted = Address("localhost", 0, "token")
    with serve_folder(folder, wanted, is_listed=lambda name: True) as address:
        for host in ("127.0.0.1", "[::1]", "localhost"):
            url = f"http://{host}:{address.port}/token/a.png"
            assert requests.get(url, timeout=5).content == b"a.png", host


def test_port_of_an_earlier_run_is_taken_again_where_it_is_free(folder: Path) -> None:
    wanted = Address("127.0.0.1", 0, "t")
    with (
        serve_folder(folder, wanted, is_listed=bool) as first,
        serve_folder(folder, first, is_listed=bool) as second,
    ):
        assert second.port != first.port
    with serve_folder(folder, first, is_listed=bool) as third:
        assert third.port == first.port


def test_address_of_another_machine_is_one_sentence(folder: Path) -> None:
    with (
        pytest.raises(OutputError, match="set PIFLEET_ADVERTISE_HOST"),
        serve_folder(folder, Address("192.0.2.1", 0, "t"), is_listed=bool),
    ):
        raise AssertionError("it listens")

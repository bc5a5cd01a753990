"""The origin that demo and benchmarks use serves what it should, and fails as it is told."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import requests

from contract.errors import ServiceError, UserError
from pifleet.local.origin import (
    FAULTS,
    OriginOptions,
    fault_of,
    index_item,
    index_page,
    running_origin,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "images"
    made.mkdir()
    (made / "a b.png").write_bytes(b"first")
    (made / "c.png").write_bytes(b"second")
    return made


def test_origin_lists_names_and_serves_each(folder: Path) -> None:
    with running_origin(folder) as index_url:
        assert requests.get(index_url, timeout=5).text == "a b.png\nc.png\n"
        item = index_item(index_url).replace("{name}", "a%20b.png")
        assert requests.get(item, timeout=5).content == b"first"
        assert requests.get(item.replace("a%20b", "../c"), timeout=5).status_code == 404


def test_origin_fails_every_request_when_asked_to(folder: Path) -> None:
    with running_origin(folder, OriginOptions(faults=1.0, seed=3)) as index_url:
        seen = set()
        for name in "abcdef":
            try:
                url = f"{index_url}&again={name}"
                response = requests.get(url, timeout=1)
                seen.add(str(response.status_code))
            except requests.exceptions.ChunkedEncodingError:
                seen.add("cut")
            except requests.exceptions.ReadTimeout:
                seen.add("slow")
    assert seen == {"503", "cut", "slow"}


def test_origin_that_cannot_listen_says_why(folder: Path) -> None:
    options = OriginOptions(host="192.0.2.1")  # TEST-NET-1: no machine has it
    with pytest.raises(ServiceError, match=r"did not start.*192\.0\.2\.1"):
        running_origin(folder, options).__enter__()


def test_origin_of_no_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such folder"):
        running_origin(tmp_path / "absent").__enter__()


def test_faults_come_as_often_as_asked_and_in_all_three_kinds() -> None:
    options = OriginOptions(faults=0.05, seed=1)
    faults = Counter(fault_of(f"/{number}", 1, options) for number in range(20_000))
    assert {fault for fault in faults if fault} == set(FAULTS)
    assert 900 < sum(faults[fault] for fault in FAULTS) < 1100


def test_fault_hangs_on_the_seed_and_the_attempt_only() -> None:
    options = OriginOptions(faults=0.5, seed=1)
    first = [fault_of("/a", attempt, options) for attempt in range(64)]
    assert first == [fault_of("/a", attempt, options) for attempt in range(64)]
    assert len(set(first)) == 4


def test_index_of_links_escapes_names() -> None:
    page = index_page(["a&b <c>.png"], links=True)
    assert "a&amp;b &lt;c&gt;.png" in page
    assert "myfilename=a%26b%20%3Cc%3E.png" in page

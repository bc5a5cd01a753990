"""The origin that other tests rely on does what it is asked to."""

from __future__ import annotations

import pytest
import requests

from tests.support.faulty_origin import Answer, FaultyOrigin


def test_origin_serves_what_was_added_and_nothing_else(origin: FaultyOrigin) -> None:
    url = origin.add("/a.png", b"pixels")
    assert requests.get(url, timeout=5).content == b"pixels"
    assert requests.get(origin.url("/b.png"), timeout=5).status_code == 404
    assert origin.hits("/a.png") == 1


def test_origin_fails_as_often_as_asked(origin: FaultyOrigin) -> None:
    url = origin.add("/a.png", answer=Answer(b"pixels", fail_first=2))
    statuses = [requests.get(url, timeout=5).status_code for _ in range(3)]
    assert statuses == [503, 503, 200]


@pytest.mark.parametrize(
    "answer",
    [Answer(b"pixels", cut_at=3), Answer(b"pixels", headers={"Content-Length": "9"}, cut_at=6)],
    ids=["cut", "too long a length"],
)
def test_origin_cuts_short(origin: FaultyOrigin, answer: Answer) -> None:
    url = origin.add("/a.png", answer=answer)
    with pytest.raises(requests.exceptions.ChunkedEncodingError, match="IncompleteRead"):
        requests.get(url, timeout=5)


def test_origin_keeps_a_client_waiting(origin: FaultyOrigin) -> None:
    url = origin.add("/a.png", answer=Answer(b"pixels", delay_s=60))
    with pytest.raises(requests.exceptions.ReadTimeout, match="timed out"):
        requests.get(url, timeout=0.1)

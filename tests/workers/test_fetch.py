"""Fetching from a real origin that misbehaves."""

from __future__ import annotations

import asyncio
import gc
import gzip
import random
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial

import pytest

from contract.errors import ImageError
from contract.reasons import Reason
from contract.settings import parse_networks
from tests.support.bad_origins import raw_origin
from tests.support.faulty_origin import Answer, FaultyOrigin
from workers.fetch.fetcher import FetchLimits, open_fetcher, parse_url

LOOPBACK = "127.0.0.0/8"
QUICK = FetchLimits(max_bytes=10_000, read_s=0.3, attempt_s=2.0, retry_until_s=5.0)
BODY = b"an image, as far as HTTP knows"


def fetch(url: str, *, allow: str = LOOPBACK, limits: FetchLimits = QUICK) -> bytes:
    """Fetch once, with a session of its own."""

    async def run() -> bytes:
        async with open_fetcher(parse_networks("X", allow), limits, random.Random(0)) as fetcher:
            return await fetcher.fetch(url)

    return asyncio.run(run())


def reason_of(url: str, *, allow: str = LOOPBACK, limits: FetchLimits = QUICK) -> Reason:
    """Fetch what cannot be fetched, and give the reason."""
    with pytest.raises(ImageError) as caught:
        fetch(url, allow=allow, limits=limits)
    return caught.value.reason


def test_body_is_fetched_under_an_honest_name(origin: FaultyOrigin) -> None:
    url = origin.add("/a.png", BODY)
    assert fetch(url) == BODY
    headers = origin.requests[0].headers
    assert headers["User-Agent"].startswith("pifleet/")
    assert headers["Accept-Encoding"] == "identity"


@pytest.mark.parametrize("status", [500, 502, 503, 429, 408, 425, 0], ids=lambda s: f"status-{s}")
def test_fault_that_passes_is_tried_again(origin: FaultyOrigin, status: int) -> None:
    url = origin.add("/a.png", answer=Answer(BODY, fail_first=2, fail_status=status))
    assert fetch(url) == BODY
    assert origin.hits("/a.png") >= 3


def test_fault_that_stays_is_given_up_after_the_attempts(origin: FaultyOrigin) -> None:
    url = origin.add("/a.png", answer=Answer(status=503))
    assert reason_of(url) is Reason.HTTP_BUSY
    assert origin.hits("/a.png") == QUICK.attempts


def test_an_image_leaves_nothing_to_the_garbage_collector(origin: FaultyOrigin) -> None:
    """A task, its context and its attempt once held each other: a twentieth of an image's time."""
    url = origin.add("/a.png", BODY)

    async def left_by(images: int) -> int:
        allowed = parse_networks("X", LOOPBACK)
        async with open_fetcher(allowed, QUICK, random.Random(0)) as fetcher:
            await fetcher.fetch(url)
            gc.collect()
            async with asyncio.TaskGroup() as group:  # as a chunk's images are fetched
                for _ in range(images):
                    group.create_task(fetcher.fetch(url))
            return gc.collect()

    gc.disable()
    try:
        assert asyncio.run(left_by(100)) < 100
    finally:
        gc.enable()


def test_retry_after_is_honoured(origin: FaultyOrigin) -> None:
    answer = Answer(BODY, headers={"Retry-After": "1"}, fail_first=1)
    url = origin.add("/a.png", answer=answer)
    started = time.monotonic()
    assert fetch(url) == BODY
    assert time.monotonic() - started >= 1.0


def test_no_attempt_starts_after_the_time_for_retries(origin: FaultyOrigin) -> None:
    answer = Answer(BODY, headers={"Retry-After": "60"}, fail_first=1)
    url = origin.add("/a.png", answer=answer)
    assert reason_of(url) is Reason.HTTP_BUSY
    assert origin.hits("/a.png") == 1


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 204, 206])
def test_other_status_is_final(origin: FaultyOrigin, status: int) -> None:
    url = origin.add("/a.png", answer=Answer(b"", status=status))
    assert reason_of(url) is Reason.HTTP_STATUS
    assert origin.hits("/a.png") == 1


def test_body_that_is_cut_short_is_tried_again(origin: FaultyOrigin) -> None:
    url = origin.add("/a.png", answer=Answer(BODY, cut_at=7))
    assert reason_of(url) is Reason.CUT_SHORT
    assert origin.hits("/a.png") == QUICK.attempts


def test_announced_length_beyond_the_body_is_cut_short(origin: FaultyOrigin) -> None:
    length = {"Content-Length": str(len(BODY) + 5)}
    url = origin.add("/a.png", answer=Answer(BODY, headers=length, cut_at=len(BODY)))
    assert reason_of(url) is Reason.CUT_SHORT


def test_slow_origin_times_out(origin: FaultyOrigin) -> None:
    url = origin.add("/a.png", answer=Answer(BODY, delay_s=30.0))
    limits = FetchLimits(read_s=0.1, attempts=2)
    assert reason_of(url, limits=limits) is Reason.TIMEOUT
    assert origin.hits("/a.png") == 2


@pytest.mark.parametrize("headers", [{}, {"Content-Length": str(len(BODY))}], ids=str)
def test_body_that_comes_in_drops_is_waited_for(headers: dict[str, str]) -> None:
    """What counts is the time between two pieces, and not that of all of them."""
    with raw_origin(partial(_drop, headers)) as url:
        assert fetch(url) == BODY


def test_body_whose_drops_never_end_is_given_up_in_the_end() -> None:
    limits = replace(QUICK, attempts=1, attempt_s=2 * QUICK.read_s)
    with raw_origin(partial(_drop, {})) as url, pytest.raises(ImageError) as caught:
        fetch(url, limits=limits)
    assert (caught.value.reason, caught.value.detail) == (Reason.TIMEOUT, "not done within 0.6 s")


def _drop(headers: dict[str, str], client: socket.socket) -> None:
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    client.sendall(f"HTTP/1.1 200 OK\r\nConnection: close\r\n{lines}\r\n".encode())
    for start in range(0, len(BODY), 5):
        time.sleep(QUICK.read_s / 2)
        client.sendall(BODY[start : start + 5])


def test_answer_that_came_while_this_process_was_busy_is_not_late(origin: FaultyOrigin) -> None:
    url = origin.add("/a.png", answer=Answer(BODY, delay_s=QUICK.read_s / 3))

    async def run() -> bytes:
        networks = parse_networks("X", LOOPBACK)
        async with open_fetcher(networks, QUICK, random.Random(0)) as fetcher:
            fetching = asyncio.create_task(fetcher.fetch(url))
            while not origin.requests:
                await asyncio.sleep(0.01)
            time.sleep(2 * QUICK.read_s)  # as a large image would keep it
            return await fetching

    assert asyncio.run(run()) == BODY
    assert origin.hits("/a.png") == 1


def test_announced_length_over_the_cap_is_refused_unread(origin: FaultyOrigin) -> None:
    url = origin.add("/a.png", b"x" * (QUICK.max_bytes + 1))
    assert reason_of(url) is Reason.TOO_LARGE
    assert origin.hits("/a.png") == 1


def test_endless_body_is_cut_off_at_the_cap(endless_origin: str) -> None:
    assert reason_of(endless_origin) is Reason.TOO_LARGE


def test_compressed_bomb_is_cut_off_at_the_cap(origin: FaultyOrigin) -> None:
    bomb = gzip.compress(b"\0" * (100 * QUICK.max_bytes))
    assert len(bomb) < QUICK.max_bytes
    url = origin.add("/a.png", answer=Answer(bomb, headers={"Content-Encoding": "gzip"}))
    assert reason_of(url) is Reason.TOO_LARGE


def test_body_compressed_against_our_wish_is_unpacked(origin: FaultyOrigin) -> None:
    answer = Answer(gzip.compress(BODY), headers={"Content-Encoding": "gzip"})
    assert fetch(origin.add("/a.png", answer=answer)) == BODY


def test_redirect_is_followed(origin: FaultyOrigin) -> None:
    origin.add("/b.png", BODY)
    url = origin.add("/a.png", answer=Answer(status=302, headers={"Location": "/b.png"}))
    assert fetch(url) == BODY


def test_redirect_loop_ends(origin: FaultyOrigin) -> None:
    url = origin.add("/a.png", answer=Answer(status=302, headers={"Location": "/a.png"}))
    assert reason_of(url) is Reason.REDIRECTS
    assert origin.hits("/a.png") == QUICK.redirects + 1


def test_redirect_without_target_is_refused(origin: FaultyOrigin) -> None:
    assert reason_of(origin.add("/a.png", answer=Answer(status=302))) is Reason.REDIRECTS


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("http://169.254.169.254/latest/meta-data", Reason.FORBIDDEN_ADDRESS),
        ("http://[::1]:80/", Reason.FORBIDDEN_ADDRESS),
        ("http://0x7f000001/", Reason.FORBIDDEN_ADDRESS),
        ("file:///etc/passwd", Reason.BAD_URL),
        ("http://[broken/", Reason.BAD_URL),
    ],
)
def test_redirect_passes_the_policy_anew(origin: FaultyOrigin, target: str, reason: Reason) -> None:
    url = origin.add("/a.png", answer=Answer(status=302, headers={"Location": target}))
    assert reason_of(url) is reason


def test_loopback_is_refused_before_anything_is_sent(origin: FaultyOrigin) -> None:
    url = origin.add("/a.png", BODY)
    with pytest.raises(ImageError, match="PIFLEET_FETCH_ALLOW") as caught:
        fetch(url, allow="")
    assert caught.value.reason is Reason.FORBIDDEN_ADDRESS
    assert origin.requests == []


def test_name_that_resolves_to_loopback_is_refused(origin: FaultyOrigin) -> None:
    url = origin.add("/a.png", BODY).replace("127.0.0.1", "localhost")
    assert reason_of(url, allow="") is Reason.FORBIDDEN_ADDRESS
    assert origin.requests == []


def test_name_that_resolves_to_an_allowed_address_is_fetched(origin: FaultyOrigin) -> None:
    url = origin.add("/a.png", BODY).replace("127.0.0.1", "localhost")
    assert fetch(url) == BODY


def test_proxy_of_the_environment_is_ignored(
    origin: FaultyOrigin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    assert fetch(origin.add("/a.png", BODY)) == BODY


def test_refused_connection_is_tried_again_and_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    limits = FetchLimits(attempts=2)
    assert reason_of(f"http://127.0.0.1:{port}/", limits=limits) is Reason.CONNECT


def test_unknown_name_is_dns() -> None:
    assert reason_of("http://no-such-host.invalid/", limits=FetchLimits(attempts=1)) is Reason.DNS


@pytest.mark.parametrize(
    "url",
    [
        "",
        "a.png",
        "/a.png",
        "ftp://host/a",
        "http://",
        "http:///a",
        "http://h:x/",
        "http://h:99999/",
    ],
)
def test_url_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ImageError) as caught:
        parse_url(url)
    assert caught.value.reason is Reason.BAD_URL


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("http://h/a%2Fb%41.png?sig=x%2B/y%3D", "/a%2Fb%41.png?sig=x%2B/y%3D"),
        ("http://h/a b.png", "/a%20b.png"),
        ("http://h/ä.png", "/%C3%A4.png"),
        ("http://h/a.png#part", "/a.png"),
    ],
    ids=["encoded stays", "space", "umlaut", "fragment"],
)
def test_url_is_sent_as_given_where_it_can_be(url: str, path: str) -> None:
    assert parse_url(url).raw_path_qs == path


@pytest.fixture
def endless_origin() -> Iterator[str]:
    """Name the URL of a body that never ends and never says how long it is."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=_pour, args=(server,))
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}/"
        thread.join(timeout=10)
        assert not thread.is_alive(), "the fetcher must hang up"


def _pour(server: socket.socket) -> None:
    client, _ = server.accept()
    with client, suppress(OSError):
        client.recv(65536)
        client.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
        while True:
            client.sendall(b"\0" * 65536)

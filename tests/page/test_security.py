"""Who may talk to the page, and what becomes of what others put into it."""

from __future__ import annotations

import http.client
import json
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from contract.errors import UserError
from contract.settings import Settings
from pifleet.page.desk import Desk, plain_name
from pifleet.page.security import MOST_FAILURES, Gate
from tests.support.page import JOB, NO_REDIS, TOKEN, Page, make_job, page_server
from tests.support.stripes import png

EVIL = "<img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    folder = tmp_path_factory.mktemp("page")
    (folder / "images").mkdir()
    (folder / "images" / "a.png").write_bytes(png("A1"))
    (folder / "secret.png").write_bytes(png("B2"))
    make_job(folder, {"a.png": (EVIL, 0.5)})
    with page_server(folder) as served:
        yield served


@pytest.fixture
def browser(page: Page) -> requests.Session:
    """Log in as a browser does; sends what one sends."""
    session = requests.Session()
    session.get(page.entrance, timeout=20).raise_for_status()
    html = session.get(f"{page.base}/jobs", timeout=20).text
    token = re.search(r'name="csrf-token" content="(\w+)"', html)
    assert token is not None
    session.headers.update({"Origin": page.base, "X-CSRF-Token": token[1]})
    return session


def change(page: Page, browser: requests.Session, **headers: str | None) -> int:
    """Change something that harms nobody; a header of None is left out."""
    options: Any = {"headers": headers, "timeout": 20}
    return browser.delete(f"{page.base}/api/problems", **options).status_code


def raw(page: Page, head: str, body: bytes = b"") -> tuple[int, bytes]:
    """Send a request as it stands, and read the status and the rest."""
    host, port = page.base.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as sock:
        sock.sendall(head.replace("\n", "\r\n").encode() + b"\r\n\r\n" + body)
        answer = http.client.HTTPResponse(sock)
        answer.begin()
        return answer.status, answer.read()


def test_the_token_is_traded_for_a_cookie_that_scripts_and_others_cannot_have(page: Page) -> None:
    answer = requests.get(page.entrance, timeout=20)

    cookie = answer.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert TOKEN not in cookie
    assert answer.headers["Referrer-Policy"] == "same-origin"
    assert TOKEN not in answer.text


def test_nothing_is_given_without_a_token_or_a_cookie(page: Page) -> None:
    paths = ["/", "/jobs", "/api/state", "/api/events", f"/api/jobs/{JOB}/submission.csv"]
    for path in [*paths, "/api/openapi.json", f"/api/jobs/{JOB}/images/0"]:
        assert requests.get(page.base + path, timeout=20).status_code == 401, path
    assert requests.get(page.base + "/static/page.css", timeout=20).status_code == 200
    wrong = {"Cookie": f"pifleet-{page.base.rpartition(':')[2]}=guess"}
    assert requests.get(page.base + "/jobs", headers=wrong, timeout=20).status_code == 401


@pytest.mark.parametrize(
    ("host", "status"),
    [
        *(("evil.example", 421), ("127.0.0.1.evil.example", 421), ("192.168.7.7", 421)),
        *(("", 421), ("[::1]", 401), ("localhost:8000", 401), ("127.0.0.1", 401)),
        *(("localhost.evil", 421), ("a b", 421), ("[", 421), ("127.1", 421)),
    ],
)
def test_another_host_than_ours_is_refused(page: Page, host: str, status: int) -> None:
    assert raw(page, f"GET /api/state HTTP/1.1\nHost: {host}")[0] in (status, 400)


def test_a_name_that_resolves_to_us_is_refused_even_with_the_token(page: Page) -> None:
    head = f"GET /api/state HTTP/1.1\nHost: evil.example\nAuthorization: Bearer {TOKEN}"
    assert raw(page, head)[0] == 421


def test_a_network_is_let_in_by_address_and_by_the_names_that_were_given() -> None:
    gate = Gate(TOKEN, 80, is_local=False, names=frozenset({"localhost", "pi.lan"}))

    assert all(gate.knows_host(host) for host in ("192.168.1.5:80", "pi.lan", "PI.lan:80"))
    assert not any(gate.knows_host(host) for host in ("evil.example", None, "", "pi.lan.evil"))


def test_a_change_comes_from_the_page_itself(page: Page, browser: requests.Session) -> None:
    assert change(page, browser) == 200
    assert change(page, browser, Origin="http://evil.example") == 403
    assert change(page, browser, Origin="http://localhost:1") == 403
    assert change(page, browser, Origin="null") == 403
    assert change(page, browser, Origin=None) == 403
    assert change(page, browser, **{"X-CSRF-Token": "guess"}) == 403
    assert change(page, browser, **{"X-CSRF-Token": None}) == 403
    assert change(page, browser, **{"Sec-Fetch-Site": "same-site"}) == 403


def test_another_page_reads_nothing_even_of_the_same_machine(
    page: Page, browser: requests.Session
) -> None:
    for site in ("cross-site", "same-site"):
        headers = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": "no-cors"}
        answer = browser.get(f"{page.base}/api/state", headers=headers, timeout=20)
        assert answer.status_code == 403
        headers["Sec-Fetch-Mode"] = "navigate"  # a link that a person follows
        assert browser.get(f"{page.base}/jobs", headers=headers, timeout=20).status_code == 200


def test_every_answer_says_what_a_browser_may_do(page: Page, browser: requests.Session) -> None:
    for path in ("/", "/nothing", "/static/page.js", f"/api/jobs/{JOB}/images/0", "/api/nothing"):
        headers = browser.get(page.base + path, timeout=20).headers
        policy = headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert "frame-ancestors 'none'" in policy


def test_no_page_has_script_or_style_in_it() -> None:
    import pifleet.page

    folder = Path(str(pifleet.page.__file__)).parent
    for path in (folder / "templates").iterdir():
        html = path.read_text()
        assert not re.search(r"<style|style=|\son\w+=|<script(?![^>]*\ssrc=)", html), path
    for path in (folder / "static").glob("*.js"):
        code = path.read_text()
        assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(", code)


def test_who_guesses_tokens_has_to_wait_and_locks_nobody_else_out(tmp_path: Path) -> None:
    with page_server(tmp_path) as page:
        guess = {"Authorization": "Bearer guess"}
        answers = [
            requests.get(f"{page.base}/api/state", headers=guess, timeout=20)
            for _ in range(MOST_FAILURES + 1)
        ]
        assert [one.status_code for one in answers[:-1]] == [401] * MOST_FAILURES
        assert answers[-1].status_code == 429
        assert int(answers[-1].headers["Retry-After"]) > 0
        assert requests.get(page.entrance, timeout=20).status_code == 429  # of that address


def test_guesses_are_forgotten_after_a_minute_and_count_for_their_address_alone() -> None:
    now = [0.0]
    gate = Gate(TOKEN, 80, is_local=True, clock=lambda: now[0])
    for _ in range(MOST_FAILURES):
        gate.takes("guess", "10.0.0.1")

    assert gate.is_limited("10.0.0.1")
    assert not gate.is_limited("10.0.0.2")
    now[0] = 61.0
    assert not gate.is_limited("10.0.0.1")


def test_a_session_ends(page: Page, browser: requests.Session) -> None:
    assert browser.post(f"{page.base}/logout", timeout=20).status_code == 200
    browser.cookies.clear()
    assert browser.get(f"{page.base}/jobs", timeout=20).status_code == 401


def test_what_is_too_large_is_refused_before_it_is_read(page: Page) -> None:
    head = "POST /api/read HTTP/1.1\nHost: localhost\nContent-Type: multipart/form-data; boundary=x"
    head += f"\nAuthorization: Bearer {TOKEN}"
    status, body = raw(page, f"{head}\nContent-Length: {10**12}")
    assert status == 413
    assert b"48 MB at most" in body
    assert raw(page, f"{head}\nTransfer-Encoding: chunked", b"0\r\n\r\n")[0] == 411


@pytest.mark.parametrize(
    ("files", "status", "said"),
    [
        ([("images", (f"{i}.png", b"x")) for i in range(33)], 400, "1 to 32 at once"),
        ([], 400, "0 images came along"),
    ],
    ids=["too many", "none"],
)
def test_forms_are_counted(page: Page, files: Any, status: int, said: str) -> None:
    answer = page.post("/api/read", files=files or {"model": (None, "captcha")})
    assert answer.status_code == status
    assert said in answer.json()["error"]


@pytest.mark.parametrize("name", ["a\0.png", "a\nb.png", "\x1b[31m.png"])
def test_a_form_with_an_odd_header_is_one_sentence(page: Page, name: str) -> None:
    body = f'--x\r\nContent-Disposition: form-data; name="images"; filename="{name}"\r\n\r\nx'
    form = {"Content-Type": "multipart/form-data; boundary=x"}
    answer = page.post("/api/read", data=f"{body}\r\n--x--\r\n", headers=form)
    assert answer.status_code in (200, 400)
    found = answer.json()
    assert found[0]["problem"] if answer.ok else found["error"].startswith("the form is damaged")


def test_one_image_that_is_too_large_does_not_take_the_others_along(page: Page) -> None:
    big = ("images", ("big.png", bytes(8 * 2**20 + 1)))
    found = page.post("/api/read", files=[big, ("images", ("a.png", png("A1")))]).json()

    assert found[0]["reason"] == "too_large"
    assert found[1]["text"] == "A1"


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b'{"words": 3}', b'{"words":[{"index":"0"}]}', b"\xff", b"{" * 10_000],
)
def test_odd_bodies_are_one_sentence(page: Page, body: bytes) -> None:
    answer = page.post(f"/api/jobs/{JOB}/corrections", data=body)
    assert answer.status_code in (400, 411)
    assert answer.json()["error"]


@pytest.mark.parametrize(
    "path",
    [
        "/static/../security.py",
        "/static/%2e%2e/security.py",
        f"/api/jobs/{JOB}/../../etc/passwd",
        f"/api/jobs/{JOB}/secret.csv",
        f"/api/jobs/{JOB}/images/1",
        "/api/jobs/ffffffff/submission.csv",
        "/api/jobs/..%2f..%2f/submission.csv",
        f"/api/jobs/{JOB}/review?order=DROP&most=x",
    ],
)
def test_no_file_outside_the_job_is_given(page: Page, path: str) -> None:
    request = requests.Request("GET", page.base, headers=dict(page.program.headers)).prepare()
    request.url = page.base + path  # as it stands
    answer = page.program.send(request, timeout=20)
    assert answer.status_code in (400, 403, 404)


def test_no_image_outside_the_folder_of_a_job_is_read(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "secret.png").write_bytes(png("B2"))
    (tmp_path / "images" / "link.png").symlink_to(tmp_path / "secret.png")
    make_job(tmp_path, {"../secret.png": ("A", 0.5), "link.png": ("A", 0.5)})
    with page_server(tmp_path) as page:
        for index in (0, 1):
            answer = page.get(f"/api/jobs/{JOB}/images/{index}")
            assert answer.status_code == 404
            assert "outside" in answer.json()["error"]


def test_images_come_under_the_rules_of_a_worker(tmp_path: Path) -> None:
    urls = {"a.png": "http://169.254.169.254/latest/meta-data", "b.png": "http://2130706433/"}
    make_job(tmp_path, {name: ("A", 0.5) for name in urls}, urls=urls)
    with page_server(tmp_path) as page:
        for index in (0, 1):
            answer = page.get(f"/api/jobs/{JOB}/images/{index}")
            assert answer.status_code == 404
            assert "forbidden_address" in answer.json()["error"]


@pytest.mark.parametrize("name", ["..", "../x", "/etc", "", " ", ".hidden", "nowhere", "a\0b", "~"])
def test_a_folder_is_one_of_the_pages_own(tmp_path: Path, name: str) -> None:
    root = tmp_path / "root"
    (root / ".hidden").mkdir(parents=True)
    (tmp_path / "x").mkdir()
    desk = Desk(Settings.from_env({"PIFLEET_REDIS_URL": NO_REDIS}), root)
    with pytest.raises(UserError, match="the page reads no other"):
        desk.find_folder(name)
    desk.close()


@pytest.mark.parametrize(
    ("name", "kept"),
    [("../../etc/passwd", "passwd.txt"), (EVIL, "img-src-x-onerror-alert-1.txt"), ("-o", "o.txt")],
)
def test_a_list_keeps_no_more_of_its_name_than_is_plain(
    tmp_path: Path, name: str, kept: str
) -> None:
    desk = Desk(Settings.from_env({"PIFLEET_REDIS_URL": NO_REDIS}), tmp_path)
    path = desk.keep_list(name, b"http://example.com/a.png\n")
    again = desk.keep_list(name, b"http://example.com/b.png\n")
    desk.close()

    assert path == tmp_path / kept
    assert again.name == kept.replace(".txt", "-2.txt")
    assert path.read_bytes() == b"http://example.com/a.png\n"
    assert plain_name("...") == ""


def test_texts_and_names_are_data_in_json_and_in_pages(page: Page) -> None:
    screen = page.get(f"/api/jobs/{JOB}/review")
    assert screen.headers["Content-Type"].startswith("application/json")
    assert screen.json()["images"][0]["read"] == EVIL
    for path in (f"/{EVIL}", f"/api/jobs/{EVIL}"):
        answer = page.get(path, headers={"Accept": "text/html"})
        assert answer.status_code == 404
        assert "<img src=x" not in answer.text


def test_a_pattern_and_a_lexicon_keep_the_reading_to_what_they_allow(page: Page) -> None:
    image = ("images", ("a.png", png("A1")))
    words = ("lexicon", ("words.txt", b"B1\nA7\n"))
    read = page.post("/api/read", files=[image, words]).json()
    assert read[0]["text"] in ("B1", "A7")
    assert {one["text"] for one in read[0]["alternatives"]} <= {"B1", "A7"}
    read = page.post("/api/read", files=[image], data={"pattern": "[0-9]{2}"}).json()
    assert read[0]["text"].isdigit()
    refused = page.post("/api/read", files=[image], data={"pattern": "[0-9"})
    assert refused.status_code == 400


def test_a_model_is_named_and_never_a_path(page: Page) -> None:
    for model in ("/etc/passwd", "../models/captcha.tflite", EVIL):
        answer = page.post(
            "/api/read", files=[("images", ("a.png", png("A")))], data={"model": model}
        )
        assert answer.status_code == 400
        assert "choose one of" in answer.json()["error"]


def test_the_interface_is_described(page: Page) -> None:
    described = page.get("/api/openapi.json").json()

    assert described["openapi"].startswith("3.1")
    from pifleet.page.openapi import ENDPOINTS

    for endpoint in ENDPOINTS:
        operation = described["paths"][endpoint.plain_path][endpoint.method.lower()]
        assert len(operation["summary"]) > 10
    known = described["components"]["schemas"]
    used = set(re.findall(r"#/components/schemas/(\w+)", json.dumps(described)))
    assert used <= set(known)


def test_answers_are_as_they_are_described(page: Page) -> None:
    from jsonschema import Draft202012Validator

    described = page.get("/api/openapi.json").json()
    asked = {
        "/api/choices": {},
        "/api/state": {},
        "/api/links": {},
        "/api/fleet/history": {},
        "/api/jobs/{job}/review": {"job": JOB},
    }
    for path, parts in asked.items():
        content = described["paths"][path]["get"]["responses"]["200"]["content"]
        schema = content["application/json"]["schema"] | {"components": described["components"]}
        Draft202012Validator(schema).validate(page.get(path.format(**parts)).json())

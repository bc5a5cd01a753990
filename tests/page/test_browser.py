"""The page in Debian's chromium: by keyboard, on a phone, in the dark, and by axe's rules."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Browser, Page, ViewportSize, expect, sync_playwright

from producer.submission import corrected_path
from tests.conftest import StartWorker, wait_until
from tests.support.faulty_origin import FaultyOrigin
from tests.support.page import JOB, make_job, page_server
from tests.support.page import Page as Served
from tests.support.stripes import png, some_text

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
EVIL = "<img src=x onerror=alert(1)>"
PHONE = ViewportSize(width=390, height=844)
WIDE = ViewportSize(width=1440, height=900)
PAGES = ("/", "/jobs", "/fleet", "/review", f"/review/{JOB}", "/learn", f"/learn/{JOB}")

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium is installed: apt install chromium"),
    pytest.mark.timeout(120),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield launched
        launched.close()


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    """Serve a page with a job of sixty images, ten of which were read wrong."""
    (tmp_path / "images").mkdir()
    readings = {}
    for number in range(60):
        text = some_text(number)
        (tmp_path / "images" / f"{number:02}.png").write_bytes(png(text))
        readings[f"{number:02}.png"] = ("zz" if number % 6 == 0 else text, 0.3 + number / 100)
    make_job(tmp_path, readings, failed={f"{EVIL}.png": "http_status"})
    with page_server(tmp_path) as page:
        yield page


@pytest.fixture
def page(browser: Browser, served: Served) -> Iterator[Page]:
    """Open the page, logged in; a script that fails, or one that is refused, fails the test."""
    with opened(browser, served) as shown:
        yield shown


class opened:  # noqa: N801, RUF100  # reads as a verb where it is used
    """A tab of a browser, logged in."""

    def __init__(
        self,
        browser: Browser,
        served: Served,
        *,
        viewport: ViewportSize = WIDE,
        scheme: Literal["light", "dark"] = "light",
    ) -> None:
        self._context = browser.new_context(viewport=viewport, color_scheme=scheme)
        self._served = served
        self._wrong: list[str] = []

    def __enter__(self) -> Page:
        page = self._context.new_page()
        page.on("pageerror", lambda error: self._wrong.append(str(error)))
        page.on("console", lambda m: self._wrong.append(m.text) if m.type == "error" else None)
        page.on("dialog", lambda dialog: self._wrong.append(f"alert {dialog.message}"))
        page.goto(self._served.entrance)
        page.wait_for_url(f"{self._served.base}/")
        return page

    def __exit__(self, *error: object) -> None:
        self._context.close()
        assert [one for one in self._wrong if "Failed to load resource" not in one] == []


def visit(page: Page, path: str) -> None:
    base = re.match(r"http://[^/]+", page.url)
    assert base is not None
    page.goto(base[0] + path)


def test_images_are_tried_and_a_bad_one_says_what_to_do(page: Page, tmp_path: Path) -> None:
    (tmp_path / "good.png").write_bytes(png("A1#"))
    (tmp_path / f"{EVIL}.png".replace("/", "")).write_bytes(b"<html>no image</html>")
    (tmp_path / "large.png").write_bytes(bytes(8 * 2**20 + 1))
    expect(page.locator("#model option")).not_to_have_count(0)

    files = [path for path in tmp_path.iterdir() if path.suffix == ".png"]
    page.set_input_files("#files", files)

    cards = page.locator("#results article")
    expect(cards).to_have_count(3)
    good = cards.filter(has_text="good.png")
    expect(good.locator(".symbol b")).to_have_text(["A", "1", "#"])
    expect(good.get_by_alt_text("as the network saw it")).to_be_visible()
    expect(cards.filter(has_text=EVIL)).to_contain_text("this is no image: give a PNG")
    expect(cards.filter(has_text="large.png")).to_contain_text("larger than 8 MB: scale it down")

    page.fill("#symbols", "AB~")
    page.set_input_files("#files", tmp_path / "good.png")
    expect(cards.first).to_contain_text("['~']")
    page.fill("#symbols", "AB#")
    page.set_input_files("#files", tmp_path / "good.png")
    expect(cards.first.locator(".symbol b").first).to_have_text("A")


def test_fifty_images_are_put_right_by_keyboard_and_the_submission_has_them(
    page: Page, served: Served
) -> None:
    visit(page, f"/review/{JOB}")
    expect(page.locator(".look img")).to_have_count(12)
    expect(page.get_by_label("Text of 00.png")).to_be_focused()
    for number in range(50):
        field = page.get_by_label(f"Text of {number:02}.png")
        expect(field).to_be_focused()
        if number % 6 == 0:
            page.keyboard.type(some_text(number))  # over what was read, which is selected
        page.keyboard.press("Enter")
    expect(page.locator("#figures")).to_contain_text("50of 60 that were read")
    expect(page.locator("#figures")).to_contain_text("9the model promised")

    page.keyboard.press("Control+z")
    expect(page.get_by_label("Text of 49.png")).to_be_focused()
    expect(page.locator("#figures")).to_contain_text("49of 60")
    page.keyboard.type("O")
    page.keyboard.press("Enter")
    expect(page.get_by_text("O is not among the model")).to_be_visible()
    page.keyboard.press("Escape")
    page.keyboard.press("Enter")
    expect(page.locator("#figures")).to_contain_text("50of 60")

    with page.expect_download() as download:
        page.get_by_role("button", name="Write corrected CSV").click()
    rows = corrected_path(served.folder / f"{JOB}.csv").read_text().splitlines()
    assert Path(download.value.path()).read_text().splitlines() == rows
    expected = {f"{n:02}.png": some_text(n) for n in range(50)}
    assert dict(row.split(",", 1) for row in rows if row[:2] < "50" and row[0] != "<") == expected


def test_a_screen_is_right_at_once_and_is_taken_back(page: Page) -> None:
    visit(page, f"/review/{JOB}")
    expect(page.get_by_label("Text of 00.png")).to_be_focused()
    page.keyboard.press("ArrowDown")
    expect(page.get_by_label("Text of 01.png")).to_be_focused()
    page.keyboard.press("Shift+Enter")
    expect(page.get_by_label("Text of 12.png")).to_be_focused()
    expect(page.locator("#figures")).to_contain_text("12of 60")
    page.keyboard.press("Control+z")
    expect(page.get_by_label("Text of 00.png")).to_be_focused()
    expect(page.locator("#figures")).to_contain_text("0of 60")
    page.keyboard.press("PageDown")
    expect(page.get_by_label("Text of 12.png")).to_be_focused()
    page.keyboard.press("PageUp")
    expect(page.get_by_label("Text of 00.png")).to_be_focused()
    page.get_by_label("Which images").select_option("random")
    expect(page.locator(".look")).to_have_count(12)
    page.get_by_role("button", name="The rest is right").click()
    expect(page.locator("#figures")).to_contain_text("12of 60")


def test_what_was_looked_at_becomes_a_labelled_set(page: Page, served: Served) -> None:
    visit(page, f"/learn/{JOB}")
    expect(page.get_by_role("button", name="Make the labelled set")).to_be_disabled()
    words = [{"index": n, "text": some_text(n)} for n in range(10)]
    served.post(f"/api/jobs/{JOB}/corrections", json={"words": words})
    page.reload()

    page.get_by_role("button", name="Make the labelled set").click()

    expect(page.locator("#made")).to_contain_text("10 images in")
    expect(page.locator("#commands")).to_contain_text("pifleet train captcha --data")
    labels = (served.folder / f"{JOB}.labelled" / "labels.tsv").read_text()
    assert labels == "".join(f"{n:06}.png\t{some_text(n)}\n" for n in range(10))


@pytest.mark.redis
def test_a_job_is_begun_and_watched_to_its_end(
    browser: Browser,
    start_worker: StartWorker,
    origin: FaultyOrigin,
    redis_url: str,
    tmp_path: Path,
) -> None:
    start_worker(concurrency=1)
    urls = [origin.add(f"/{n}.png", png(some_text(n))) for n in range(40)]
    (tmp_path / "my list.txt").write_text("\n".join([*urls, origin.url("/gone.png")]))
    with page_server(tmp_path, redis_url) as served, opened(browser, served) as page:
        visit(page, "/jobs")
        expect(page.locator("#model option")).not_to_have_count(0)
        expect(page.get_by_text("No jobs on this machine yet")).to_be_visible()
        page.fill("#folder", "../elsewhere")
        page.get_by_role("button", name="Start").click()
        expect(page.locator(".notice")).to_contain_text("the page reads no other")
        page.set_input_files("#list", tmp_path / "my list.txt")
        page.get_by_role("button", name="Start").click()

        job = page.locator(".job")
        expect(job).to_contain_text("my-list-submission.csv", timeout=30_000)
        expect(job).to_contain_text("done", timeout=30_000)
        expect(job).to_contain_text("41 of 41 images")
        expect(job).to_contain_text("1 failed:http_status 1")
        with page.expect_download() as download:
            job.get_by_role("link", name="CSV").click()
        assert Path(download.value.path()).read_text().count("\n") == 41
        wait_until(lambda: served.get("/api/state").json()["workers"], what="the fleet")
        visit(page, "/fleet")
        expect(page.locator(".worker")).to_contain_text("pi1")
        expect(page.locator(".worker")).to_contain_text("41 read, 1 failed")


def test_no_page_breaks_a_rule_of_axe_or_runs_over(browser: Browser, served: Served) -> None:
    from axe_playwright_python.sync_playwright import Axe

    axe = Axe()
    looks: tuple[tuple[Literal["light", "dark"], ViewportSize], ...]
    looks = (("light", WIDE), ("dark", PHONE))
    for scheme, viewport in looks:
        with opened(browser, served, viewport=viewport, scheme=scheme) as page:
            for path in PAGES:
                visit(page, path)
                page.wait_for_load_state("load")
                page.locator(
                    "#figures > div, .job, .choice, #model option, #empty:visible"
                ).first.wait_for(state="attached")
                found = axe.run(page)
                assert found.violations_count == 0, f"{path}: {found.generate_report()}"
                assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0, path


def test_the_door_is_for_everybody_and_shows_what_was_wrong(
    browser: Browser, served: Served
) -> None:
    page = browser.new_page(viewport=PHONE)
    page.goto(f"{served.base}/jobs")
    expect(page.get_by_role("heading", name="Who is there?")).to_be_visible()
    page.fill("#token", "guess")
    page.keyboard.press("Enter")
    expect(page.get_by_text("the token is wrong")).to_be_visible()
    page.fill("#token", served.entrance.partition("=")[2])
    page.keyboard.press("Enter")
    page.wait_for_url(f"{served.base}/")
    expect(page.get_by_role("heading", name="Try a model")).to_be_visible()
    page.context.close()


def test_a_text_that_was_read_is_text(browser: Browser, tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.png").write_bytes(png("A"))
    make_job(tmp_path, {"a.png": (EVIL, 0.4)}, failed={EVIL.replace("/", ""): "dns"})
    with page_server(tmp_path) as served, opened(browser, served) as page:
        visit(page, f"/review/{JOB}")
        expect(page.get_by_label("Text of a.png")).to_have_value(EVIL)
        assert page.locator("main img:not(.picture img)").count() == 0

"""Whole jobs: the real command, a real Redis, real workers, a real origin."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from broker.chunks import QUEUE_KEY
from broker.connection import connect
from broker.keys import KEY_PREFIX
from broker.results import results_key
from tests.conftest import Pifleet, StartWorker, wait_until
from tests.support.faulty_origin import Answer, FaultyOrigin
from tests.support.stripes import png, some_text

pytestmark = [pytest.mark.redis, pytest.mark.timeout(120)]


def finished(process: subprocess.Popen[str], code: int = 0) -> str:
    out, err = process.communicate(timeout=100)
    assert process.returncode == code, err
    return out if code in (0, 1) else err


def serve(origin: FaultyOrigin, folder: Path, number: int) -> str:
    """Serve drawn images and list them; gives the expected submission."""
    texts = {f"{i:04}.png": some_text(i) for i in range(number)}
    urls = [origin.add(f"/{name}", png(text)) for name, text in texts.items()]
    (folder / "urls.txt").write_text("\n".join(reversed(urls)))
    return csv_of(texts)


def csv_of(texts: dict[str, str]) -> str:
    """Write a submission by hand; commas and quotes are not among the symbols."""
    return "".join(f"{name},{text}\n" for name, text in sorted(texts.items()))


def test_job_reads_every_image_once_and_leaves_redis_as_it_was(
    pifleet: Pifleet,
    start_worker: StartWorker,
    origin: FaultyOrigin,
    tmp_path: Path,
    redis_url: str,
) -> None:
    start_worker(concurrency=2)
    expected = serve(origin, tmp_path, 300)

    summary = json.loads(finished(pifleet("submit", "urls.txt", "-o", "out.csv")))

    assert (tmp_path / "out.csv").read_text() == expected
    assert (summary["images"], summary["read"], summary["failed"]) == (300, 300, 0)
    assert (summary["repeats"], summary["resent"]) == (0, 0)
    with connect(redis_url) as client:
        assert not client.exists(results_key(summary["job"]), QUEUE_KEY)


def test_failed_images_are_rows_with_a_reason_and_exit_1(
    pifleet: Pifleet, start_worker: StartWorker, origin: FaultyOrigin, tmp_path: Path
) -> None:
    start_worker()
    urls = [
        origin.add("/good.png", png("A1")),
        origin.add("/page.png", b"<html>sorry</html>"),
        origin.add("/gone.png", answer=Answer(status=404)),
        origin.add("/cut.png", answer=Answer(png("A1")[:60])),
        origin.add("/flaky.png", answer=Answer(png("B2"), fail_first=2)),
    ]
    (tmp_path / "urls.txt").write_text("\n".join(urls))

    out = finished(pifleet("submit", "urls.txt", "-o", "out.csv", "--header"), code=1)

    assert json.loads(out)["failed"] == 3
    assert (tmp_path / "out.csv").read_text() == (
        "name,text\ncut.png,\nflaky.png,B2\ngone.png,\ngood.png,A1\npage.png,\n"
    )
    failures = (tmp_path / "out.failures.csv").read_text().splitlines()
    reasons = {line.split(",")[0]: line.split(",")[2] for line in failures[1:]}
    assert reasons == {
        "cut.png": "truncated",
        "gone.png": "http_status",
        "page.png": "not_an_image",
    }


def test_producer_killed_in_mid_job_goes_on_and_gives_the_same_bytes(
    pifleet: Pifleet, start_worker: StartWorker, origin: FaultyOrigin, tmp_path: Path
) -> None:
    start_worker(concurrency=2)
    expected = serve(origin, tmp_path, 600)
    command = ("submit", "urls.txt", "-o", "out.csv", "--chunk", "8")
    for share in (0.1, 0.4, 0.7):
        process = pifleet(*command)
        wait_until(
            lambda share=share: len(origin.requests) > 600 * share,  # type: ignore[misc]
            timeout_s=60,
        )
        process.kill()
        process.communicate()

    summary = json.loads(finished(pifleet(*command)))

    assert (tmp_path / "out.csv").read_text() == expected
    assert summary["images"] == 600
    assert len(origin.requests) < 630  # at most what was in hand is read twice


def test_finished_job_is_written_again_without_redis_or_workers(
    pifleet: Pifleet, start_worker: StartWorker, origin: FaultyOrigin, tmp_path: Path
) -> None:
    worker = start_worker()
    expected = serve(origin, tmp_path, 20)
    finished(pifleet("submit", "urls.txt", "-o", "out.csv"))
    worker.stop()
    (tmp_path / "out.csv").unlink()

    finished(pifleet("submit", "urls.txt", "-o", "out.csv", "--redis-url", "redis://127.0.0.1:1"))

    assert (tmp_path / "out.csv").read_text() == expected
    assert len(origin.requests) == 20


def test_folder_is_served_by_the_producer(
    pifleet: Pifleet, start_worker: StartWorker, tmp_path: Path
) -> None:
    start_worker()
    texts = {"a b.png": "A1", "deep/ü#1.png": "B2"}
    for name, text in texts.items():
        path = tmp_path / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(text))

    finished(pifleet("submit", "images", "-o", "out.csv", "--first-line", "bob"))

    assert (tmp_path / "out.csv").read_text() == "bob\n" + csv_of(texts)


def test_index_page_and_symbols_as_system_a_had_them(
    pifleet: Pifleet, start_worker: StartWorker, origin: FaultyOrigin, tmp_path: Path
) -> None:
    start_worker()
    page = origin.add("/?user=bob", b"2.png\n1.png\n")
    for name, text in (("1.png", "AzB"), ("2.png", "z0")):
        origin.add(f"/?user=bob&myfilename={name}", png(text))
    item = origin.url("/?user=bob&myfilename={name}")

    finished(pifleet("submit", page, "-o", "out.csv", "--index-item", item, "--symbols", "AB0"))

    rows = (tmp_path / "out.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in rows] == ["1.png", "2.png"]
    assert "z" not in "".join(rows)


def test_wiped_redis_costs_nothing_but_a_second_reading(
    pifleet: Pifleet,
    start_worker: StartWorker,
    origin: FaultyOrigin,
    tmp_path: Path,
    redis_url: str,
) -> None:
    start_worker(concurrency=1)
    expected = serve(origin, tmp_path, 600)
    process = pifleet("submit", "urls.txt", "-o", "out.csv", "--chunk", "16")
    wait_until(lambda: len(origin.requests) > 100, timeout_s=60)
    with connect(redis_url) as client:
        client.flushall()

    summary = json.loads(finished(process))

    assert (tmp_path / "out.csv").read_text() == expected
    assert summary["resent"] > 0


def test_worker_killed_in_mid_chunk_is_replaced_by_another(
    pifleet: Pifleet, start_worker: StartWorker, origin: FaultyOrigin, tmp_path: Path
) -> None:
    doomed = start_worker(name="doomed")
    slow = Answer(png("A1"), delay_s=1.0)
    urls = [origin.add(f"/{i}.png", answer=slow) for i in range(8)]
    (tmp_path / "urls.txt").write_text("\n".join(urls))
    process = pifleet("submit", "urls.txt", "-o", "out.csv")
    wait_until(lambda: origin.requests, timeout_s=30)
    doomed.kill()
    start_worker(name="heir")

    summary = json.loads(finished(process))

    assert summary["read"] == 8
    assert (tmp_path / "out.csv").read_text() == csv_of({f"{i}.png": "A1" for i in range(8)})


def test_detached_job_is_collected_later(
    pifleet: Pifleet, start_worker: StartWorker, origin: FaultyOrigin, tmp_path: Path
) -> None:
    expected = serve(origin, tmp_path, 50)
    job = json.loads(finished(pifleet("submit", "urls.txt", "-o", "out.csv", "--detach")))["job"]
    assert not (tmp_path / "out.csv").exists()
    start_worker()

    finished(pifleet("collect", job))

    assert (tmp_path / "out.csv").read_text() == expected
    listed = json.loads(finished(pifleet("jobs", "--json")))
    assert [(one["job"], one["state"]) for one in listed] == [(job, "done")]


def test_failed_images_are_read_when_they_are_replayed(
    pifleet: Pifleet, start_worker: StartWorker, origin: FaultyOrigin, tmp_path: Path
) -> None:
    start_worker()
    urls = [origin.add("/1.png", png("A1")), origin.url("/2.png")]
    (tmp_path / "urls.txt").write_text("\n".join(urls))
    job = json.loads(finished(pifleet("submit", "urls.txt", "-o", "out.csv"), code=1))["job"]
    dead = json.loads(finished(pifleet("dead", "list", job, "--json")))
    assert [(image["name"], image["reason"]) for image in dead] == [("2.png", "http_status")]

    origin.add("/2.png", png("B2"))
    finished(pifleet("dead", "replay", job))

    assert (tmp_path / "out.csv").read_text() == csv_of({"1.png": "A1", "2.png": "B2"})


def test_detached_job_shows_what_was_read_of_it(
    pifleet: Pifleet,
    start_worker: StartWorker,
    origin: FaultyOrigin,
    tmp_path: Path,
    redis_url: str,
) -> None:
    start_worker()
    serve(origin, tmp_path, 40)
    with (tmp_path / "urls.txt").open("a") as file:
        file.write("\n" + origin.add("/gone.png", answer=Answer(status=404)))
    job = json.loads(finished(pifleet("submit", "urls.txt", "-o", "out.csv", "--detach")))["job"]

    def listed() -> dict[str, int]:
        (found,) = json.loads(finished(pifleet("jobs", "--json")))
        return dict(found["uncollected"])

    wait_until(lambda: listed() == {"read": 40, "failed": 1}, timeout_s=20, what="its counts")
    assert f"wait in Redis: pifleet collect {job}" in finished(pifleet("jobs"))


def test_cancelled_job_ends_with_a_row_for_every_image(
    pifleet: Pifleet, origin: FaultyOrigin, tmp_path: Path, redis_url: str
) -> None:
    serve(origin, tmp_path, 10)
    process = pifleet("submit", "urls.txt", "-o", "out.csv")

    def listed() -> list[dict[str, str]]:
        found: list[dict[str, str]] = json.loads(finished(pifleet("jobs", "--json")))
        return found

    wait_until(lambda: [job for job in listed() if job["state"] == "running"], timeout_s=30)
    said = finished(pifleet("cancel", listed()[0]["job"]))

    assert "is told to stop" in said
    assert json.loads(finished(process, code=1))["failed"] == 10
    assert len((tmp_path / "out.csv").read_text().splitlines()) == 10
    with connect(redis_url) as client:
        assert not list(client.scan_iter(f"{KEY_PREFIX}results:*"))


def test_ledger_of_another_job_is_not_touched(
    pifleet: Pifleet, origin: FaultyOrigin, tmp_path: Path
) -> None:
    serve(origin, tmp_path, 5)
    finished(pifleet("submit", "urls.txt", "-o", "out.csv", "--detach"))

    said = finished(pifleet("submit", "urls.txt", "-o", "out.csv", "--symbols", "AB"), code=2)

    assert "holds job" in said
    assert "another symbols" in said
    assert "--restart" in said


def test_limit_per_host_holds_for_all_workers_together(
    pifleet: Pifleet, start_worker: StartWorker, origin: FaultyOrigin, tmp_path: Path
) -> None:
    for name in ("pi1", "pi2"):
        start_worker(name=name, concurrency=2)
    expected = serve(origin, tmp_path, 60)

    out = finished(pifleet("submit", "urls.txt", "-o", "out.csv", "--per-host", "15"))

    assert (tmp_path / "out.csv").read_text() == expected
    assert json.loads(out)["seconds"] >= 59 / 15  # sixty turns, and the first comes at once
    assert (json.loads(out)["repeats"], len(origin.requests)) == (0, 60)


def test_job_whose_images_are_all_in_the_lan_says_what_to_set(
    pifleet: Pifleet, start_worker: StartWorker, tmp_path: Path
) -> None:
    start_worker(env={"PIFLEET_FETCH_ALLOW": ""})
    (tmp_path / "urls.txt").write_text("http://192.168.77.1/a.png\nhttp://10.77.0.1/b.png\n")
    process = pifleet("submit", "urls.txt", "-o", "out.csv")
    _, err = process.communicate(timeout=100)
    assert process.returncode == 1
    assert "set PIFLEET_FETCH_ALLOW on the workers, to lan" in err
    assert "forbidden_address" in (tmp_path / "out.failures.csv").read_text()


def test_list_that_has_changed_is_refused_with_exit_2(
    pifleet: Pifleet, start_worker: StartWorker, origin: FaultyOrigin, tmp_path: Path
) -> None:
    start_worker()
    expected = serve(origin, tmp_path, 20)
    finished(pifleet("submit", "urls.txt", "-o", "out.csv"))
    (tmp_path / "urls.txt").write_text("http://h/other.png\n")
    assert "another source" in finished(pifleet("submit", "urls.txt", "-o", "out.csv"), code=2)
    assert (tmp_path / "out.csv").read_text() == expected

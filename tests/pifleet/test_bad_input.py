"""Bad input gets one line naming the thing and what to do, an exit code, and leaves no trace."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pifleet.cli import main

Run = Callable[..., tuple[int, str]]

NO_REDIS = "redis://127.0.0.1:1"


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Make a function that runs the command in an empty folder; it returns exit code and stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PIFLEET_STATE_DIR", str(tmp_path / "state"))

    def invoke(*arguments: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["pifleet", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        return int(ended.value.code or 0), capsys.readouterr().err

    return invoke


def listing(folder: Path, *lines: str, name: str = "list.txt") -> str:
    (folder / name).write_text("".join(f"{line}\n" for line in lines))
    return name


def nothing_was_written(folder: Path, *sources: str) -> bool:
    left = {path.name for path in folder.iterdir()} - set(sources) - {"state"}
    return not left and not list(folder.glob("state/jobs/*"))


def assert_one_line(said: str, *parts: str) -> None:
    assert len(said.strip().splitlines()) == 1, said
    assert "Traceback" not in said
    for part in parts:
        assert part in said


@pytest.mark.redis
@pytest.mark.parametrize(
    ("lines", "name", "parts"),
    [
        ((), "empty.txt", ("empty.txt", "names no image")),
        (("http://h/a.png", "nonsense"), "bad.txt", ("bad.txt, line 2", "'nonsense'")),
        (("http://h/a.png", "http://g/a.png"), "twice.txt", ("'a.png' stands twice", "url,name")),
        (("url,name", "http://h/a"), "short.csv", ("short.csv, line 2", "1 columns")),
        (("http://h/a,b",), "headless.csv", ("headless.csv, line 1", "url and name")),
    ],
    ids=["empty", "malformed URL", "duplicate", "malformed CSV", "no header"],
)
def test_bad_source_is_named_by_file_and_line(
    run: Run,
    tmp_path: Path,
    tiny_model: Path,
    redis_url: str,
    lines: tuple[str, ...],
    name: str,
    parts: tuple[str, ...],
) -> None:
    source = listing(tmp_path, *lines, name=name)

    code, said = run(
        "submit", source, "-o", "out.csv", "--model", str(tiny_model), "--redis-url", redis_url
    )

    assert code == 2
    assert_one_line(said, *parts)
    assert nothing_was_written(tmp_path, source)


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        (("--model", "nosuch"), ("no model 'nosuch'", "path of a .tflite")),
        (("--symbols", "AB€"), ("['€']", "not in the charset")),
        (("--symbols", ""), ("--symbols is empty",)),
        (("-o", "nowhere/out.csv"), ("folder nowhere does not exist",)),
        (("-o", "."), ("is a folder",)),
        (("--columns", "name,colour"), ("--columns='name,colour'", "confidence")),
        (("--redis-url", "http://x"), ("PIFLEET_REDIS_URL", "redis://")),
        (("--index-item", "http://h/{name}"), ("--index-item is for an index page",)),
    ],
    ids=["model", "symbol", "no symbol", "folder", "is folder", "column", "URL", "index item"],
)
@pytest.mark.redis
def test_bad_option_is_named(
    run: Run,
    tmp_path: Path,
    tiny_model: Path,
    redis_url: str,
    options: tuple[str, ...],
    parts: tuple[str, ...],
) -> None:
    source = listing(tmp_path, "http://h/a.png")
    defaults = ("-o", "out.csv", "--model", str(tiny_model), "--redis-url", redis_url)

    code, said = run("submit", source, *defaults, *options)

    assert code == 2
    assert_one_line(said, *parts)
    assert nothing_was_written(tmp_path, source)


@pytest.mark.parametrize("command", [("status",), ("submit", "list.txt", "--model", "MODEL")])
def test_absent_redis_is_exit_3(
    run: Run, tmp_path: Path, tiny_model: Path, command: tuple[str, ...]
) -> None:
    source = listing(tmp_path, "http://h/a.png")
    arguments = [str(tiny_model) if word == "MODEL" else word for word in command]

    code, said = run(*arguments, "--redis-url", NO_REDIS)

    assert code == 3
    assert_one_line(said, NO_REDIS, "refused", "pifleet up")
    assert nothing_was_written(tmp_path, source)


@pytest.mark.parametrize("command", ["status", "worker", "doctor"])
def test_broker_url_that_is_none_is_exit_2(
    run: Run, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.setenv("PIFLEET_REDIS_URL", "htp://x")

    code, said = run(command)

    assert code == 2
    if command != "doctor":  # whose findings are what it is asked for, on stdout
        assert_one_line(said, "PIFLEET_REDIS_URL='htp://x' is not accepted")


@pytest.mark.redis
def test_wrong_password_is_exit_2_and_is_not_shown(run: Run, redis_url: str) -> None:
    address = redis_url.rpartition("@")[2]

    code, said = run("status", "--redis-url", f"redis://someone:hunter2@{address}")

    assert code == 2
    assert_one_line(said, "password in PIFLEET_REDIS_URL")
    assert "hunter2" not in said


@pytest.mark.redis
def test_redis_that_is_too_old_is_exit_3(
    run: Run, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("broker.connection.OLDEST_REDIS", (99, 0))

    code, said = run("status", "--redis-url", redis_url)

    assert code == 3
    assert_one_line(said, "99.0 or newer")


def test_file_without_a_card_is_no_model(run: Run, tmp_path: Path) -> None:
    source = listing(tmp_path, "http://h/a.png")
    (tmp_path / "plain.tflite").write_bytes(b"TFL3 without a card")

    code, said = run("submit", source, "--model", "plain.tflite")

    assert code == 2
    assert_one_line(said, "carries no card.json", "pifleet export")


@pytest.mark.parametrize("job", ["feedbeef", "", ".", "/", "..", "nowhere/"])
def test_unknown_job_is_named(run: Run, job: str) -> None:
    code, said = run("collect", job)

    assert code == 2
    assert_one_line(said, f"no job {job!r}", "pifleet jobs")


def test_bad_network_in_the_environment_is_named(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIFLEET_FETCH_ALLOW", "localhost")

    code, said = run("status")

    assert code == 2
    assert_one_line(said, "PIFLEET_FETCH_ALLOW='localhost'", "127.0.0.0/8")


def test_dry_run_sends_nothing(
    run: Run, tmp_path: Path, tiny_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = listing(tmp_path, "http://h/a.png")

    code, _ = run("submit", source, "--dry-run", "--model", str(tiny_model))

    assert code == 0
    assert nothing_was_written(tmp_path, source)


@pytest.mark.parametrize("line", ["bob\nx.png,A1", "bob\n", "a\u2028b"])
def test_first_line_is_one_line(run: Run, tmp_path: Path, tiny_model: Path, line: str) -> None:
    source = listing(tmp_path, "http://h/a.png")
    code, said = run("submit", source, "--model", str(tiny_model), "--first-line", line)
    assert code == 2
    assert_one_line(said, "--first-line", "one line")
    assert nothing_was_written(tmp_path, source)

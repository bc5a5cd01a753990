"""Devices, pipes, closed streams and names that are no text: one line, and nothing is replaced."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from contract.files import atomic_write
from tests.support.commands import PIFLEET, fleet_env, run_pifleet
from tests.support.stripes import png

Ended = subprocess.CompletedProcess[str]
Run = Callable[..., Ended]
NO_UTF8 = os.fsdecode(b"\xff.png")
DEVICE = "/dev/full"  # what is written there never is; what is read has no end


@pytest.fixture
def run(tmp_path: Path, redis_url: str) -> Run:
    """Make a function that runs the command in an empty folder."""
    env = fleet_env(redis_url, tmp_path)
    return lambda *arguments: run_pifleet(*arguments, folder=tmp_path, env=env)


def assert_one_line(ended: Ended, *parts: str) -> None:
    assert (ended.returncode, len(ended.stderr.strip().splitlines())) == (2, 1), ended.stderr
    for part in parts:
        assert part in ended.stderr


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Lay a list, an image, a pipe and a link to a device into a folder."""
    (tmp_path / "list.txt").write_text("http://127.0.0.1:1/a.png\n")
    (tmp_path / "a.png").write_bytes(png("AB"))
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "device.csv").symlink_to(DEVICE)
    return tmp_path


@pytest.mark.redis
@pytest.mark.parametrize("output", ["pipe", "device.csv", DEVICE])
@pytest.mark.parametrize(
    "command",
    [
        ("submit", "list.txt", "--detach", "-o"),
        ("classify", "a.png", "--csv"),
        ("models", "sign", "captcha", "--key", "a.png", "-o"),
    ],
    ids=lambda command: command[0],
)
def test_device_or_pipe_is_never_replaced(
    run: Run, folder: Path, command: tuple[str, ...], output: str
) -> None:
    before = os.lstat(folder / output)
    assert_one_line(run(*command, output), f"{output} is a device or a pipe", "name a file")
    assert os.lstat(folder / output).st_ino == before.st_ino
    assert stat.S_IFMT(os.lstat(folder / output).st_mode) == stat.S_IFMT(before.st_mode)
    assert not list(folder.glob("*.ledger*"))


@pytest.mark.parametrize("output", ["pipe", "device.csv"])
def test_what_is_written_whole_replaces_files_alone(folder: Path, output: str) -> None:
    with pytest.raises(OSError, match="device or a pipe"), atomic_write(folder / output):
        raise AssertionError("it was opened")
    assert not (folder / output).is_file()


@pytest.mark.redis
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("submit", "list.txt", "-o", "x" * 300 + ".csv"), "File name too long"),
        (("submit", "x" * 5000, "-o", "s.csv"), "File name too long"),
        (("classify", "x" * 300), "File name too long"),
        (("submit", "list.txt", "-o", NO_UTF8), "rename"),
        (("submit", DEVICE, "-o", "s.csv"), "no such file"),
        (("collect", "empty.csv"), "holds no whole job"),
    ],
    ids=["output", "source", "image", "no UTF-8", "device", "empty ledger"],
)
def test_odd_name_is_one_line(
    run: Run, folder: Path, arguments: tuple[str, ...], said: str
) -> None:
    (folder / "empty.ledger").touch()
    assert_one_line(run(*arguments), said)
    assert [path.name for path in folder.glob("*.ledger*")] == ["empty.ledger"]


@pytest.mark.redis
def test_list_may_come_through_a_named_pipe(folder: Path, redis_url: str) -> None:
    command = [*PIFLEET, "submit", "pipe", "-o", "s.csv", "--detach"]
    env = fleet_env(redis_url, folder)
    with subprocess.Popen(command, cwd=folder, env=env, stderr=subprocess.DEVNULL) as submit:
        (folder / "pipe").write_text("http://127.0.0.1:1/a.png\n")
    assert submit.returncode == 0


def test_command_on_a_closed_or_full_stream_is_one_line(folder: Path, tiny_model: Path) -> None:
    env = fleet_env("redis://127.0.0.1:1", folder)
    classify = ["classify", "a.png", "--model", str(tiny_model)]
    for shell, arguments, code, said in (
        ("<&-", ["submit", "-", "-o", "s.csv", "--dry-run"], 2, "standard input is closed"),
        (f">{DEVICE}", classify, 2, "No space left"),
    ):
        script = f'exec "$@" {shell}'
        ended = subprocess.run(
            ["sh", "-c", script, "sh", *PIFLEET, *arguments],
            cwd=folder, env=env, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert (ended.returncode, said in ended.stderr) == (code, True), ended.stderr
        assert "Traceback" not in ended.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="names of files are any bytes on Linux alone")
def test_name_that_is_no_text_costs_no_other_image_its_row(
    folder: Path, tiny_model: Path, tmp_path: Path
) -> None:
    images = tmp_path / "images"
    images.mkdir()
    for name in (b"good.png", b"\xff.png", b"line\nbreak.png"):
        (images / os.fsdecode(name)).write_bytes(png("AB"))
    env = fleet_env("redis://127.0.0.1:1", folder)
    arguments = ("classify", "images", "--model", str(tiny_model))
    shown = run_pifleet(*arguments, folder=folder, env=env)
    written = run_pifleet(*arguments, "--csv", "s.csv", folder=folder, env=env)
    assert (shown.returncode, written.returncode) == (0, 0), shown.stderr + written.stderr
    expected = ["good.png", "line\ufffdbreak.png", "\ufffd.png"]
    assert [line.partition("\t")[0] for line in shown.stdout.splitlines()] == expected
    assert (folder / "s.csv").read_text() == 'good.png,AB\n"line\nbreak.png",AB\n\ufffd.png,AB\n'

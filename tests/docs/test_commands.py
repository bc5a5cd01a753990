"""What the documents show can be typed: every option exists, and what is quick is really run."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import click
import pytest

from pifleet.cli import cli
from tests.conftest import StartWorker
from tests.support.commands import fleet_env, run_pifleet
from tests.support.documented import ROOT, Shown, shown_commands
from tests.support.faulty_origin import Answer, FaultyOrigin

SHOWN = sorted({(one.document, one.text, one.is_block) for one in shown_commands()})
IMAGES = sorted((ROOT / "tests" / "data").glob("captcha-0.7.1-*.png"))
LEFT_OUT = ("…", "...")


def parse(words: Sequence[str], *, is_whole: bool) -> None:
    """Let click look at a command without running it; in a sentence arguments may be missing."""
    command: click.Command = cli
    context = click.Context(cli, info_name="pifleet", resilient_parsing=not is_whole)
    rest = [word for word in words if word not in LEFT_OUT]
    while isinstance(command, click.Group) and rest:
        name, *rest = rest
        if name.startswith("-"):
            return
        found = command.get_command(context, name)
        assert found is not None, f"there is no {name}"
        command = found
        context = click.Context(command, parent=context, resilient_parsing=not is_whole)
    command.make_context(str(command.name), rest, parent=context, resilient_parsing=not is_whole)


@pytest.mark.parametrize(("document", "text", "is_block"), SHOWN, ids=lambda value: str(value)[:60])
def test_every_command_that_is_shown_has_those_options(
    document: str, text: str, is_block: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)  # some options take files of the repository
    if "stripes" in text:
        pytest.skip("of a recogniser that the document makes: see test_adding_a_recogniser.py")
    words = Shown(document, text, is_block).words[1:]
    for alternative in alternatives(words):
        try:
            parse(alternative, is_whole=is_block and not set(LEFT_OUT) & set(words))
        except click.exceptions.Exit:
            continue


def test_every_command_shows_an_example() -> None:
    shown = {name: str(command.help) for name, command in commands(cli, "pifleet")}
    assert [name for name, help_text in shown.items() if "Example" not in help_text] == ["pifleet"]


def commands(command: click.Command, name: str) -> Iterator[tuple[str, click.Command]]:
    """List a command and those beneath it, by what is typed."""
    yield name, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for inner in command.list_commands(context):
            found = command.get_command(context, inner)
            assert found is not None
            yield from commands(found, f"{name} {inner}")


def alternatives(words: list[str]) -> list[list[str]]:
    """Part ``models list|show``, which names several commands, into each of them."""
    for index, word in enumerate(words[:2]):
        if "|" in word:
            return [[*words[:index], one, *words[index + 1 :]] for one in word.split("|")]
    return [words]


class Fleet:
    """A folder with what the README's examples name, and a fleet to read it."""

    def __init__(self, folder: Path, redis_url: str, origin: FaultyOrigin) -> None:
        self._folder = folder
        self._env = fleet_env(redis_url, folder) | {"COLUMNS": "80"}
        urls = [origin.add(f"/{path.name}", path.read_bytes()) for path in IMAGES]
        (folder / "urls.txt").write_text("\n".join(urls))
        rows = [f"{url},{number}.png" for number, url in enumerate(urls)]
        (folder / "list.csv").write_text("\n".join(["url,name", *rows]))
        for name in ("photos", "letters"):
            (folder / name).mkdir()
            for path in IMAGES:
                shutil.copy(path, folder / name)
        page = "\n".join(path.name for path in IMAGES).encode()
        origin.add("/?user=bob", page, answer=Answer(page))
        for path in IMAGES:
            origin.add(f"/?user=bob&myfilename={path.name}", path.read_bytes())
        self.host = origin.url("").removeprefix("http://").rstrip("/")

    def run(self, text: str) -> subprocess.CompletedProcess[str]:
        """Run a command as it stands in the document, at 80 columns."""
        words = shlex.split(text.replace("http://host/", f"http://{self.host}/"), comments=True)
        if words[1] == "submit":  # a submission for each, as a person would have a folder for each
            words += ["-o", f"{abs(hash(text))}.csv"] if "-o" not in words else []
        return run_pifleet(*words[1:], folder=self._folder, env=self._env)


def readme_block(start: str, end: str) -> list[str]:
    """Read the commands between two sentences of the README."""
    part = (ROOT / "README.md").read_text().partition(start)[2].partition(end)[0]
    lines = part.replace("\\\n", " ").splitlines()
    return [line.strip() for line in lines if line.startswith("    pifleet ")]


@pytest.mark.redis
@pytest.mark.timeout(120)
def test_sources_of_the_readme_are_read_by_a_fleet(
    start_worker: StartWorker, origin: FaultyOrigin, redis_url: str, tmp_path: Path
) -> None:
    start_worker(concurrency=2)
    fleet = Fleet(tmp_path, redis_url, origin)
    commands = readme_block("A source is any of these:", "\n\nWhat a job may be told:")
    assert len(commands) == 4
    for command in commands:
        done = fleet.run(command)
        assert done.returncode == 0, f"{command}: {done.stderr}"
        assert f"{len(IMAGES)} of {len(IMAGES)} images read" in done.stdout
    jobs = json.loads(fleet.run("pifleet jobs --json").stdout)
    assert [job["state"] for job in jobs] == ["done"] * 4
    for command in ("pifleet jobs", "pifleet status", f"pifleet dead list {jobs[0]['job']}"):
        done = fleet.run(command)
        assert done.returncode == 0, done.stderr
        assert max(len(line) for line in (done.stdout or " ").splitlines()) <= 80


def test_documents_of_the_operator_are_followed_offline(tmp_path: Path) -> None:
    pytest.importorskip("cryptography")
    shutil.copy(ROOT / "models" / "captcha.tflite", tmp_path / "mine.tflite")
    texts = [one for one in shown_commands() if one.document == "infra/README.md" and one.is_block]
    wanted = [one for one in texts if one.words[1] in ("access", "models")]
    assert len(wanted) == 6
    for one in wanted:
        offline = ["--offline"] if one.words[2] in ("grant", "revoke") else []
        done = run_pifleet(*one.words[1:], *offline, folder=tmp_path)
        assert done.returncode == 0, f"{one.text}: {done.stderr}"

"""From a submission to a better one and a better model: ``python -m benchmarks.review.loop``.

Images are drawn with a font that the model has never seen, and read by a fleet. A person is played
by the truth: it says what stands in the least sure ones, and in some at random. Then the model
learns from these, and is measured on images apart, before and after.
"""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click

from benchmarks.machine import circumstances, fleet_env, write_figures
from pifleet.local.redis_server import embedded_redis
from pifleet.local.supervisor import FleetOptions, local_fleet
from training.image_sets import read_labels

PRESET = "0.7.0"
SEEDS = {"job": 71, "apart": 72}


@dataclass(frozen=True, slots=True)
class Shell:
    """Types commands in a folder."""

    folder: Path
    env: Mapping[str, str]

    def type(self, *words: str) -> str:
        """Run one command to its end; gives what it says on stdout."""
        done = subprocess.run(
            [sys.executable, "-m", "pifleet", *words],
            cwd=self.folder,
            env=dict(self.env),
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        return done.stdout

    def json(self, *words: str) -> Any:
        """Run one command and read its JSON."""
        return json.loads(self.type(*words, "--json"))


@click.command()
@click.option("--fonts", type=click.Path(path_type=Path, exists=True), required=True)
@click.option("--images", default=2_000, show_default=True, help="Of the job, and as many apart.")
@click.option("--looks", default=200, show_default=True, help="At the least sure.")
@click.option("--config", type=click.Path(path_type=Path, exists=True), help="Of the training.")
@click.option("--json", "out", type=click.Path(path_type=Path), help="Keep the figures there.")
def main(fonts: Path, images: int, looks: int, config: Path | None, out: Path | None) -> None:
    """Close the loop once, and say what it came to."""
    with TemporaryDirectory(prefix="pifleet-loop-") as scratch, embedded_redis() as redis_url:
        folder = Path(scratch)
        shell = Shell(folder, fleet_env(folder, redis_url))
        for name, seed in SEEDS.items():
            draw = ("generate", "captcha", "-n", str(images), "-o", name, "--seed", str(seed))
            shell.type(*draw, "--preset", PRESET, "--fonts", str(fonts.absolute()))
        options = FleetOptions(1, redis_url, shell.env, folder)
        with local_fleet(options) as fleet:
            fleet.wait_ready()
            shell.type("submit", "job", "-o", "job.csv")
        found = review(shell, read_labels(folder / "job"), looks)
        found |= learn(shell, config)
    figures = {**circumstances("benchmarks.review.loop", ("tensorflow", "keras")), **found}
    print(json.dumps(figures, indent=1))
    if out is not None:
        write_figures(out, figures)


def review(shell: Shell, truth: dict[str, str], looks: int) -> dict[str, Any]:
    """Look at the least sure images, and hold each estimate against the truth."""
    found = {"images": len(truth), "looks": looks, "before": _held(shell, truth, "job.csv")}
    listed: list[dict[str, Any]] = []
    while len(listed) < looks:
        most = str(min(200, looks - len(listed)))
        screen = shell.json("review", "list", "job.csv", "-n", most)
        with (shell.folder / "seen.csv").open("w", newline="") as file:
            csv.writer(file).writerows((one["name"], truth[one["name"]]) for one in screen)
        shell.type("review", "correct", "job.csv", "seen.csv", "--who", "the truth")
        listed += screen
    shell.type("collect", "job.csv", "--corrected")
    return found | {"after_looks": _held(shell, truth, "job.corrected.csv")}


def learn(shell: Shell, config: Path | None) -> dict[str, Any]:
    """Teach the model what was seen, and measure it on images apart."""
    given = ("--config", str(config.absolute())) if config else ()
    written = shell.json("review", "export", "job.csv", "-o", "mine")
    train = ("train", "captcha", "--data", "mine", "--start", "captcha", "--out", "run")
    said = shell.type(*train, *given)
    shell.type("export", "run", "-o", "mine.tflite")
    measured = {name: shell.json("evaluate", name, "apart") for name in ("captcha", "mine.tflite")}
    return {
        "labelled": {key: written[key] for key in ("images", "corrected")},
        "training": said.strip().splitlines(),
        "apart": {name: one["exact_match"] for name, one in measured.items()},
    }


def _held(shell: Shell, truth: dict[str, str], submission: str) -> dict[str, Any]:
    """Hold the estimate against what the submission really holds."""
    with (shell.folder / submission).open(newline="") as file:
        rows: Sequence[list[str]] = list(csv.reader(file))
    right = sum(truth[name] == text for name, text in rows)
    said = shell.json("review", "status", "job.csv")
    return {
        "exact_match": right / len(rows),
        "estimated": said["exact_match"],
        "errors": len(rows) - right,
        "errors_estimated": said["errors_left"],
        "promised_wrong": said["promised_wrong"],
        "wrong": said["wrong"],
    }


if __name__ == "__main__":
    main()

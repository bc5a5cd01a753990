"""Make the shipped models again, from their committed configurations and seeds.

Each command of a recipe runs once: what was done stands in ``times.json``, and a run that was
interrupted goes on where it stopped. The clock drives the schedules, so that another machine sees
more or fewer images in the same time, and figures differ from the shipped ones by their spread.

Example:
    python -m training.make_models captcha --out runs/models
"""

from __future__ import annotations

import json
import os
import platform
import shlex
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import click
import yaml

from contract.errors import FleetError, SettingsError
from contract.files import atomic_write
from training.config import merged, read_mapping
from training.run_folder import STATE_FILE
from training.words.texts import KINDS

CONFIGS = Path("training") / "configs"
TIMES_FILE = "times.json"
PIFLEET = (sys.executable, "-m", "pifleet")

# How each shipped model was made: the commands of ``pifleet``, in their order. ``{configs}`` is the
# folder of configurations, ``{out}`` that of the runs, ``{emnist}`` the file of EMNIST's training
# part, which is not ours to ship.
RECIPES: dict[str, tuple[str, ...]] = {
    "captcha": (
        "train captcha --config {configs}/captcha.yaml --out {out}/captcha --until {stop_step}",
        "train captcha --config {configs}/captcha-2.yaml --out {out}/captcha --resume",
        "train captcha --config {configs}/captcha-3.yaml --out {out}/captcha-3"
        " --start {out}/captcha",
        "export {out}/captcha-3 -o {out}/captcha.tflite",
    ),
    "captcha-small": (
        "train captcha --config {configs}/captcha-small.yaml --out {out}/captcha-small",
        "train captcha --config {configs}/captcha-small-2.yaml --out {out}/captcha-small-2"
        " --start {out}/captcha-small",
        "export {out}/captcha-small-2 -o {out}/captcha-small.tflite",
    ),
    "captcha-wide": (
        "train captcha --config {configs}/captcha-wide.yaml --out {out}/captcha-wide"
        " --start captcha",
        "train captcha --config {configs}/captcha-wide-2.yaml --out {out}/captcha-wide-2"
        " --start {out}/captcha-wide",
        "export {out}/captcha-wide-2 -o {out}/captcha-wide.tflite",
    ),
    "emnist": (
        *(
            part
            for seed in (1, 2, 3)
            for part in (
                f"train emnist --config {{configs}}/emnist-teacher.yaml --data {{emnist}}"
                f" --seed {seed} --out {{out}}/emnist-{seed}",
                f"export {{out}}/emnist-{seed} -o {{out}}/emnist-{seed}.tflite",
            )
        ),
        "train emnist --config {configs}/emnist.yaml --data {emnist} --out {out}/emnist"
        " --start {out}/emnist-1 --teacher {out}/emnist-1.tflite"
        " --teacher {out}/emnist-2.tflite --teacher {out}/emnist-3.tflite",
        "export {out}/emnist -o {out}/emnist.tflite",
    ),
    "words": (
        "train words --config {configs}/words.yaml --hand {emnist} --out {out}/words",
        "train words --config {configs}/words-2.yaml --hand {emnist} --out {out}/words-2"
        " --start {out}/words",
        "train words --config {configs}/words-3.yaml --hand {emnist} --out {out}/words-3"
        " --start {out}/words-2",
        "export {out}/words-3 --check-images 4000 --most-lost 1 -o {out}/words.tflite",
    ),
}
NEED_EMNIST = ("emnist", "words")
STOP_STEP = 8_000  # of captcha.yaml, where captcha-2.yaml went on

# A rehearsal runs the same commands in two minutes: networks and sets too small to be of use, but
# large enough for two symbols to be learnt and exported.
REHEARSAL_STOP_STEP = 60
REHEARSAL_SCHEDULE = {
    "epochs": 12,
    "budget_minutes": 0,
    "batch": 32,
    "learning_rate": 1e-2,
    "precision": "float32",
    "checkpoint_steps": 20,
}
REHEARSAL: dict[str, dict[str, Any]] = {
    "captcha": {
        "data": {
            "images": 512,
            "validation_images": 32,
            "symbols": "A1",
            "max_length": 2,
            "symbol_weights": {},
            "length_weights": [],
        },
        "network": {"channels": [4, 4, 8, 8, 8, 8, 16], "context_layers": 1},
        "schedule": REHEARSAL_SCHEDULE,
    },
    "emnist": {
        "data": {"images": 2_048, "held_out": 5},
        "network": {"channels": [8, 16, 24]},
        "schedule": {**REHEARSAL_SCHEDULE, "epochs": 3},
    },
    "words": {
        "data": {
            "images": 1_024,
            "validation_images": 32,
            "kinds": dict.fromkeys(KINDS, 0.0) | {"number": 1.0},
        },
        "network": {"channels": [8, 8, 16, 16, 24, 24], "context_layers": 1},
        "schedule": {**REHEARSAL_SCHEDULE, "epochs": 4},
    },
}
REHEARSAL_TEACHER_IMAGES = 2_048


@dataclass(frozen=True, slots=True)
class Place:
    """Where models are made, and from what.

    Attributes:
        out: the folder of runs, models and times.
        emnist: EMNIST's training part; None leaves its model out.
        is_rehearsal: whether the small configurations are used.
    """

    out: Path
    emnist: Path | None
    is_rehearsal: bool

    def fill(self, command: str) -> list[str]:
        """Put the paths into a command of a recipe; export less where nothing hangs on it."""
        filled = command.format(
            configs=self.out / "configs" if self.is_rehearsal else CONFIGS,
            out=self.out,
            emnist=self.emnist,
            stop_step=REHEARSAL_STOP_STEP if self.is_rehearsal else STOP_STEP,
        )
        if self.is_rehearsal and command.startswith("export"):
            filled += " --check-images 100 --most-lost 20"  # one image is a point; the last counts
        return shlex.split(filled)


@click.command()
@click.argument("models", nargs=-1, type=click.Choice(tuple(RECIPES)))
@click.option("--out", type=click.Path(path_type=Path), default=Path("runs/models"))
@click.option("--emnist", type=click.Path(path_type=Path, exists=True), help="Its training part.")
@click.option("--rehearsal", is_flag=True, help="Small configurations, two minutes.")
def main(models: tuple[str, ...], out: Path, emnist: Path | None, rehearsal: bool) -> None:
    """Make MODELS [default: all] and say how long each took, and on what."""
    place = Place(out, emnist, rehearsal)
    try:
        make_models(models or tuple(RECIPES), place)
    except (FleetError, subprocess.CalledProcessError) as error:
        raise click.ClickException(str(error)) from error


def make_models(models: tuple[str, ...], place: Place) -> None:
    """Make models one after the other.

    Raises:
        SettingsError: one that needs EMNIST was asked for alone, without its data.
        CalledProcessError: a command failed; run this again to go on from there.
    """
    if len(models) == 1 and models[0] in NEED_EMNIST and place.emnist is None:
        raise SettingsError("--emnist", None, "the file of EMNIST's training part")
    place.out.mkdir(parents=True, exist_ok=True)
    if place.is_rehearsal:
        write_rehearsal(place.out)
    for model in models:
        if model in NEED_EMNIST and place.emnist is None:
            click.echo(f"{model}\tleft out: it needs EMNIST's training part (--emnist FILE)")
            continue
        for command in RECIPES[model]:
            _run(command, place)
        click.echo(_told(model, place))


def _run(command: str, place: Place) -> None:
    """Run a command that has not been run to its end; its time counts in any case."""
    times = _times(place.out)
    if times.get(command, {}).get("is_done"):
        return
    arguments = place.fill(command)
    if "--out" in arguments and "--resume" not in arguments:
        run = Path(arguments[arguments.index("--out") + 1])
        arguments += ["--resume"] * (run / STATE_FILE).exists()
    click.echo("pifleet " + shlex.join(arguments), err=True)
    started, is_done = time.monotonic(), False
    try:
        subprocess.run([*PIFLEET, *arguments], check=True)
        is_done = True
    finally:
        seconds = times.get(command, {}).get("seconds", 0.0) + time.monotonic() - started
        times[command] = {"seconds": round(seconds, 1), "is_done": is_done}
        with atomic_write(place.out / TIMES_FILE) as file:
            file.write(json.dumps(times, indent=1).encode() + b"\n")


def _times(out: Path) -> dict[str, dict[str, Any]]:
    try:
        found: dict[str, dict[str, Any]] = json.loads((out / TIMES_FILE).read_text("utf-8"))
    except FileNotFoundError:
        return {}
    return found


def _told(model: str, place: Place) -> str:
    """Say of a finished model what it is, how long it took and on what."""
    file = place.out / f"{model}.tflite"
    times = _times(place.out)
    minutes = sum(times[command]["seconds"] for command in RECIPES[model]) / 60
    digest = sha256(file.read_bytes()).hexdigest()[:12]
    size = f"{file.stat().st_size} bytes"
    return f"{model}\t{size}\tsha256 {digest}\t{minutes:.1f} minutes\t{machine()}"


def machine() -> str:
    """Name the machine: processor, cores, Keras's backend."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:  # not Linux
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    backend = os.environ.get("KERAS_BACKEND", "tensorflow")
    return f"{(names or [platform.machine()])[0]}, {os.cpu_count()} cores, {backend}"


def write_rehearsal(out: Path) -> None:
    """Write the small configurations: the committed ones with little of everything."""
    folder = out / "configs"
    folder.mkdir(exist_ok=True)
    for file in sorted(CONFIGS.glob("*.yaml")):
        mapping = read_mapping(file)
        small = merged(mapping, _rehearsal_of(mapping, out))
        (folder / file.name).write_text(yaml.safe_dump(small, sort_keys=False), encoding="utf-8")


def _rehearsal_of(mapping: Mapping[str, Any], out: Path) -> dict[str, Any]:
    task = mapping.get("task", "captcha")
    changed: dict[str, Any] = dict(REHEARSAL[task])
    if "teacher" in mapping and task == "captcha":  # it has to know the same symbols
        changed["teacher"] = {"model": str(out / "captcha.tflite")}
    elif "teacher" in mapping:
        changed["teacher"] = {"images": REHEARSAL_TEACHER_IMAGES}
    return changed


if __name__ == "__main__":
    main()

"""System A's network beside ours, in one run; ``--help`` tells more."""

from __future__ import annotations

import logging
import os
import random
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from benchmarks.system_a_network.learning import Lesson, compare
from benchmarks.system_a_network.report import (
    learning_report,
    learning_table,
    speed_report,
    speed_table,
    write_section,
)
from benchmarks.system_a_network.timing import Arm, measure, our_arm, system_a_arm
from contract.errors import FleetError, UserError
from training.captcha.samples import CaptchaSet, draw_sample

FLOAT32 = "system A, float32"
DYNAMIC_RANGE = "system A, dynamic range"
CONFIG = Path("training/configs/captcha.yaml")
IMAGES = 50
WIDTH = 120
SEED = 1
FILE = click.Path(dir_okay=False, path_type=Path)
FOLDER = click.Path(file_okay=False, path_type=Path)


@click.command()
@click.option("--model", "models", multiple=True, default=("captcha",), show_default=True)
@click.option("--rounds", type=click.IntRange(1), default=40, show_default=True)
@click.option("--train", "distinct", type=click.IntRange(32), help="Distinct images to learn.")
@click.option("--passes", type=click.IntRange(1), default=6, show_default=True)
@click.option("--config", "configs", type=FILE, multiple=True, default=(CONFIG,), help="Of ours.")
@click.option("--test", type=FOLDER, help="With labels.tsv, as draw_with_library writes it.")
@click.option("--test-images", type=click.IntRange(1), default=2_000, show_default=True)
@click.option("--runs", type=FOLDER, default=Path("runs/system-a"), show_default=True)
@click.option("--json", "json_path", type=FILE, help="Write figures there.")
def main(
    models: tuple[str, ...], rounds: int, distinct: int | None, json_path: Path | None, **how: Any
) -> None:
    """Time system A's network beside our models (--model, repeated: a shipped name or a file).

    With --train, let it learn beside our networks instead (--config, repeated), and read the
    images of --test. That goes on where it was stopped; give more --passes in a later run, and
    system A's network goes on from the end of the one before.

    \b
    Examples:
      python -m benchmarks.system_a_network --model captcha --model captcha-small
      python -m benchmarks.system_a_network --train 16384 --passes 1 --test test-0.7.1
    """
    try:
        if distinct is None:
            speed(models, rounds, json_path)
        else:
            learning(distinct, json_path, **how)
    except FleetError as error:
        raise click.ClickException(str(error)) from error


def speed(models: Sequence[str], rounds: int, json_path: Path | None) -> None:
    """Time all networks, and tell."""
    arms = [*system_a_arms(), *map(our_arm, models)]
    timings = measure(arms, png_images(IMAGES), rounds, random.Random(SEED))
    Console(width=WIDTH).print(speed_table(timings, against=FLOAT32))
    if json_path is not None:
        write_section(json_path, "speed", speed_report(timings, against=FLOAT32))


def learning(
    distinct: int,
    json_path: Path | None,
    *,
    passes: int,
    configs: Sequence[Path],
    test: Path | None,
    test_images: int,
    runs: Path,
) -> None:
    """Train all networks, and tell."""
    if test is None:
        raise UserError("--train needs --test: a folder of images that the library drew")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    lesson = Lesson(distinct, passes)
    scores = compare(lesson, runs, configs, test, n=test_images)
    Console(width=WIDTH).print(learning_table(scores, lesson))
    if json_path is not None:
        section = f"after {lesson.seen} images"
        write_section(json_path, section, learning_report(scores, lesson, test))


def system_a_arms() -> list[Arm]:
    """Convert system A's network, with weights at random: they do not change the time."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import keras

    from benchmarks.system_a_network.conversion import to_dynamic_range, to_float32
    from benchmarks.system_a_network.network import build_network

    keras.utils.set_random_seed(SEED)
    network = build_network()
    return [
        system_a_arm(FLOAT32, to_float32(network)),
        system_a_arm(DYNAMIC_RANGE, to_dynamic_range(network)),
    ]


def png_images(n: int) -> list[bytes]:
    """Draw images like release 0.7.1's, as PNG files in colour."""
    files = []
    for index in range(n):
        file = BytesIO()
        draw_sample(CaptchaSet(SEED), index).drawn.image.save(file, format="PNG")
        files.append(file.getvalue())
    return files


if __name__ == "__main__":
    main()

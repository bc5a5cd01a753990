"""System A's network beside ours, in one run; ``--help`` tells more."""

from __future__ import annotations

import os
import random
from io import BytesIO
from pathlib import Path

import click
from rich.console import Console

from benchmarks.system_a_network.report import speed_report, speed_table, write_section
from benchmarks.system_a_network.timing import Arm, measure, our_arm, system_a_arm
from training.captcha.samples import CaptchaSet, draw_sample

FLOAT32 = "system A, float32"
DYNAMIC_RANGE = "system A, dynamic range"
PICTURES = 50
SEED = 1


@click.command()
@click.option("--model", "models", multiple=True, default=("captcha",), show_default=True)
@click.option("--rounds", type=click.IntRange(1), default=40, show_default=True)
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write figures there.")
def main(models: tuple[str, ...], rounds: int, json_path: Path | None) -> None:
    """Time system A's network beside our models (--model, repeated: a shipped name or a file).

    \b
    Example:  python -m benchmarks.system_a_network --model captcha --model captcha-small
    """
    arms = [*system_a_arms(), *map(our_arm, models)]
    timings = measure(arms, png_pictures(PICTURES), rounds, random.Random(SEED))
    Console(width=120).print(speed_table(timings, against=FLOAT32))
    if json_path is not None:
        write_section(json_path, "speed", speed_report(timings, against=FLOAT32))


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


def png_pictures(n: int) -> list[bytes]:
    """Draw pictures like release 0.7.1's, as PNG files in colour."""
    files = []
    for index in range(n):
        file = BytesIO()
        draw_sample(CaptchaSet(SEED), index).drawn.image.save(file, format="PNG")
        files.append(file.getvalue())
    return files


if __name__ == "__main__":
    main()

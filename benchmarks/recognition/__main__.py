"""Time system A's network beside ours, in one run; ``--help`` tells more."""

from __future__ import annotations

import os
import random
from collections.abc import Mapping
from dataclasses import asdict
from io import BytesIO
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from benchmarks.machine import circumstances, write_figures
from benchmarks.recognition.timing import (
    PARTS,
    Arm,
    Part,
    Spread,
    measure,
    our_arm,
    system_a_arm,
    times_faster,
)
from contract.errors import FleetError
from training.captcha.samples import CaptchaSet, draw_sample

FLOAT32 = "system A, float32"  # the form in which it ran, and what all are compared with
DYNAMIC_RANGE = "system A, dynamic range"
PACKAGES = ("ai-edge-litert", "tensorflow", "keras", "numpy", "pillow")
IMAGES = 50
WIDTH = 120
SEED = 1

Timings = Mapping[str, Mapping[Part, list[float]]]


@click.command()
@click.option("--model", "models", multiple=True, default=("captcha",), show_default=True)
@click.option("--rounds", type=click.IntRange(1), default=40, show_default=True)
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write figures there.")
def main(models: tuple[str, ...], rounds: int, json_path: Path | None) -> None:
    """Time system A's network beside our models (--model, repeated: a shipped name or a file).

    \b
    Example:  python -m benchmarks.recognition --model captcha --model captcha-small
    """
    try:
        arms = [*system_a_arms(), *map(our_arm, models)]
    except FleetError as error:
        raise click.ClickException(str(error)) from error
    timings = measure(arms, png_images(IMAGES), rounds=rounds, rng=random.Random(SEED))
    Console(width=WIDTH).print(speed_table(timings))
    if json_path is not None:
        measured = circumstances("benchmarks.recognition", PACKAGES)
        write_figures(json_path, measured | speed_report(timings))


def system_a_arms() -> list[Arm]:
    """Convert system A's network, with weights at random: they do not change the time."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import keras

    from benchmarks.recognition.network import build_network, to_dynamic_range, to_float32

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


def speed_report(timings: Timings) -> dict[str, object]:
    """Put the median and spread of each figure, and of its ratio to system A's, into JSON."""
    slow = timings[FLOAT32]
    return {
        "rounds": len(slow["network"]),
        "ms_an_image": {
            name: {part: asdict(Spread.of(values[part], digits=4)) for part in PARTS}
            for name, values in timings.items()
        },
        "times_faster_than": FLOAT32,
        "times_faster": {
            name: {part: asdict(times_faster(slow[part], values[part])) for part in PARTS}
            for name, values in timings.items()
        },
    }


def speed_table(timings: Timings) -> Table:
    """Lay the same out for a terminal."""
    table = Table(title=f"One thread, one image at a time; times as fast as {FLOAT32}")
    table.add_column("network")
    for head in ("network alone, ms", "times", "PNG to text, ms", "times"):
        table.add_column(head, justify="right")
    for name, values in timings.items():
        cells: list[str] = []
        for part in PARTS:
            times = times_faster(timings[FLOAT32][part], values[part])
            cells.append(f"{Spread.of(values[part], digits=3).median:.3f}")
            cells.append(f"{times.median:.1f} ({times.low:.1f} to {times.high:.1f})")
        table.add_row(name, *cells)
    return table


if __name__ == "__main__":
    main()

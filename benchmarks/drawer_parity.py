"""The project's drawer beside the captcha library: images and readings, release by release.

For each folder of ``training/measuring/draw_with_library.py`` the drawer draws the same texts.
Every measure of the images is compared by a two-sample test, and a model that was trained on
drawn images reads both: its exact match is to be the same.

Example:
    python -m benchmarks.drawer_parity 0.7.1=test-0.7.1 0.3=test-0.3 --json parity.json
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from rich.table import Table

from benchmarks.image_measures import Measures, doubts, measure
from recognition.model_file import load_model
from recognition.recogniser import Recogniser
from training.captcha.drawer import Size, draw_captcha
from training.captcha.presets import find_preset
from training.export import parse_tests
from training.labels_file import read_labels

SIGNIFICANCE = 0.01  # for all measures of a release together (Bonferroni)
MOST_POINTS = 0.3  # of exact match, between the two ways of drawing
KEPT = 500  # images a release, whose measures the tests compare with
BLOCK = 500


@dataclass(frozen=True, slots=True)
class Task:
    """A run of the images of a release, to be drawn again and read."""

    release: str
    folder: Path
    names: tuple[str, ...]
    first: int


@dataclass(frozen=True, slots=True)
class Compared:
    """What a run of images gave: measures, and 1 for each that was read right.

    Attributes:
        library: measures of the library's images.
        drawer: of the drawer's, ``copies`` a text.
        library_right: (n,).
        drawer_right: (n, copies).
    """

    library: Measures
    drawer: Measures
    library_right: NDArray[np.float64]
    drawer_right: NDArray[np.float64]


@click.command()
@click.argument("folders", nargs=-1, required=True, metavar="RELEASE=FOLDER ...")
@click.option("--model", default="captcha", show_default=True, help="Shipped model, or a file.")
@click.option("--copies", default=1, show_default=True, help="Images that we draw a text.")
@click.option("--seed", default=99, show_default=True)
@click.option("--json", "out", type=click.Path(path_type=Path), help="Write the figures here.")
@click.option("--keep", type=click.Path(path_type=Path), help="Write measures for the tests here.")
def main(
    folders: tuple[str, ...],
    model: str,
    copies: int,
    seed: int,
    out: Path | None,
    keep: Path | None,
) -> None:
    """Compare each RELEASE of the library, whose images lie in FOLDER, with the drawer."""
    read = partial(_compare, model=load_model(model).data, copies=copies, seed=seed)
    report: dict[str, Any] = {}
    kept: dict[str, NDArray[np.float16]] = {}
    with get_context("spawn").Pool() as pool:
        for release, folder in parse_tests(folders).items():
            parts = pool.map(read, _tasks(release, folder), chunksize=1)
            compared = _joined(parts)
            report[release] = _figures(compared)
            _print(release, report[release])
            for name, values in compared.library.items():
                kept[f"{release}/{name}"] = values[:KEPT].astype(np.float16)
    if keep is not None:
        np.savez_compressed(keep, allow_pickle=False, **kept)
    if out is not None:
        out.write_text(json.dumps({**_circumstances(model), "releases": report}, indent=1) + "\n")


def _tasks(release: str, folder: Path) -> Iterator[Task]:
    names = list(read_labels(folder))
    for first in range(0, len(names), BLOCK):
        yield Task(release, folder, tuple(names[first : first + BLOCK]), first)


def _compare(task: Task, *, model: bytes, copies: int, seed: int) -> Compared:
    texts = read_labels(task.folder)
    recogniser = Recogniser(model)
    library = np.stack([_grey(Image.open(task.folder / name)) for name in task.names])
    height, width = library.shape[1:]
    preset = find_preset(task.release)
    drawn, drawer_right = [], []
    for index, name in enumerate(task.names, start=task.first):
        rngs = (np.random.default_rng([seed, index, copy]) for copy in range(copies))
        images = [
            draw_captcha(texts[name], rng, preset=preset, size=Size(width, height)).image
            for rng in rngs
        ]
        drawn += [_grey(image) for image in images]
        drawer_right.append([_is_right(recogniser, grey, texts[name]) for grey in drawn[-copies:]])
    right = [_is_right(recogniser, g, texts[n]) for g, n in zip(library, task.names, strict=True)]
    return Compared(
        measure(library), measure(np.stack(drawn)), np.array(right), np.array(drawer_right)
    )


def _grey(image: Image.Image) -> NDArray[np.uint8]:
    return np.asarray(image.convert("L"))


def _is_right(recogniser: Recogniser, grey: NDArray[np.uint8], text: str) -> float:
    return float(recogniser.read([grey[:, :, None]], None)[0].text == text)


def _joined(parts: list[Compared]) -> Compared:
    return Compared(
        {k: np.concatenate([part.library[k] for part in parts]) for k in parts[0].library},
        {k: np.concatenate([part.drawer[k] for part in parts]) for k in parts[0].drawer},
        np.concatenate([part.library_right for part in parts]),
        np.concatenate([part.drawer_right for part in parts]),
    )


def _figures(compared: Compared) -> dict[str, Any]:
    """Sum up a release; the error of the difference is that of pairs of one text."""
    difference = 100 * (compared.drawer_right.mean(axis=1) - compared.library_right)
    found = doubts(compared.library, compared.drawer)
    limit = SIGNIFICANCE / len(found)
    return {
        "images_library": compared.library_right.size,
        "images_drawer": compared.drawer_right.size,
        "exact_match_library": round(float(compared.library_right.mean()), 5),
        "exact_match_drawer": round(float(compared.drawer_right.mean()), 5),
        "points_apart": round(float(difference.mean()), 3),
        "points_standard_error": round(float(difference.std() / np.sqrt(len(difference))), 3),
        "is_within_points": bool(abs(difference.mean()) <= MOST_POINTS),
        "measures": len(found),
        "measures_told_apart": [name for name, p in found.items() if p < limit],
        "p_values": {name: round(p, 5) for name, p in found.items()},
    }


def _print(release: str, figures: dict[str, Any]) -> None:
    table = Table("figure", "value", title=f"release {release}")
    for name, value in figures.items():
        if name != "p_values":
            table.add_row(name, str(value))
    lowest = list(figures["p_values"].items())[:3]
    table.add_row("lowest p", ", ".join(f"{name}: {p}" for name, p in lowest))
    Console().print(table)


def _circumstances(model: str) -> dict[str, Any]:
    return {
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "model": model,
        "significance": SIGNIFICANCE,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Pillow {version('pillow')}",
    }


if __name__ == "__main__":
    main()

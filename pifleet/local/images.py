"""Images for a first try: drawn by the ``captcha`` library, as it is."""

from __future__ import annotations

import csv
import random
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

from contract.errors import UserError
from recognition.charset import CAPTCHA_SYMBOLS

WIDTH_PX, HEIGHT_PX = 128, 64
LONGEST = 6
PART = 25  # images drawn between two steps of the progress bar
PROCESSES = 2


@dataclass(frozen=True, slots=True)
class Image:
    """An image to draw, and what it says."""

    name: str
    text: str


def make_up(count: int, rng: random.Random) -> list[Image]:
    """Make up texts of 1 to 6 of the 49 symbols; lengths and symbols are uniform."""
    return [
        Image(
            name=f"{number:06d}.png",
            text="".join(rng.choices(CAPTCHA_SYMBOLS, k=rng.randint(1, LONGEST))),
        )
        for number in range(count)
    ]


def draw_all(images: list[Image], folder: Path) -> Iterator[int]:
    """Draw images into a folder, and yield how many are done, every now and then.

    Raises:
        UserError: the library is not installed.
    """
    _check_library()
    parts = [images[at : at + PART] for at in range(0, len(images), PART)]
    # Spawned, not forked: whoever calls us may run threads, and a fork would copy their locks.
    with ProcessPoolExecutor(PROCESSES, mp_context=get_context("spawn")) as pool:
        done = 0
        for drawn in pool.map(_draw, parts, [folder] * len(parts)):
            done += drawn
            yield done


def write_truth(images: list[Image], path: Path) -> None:
    """Write what every image says: ``name,text``, as a submission has it."""
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows((p.name, p.text) for p in images)


def _draw(images: list[Image], folder: Path) -> int:
    from captcha.image import ImageCaptcha

    drawer = ImageCaptcha(width=WIDTH_PX, height=HEIGHT_PX)
    for image in images:
        drawer.write(image.text, str(folder / image.name))
    return len(images)


def _check_library() -> None:
    try:
        import captcha.image  # noqa: F401 (only to see whether it is there)
    except ImportError as error:
        raise UserError(f"{error}: pip install 'pifleet[demo]'") from error

"""What decoding an image costs: ours with its checks, beside bare libraries that do the same.

From a file's bytes to grey pixels, CPU of one thread, the libraries in turns. Those that are not
installed are left out: ``pip install opencv-python-headless imagecodecs``.

Example:
    python -m benchmarks.recognition.decoders --json benchmarks/results/decoders.json
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path

import click
import numpy as np
from PIL import Image
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from benchmarks.machine import circumstances, processor_name, write_figures
from benchmarks.recognition.__main__ import png_images
from recognition.card import InputSpec
from recognition.images import open_image

SPEC = InputSpec(height=64, width=128)  # of captcha: a large JPEG needs no more than its sixth part
TURN_S = 0.1
LARGE = (4000, 3000)
PACKAGES = ("pillow", "numpy")
OTHERS = {"cv2": "opencv-python-headless", "imagecodecs": "imagecodecs"}

Decode = Callable[[bytes], object]


def decoders() -> dict[str, Decode]:
    """List those that are installed."""
    found: dict[str, Decode] = {"ours": lambda data: open_image(data, SPEC), "Pillow": _pillow}
    if find_spec("cv2"):
        import cv2

        found["OpenCV"] = lambda data: cv2.imdecode(
            np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE
        )
    if find_spec("imagecodecs"):
        import imagecodecs

        grey = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601, as Pillow
        found["imagecodecs"] = lambda data: imagecodecs.imread(data)[..., :3] @ grey
    return found


def files() -> dict[str, list[bytes]]:
    """Draw the files: captchas in colour, as PNG and JPEG, and a photograph's size of noise."""
    rng = np.random.default_rng(1)
    captchas = png_images(40)
    blocks = rng.integers(0, 255, (LARGE[1] // 20, LARGE[0] // 20, 3), np.uint8)
    large = Image.fromarray(blocks).resize(LARGE, Image.Resampling.BICUBIC)
    return {
        "PNG, captcha": captchas,
        "JPEG, captcha": [_as_jpeg(Image.open(BytesIO(data))) for data in captchas],
        "JPEG, 12 Mpx": [_as_jpeg(large)],
    }


def measure(files: Sequence[bytes], arms: Mapping[str, Decode], rounds: int) -> dict[str, float]:
    """Time the arms in turns; the median microseconds of CPU an image."""
    times: dict[str, list[float]] = {name: [] for name in arms}
    for _ in range(rounds):
        for name in random.sample(list(arms), len(arms)):
            times[name].append(_turn(files, arms[name]))
    return {name: round(statistics.median(values) * 1e6, 1) for name, values in times.items()}


def _turn(files: Sequence[bytes], decode: Decode) -> float:
    done, began = 0, time.process_time()
    while time.process_time() - began < TURN_S:
        for data in files:
            decode(data)
        done += len(files)
    return (time.process_time() - began) / done


def _pillow(data: bytes) -> object:
    with Image.open(BytesIO(data)) as image:
        return np.asarray(image.convert("L"))


def _as_jpeg(image: Image.Image) -> bytes:
    file = BytesIO()
    image.convert("RGB").save(file, format="JPEG", quality=90)
    return file.getvalue()


@click.command()
@click.option("--rounds", type=click.IntRange(1), default=20, show_default=True)
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write figures there.")
def main(rounds: int, json_path: Path | None) -> None:
    """Time the decoders."""
    if find_spec("cv2"):
        import cv2

        cv2.setNumThreads(1)
    arms = decoders()
    found = {kind: measure(some, arms, rounds) for kind, some in files().items()}
    table = Table(title=f"us of CPU an image, {processor_name()}", box=SIMPLE)
    table.add_column("")
    for name in arms:
        table.add_column(name, justify="right")
    for kind, figures in found.items():
        table.add_row(kind, *(f"{figures[name]:,.0f}" for name in arms))
    Console().print(table)
    if json_path is not None:
        installed = [package for module, package in OTHERS.items() if find_spec(module)]
        measured = circumstances("benchmarks.recognition.decoders", (*PACKAGES, *installed))
        write_figures(json_path, measured | {"us_an_image": found})


if __name__ == "__main__":
    main()

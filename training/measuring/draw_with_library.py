"""Draw a labelled test set with the captcha library itself, unmodified, whatever its release.

Stands alone: it needs the captcha package, Pillow and Python 3.9, so that it runs in an environment
made for an old release (``pip install captcha==0.3 pillow==9.5.0``, say), and imports nothing of
this project. Texts follow from the seed. So do the images of releases up to 0.7.0, which draw
from ``random``, whatever the number of processes; 0.7.1 draws from the system's entropy, and the
same seed gives the same texts in other images.

Example:
    python training/measuring/draw_with_library.py -n 10000 -o test-0.7.1
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
from functools import partial
from pathlib import Path

from captcha.image import ImageCaptcha

SYMBOLS = "ABCDeFghijkMnPQRSTUVWXxYZz0123456789#/\\[]:><%{}-+"
PNG_LEVEL = 1
CHUNK = 100  # images between two lines of --progress


def main() -> None:
    """Draw the set that the command line asks for."""
    options = _parse()
    options.out.mkdir(parents=True, exist_ok=True)
    texts = _texts(options)
    starts = range(0, options.n, CHUNK)
    with multiprocessing.get_context("spawn").Pool(min(options.workers, len(starts))) as pool:
        for drawn in pool.imap_unordered(partial(_draw, options, texts), starts):
            if options.progress:
                print(drawn, flush=True)
    lines = [f"{_name(index)}\t{text}\n" for index, text in enumerate(texts)]
    (options.out / "labels.tsv").write_bytes("".join(lines).encode())


def _texts(options: argparse.Namespace) -> list[str]:
    rng = random.Random(options.seed)
    texts = []
    for _ in range(options.n):
        length = rng.randint(options.min_length, options.max_length)
        texts.append("".join(rng.choice(options.symbols) for _ in range(length)))
    return texts


def _draw(options: argparse.Namespace, texts: list[str], start: int) -> int:
    library = ImageCaptcha(width=options.width, height=options.height)
    chosen = texts[start : start + CHUNK]
    for index, text in enumerate(chosen, start):
        random.seed(f"{options.seed} {index}")  # an image does not depend on who draws it
        image = library.generate_image(text)
        image.save(options.out / _name(index), compress_level=PNG_LEVEL)
    return len(chosen)


def _name(index: int) -> str:
    return f"{index:06d}.png"


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-n", type=int, default=1_000, help="images to draw")
    parser.add_argument("-o", "--out", type=Path, required=True, help="folder to write to")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--symbols", default=SYMBOLS)
    parser.add_argument("--min-length", type=int, default=1)
    parser.add_argument("--max-length", type=int, default=6)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--height", type=int, default=64)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes")
    parser.add_argument("--progress", action="store_true", help="write a count for every chunk")
    return parser.parse_args()


if __name__ == "__main__":
    main()

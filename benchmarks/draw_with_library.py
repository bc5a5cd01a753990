"""Draw a labelled test set with the captcha library itself, unmodified, whatever its release.

Stands alone: it needs the captcha package, Pillow and Python 3.9, so that it runs in an environment
made for an old release (``pip install captcha==0.3 pillow==9.5.0``, say). Releases up to 0.7.0 are
seeded through ``random``; 0.7.1 draws from the system's entropy, and only its texts are seeded.

Example:
    python benchmarks/draw_with_library.py -n 10000 -o test-0.7.1
"""

from __future__ import annotations

import argparse
import random
from pathlib import Path

from captcha.image import ImageCaptcha

SYMBOLS = "ABCDeFghijkMnPQRSTUVWXxYZz0123456789#/\\[]:><%{}-+"
PNG_LEVEL = 1


def main() -> None:
    """Draw the set that the command line asks for."""
    options = _parse()
    options.out.mkdir(parents=True, exist_ok=True)
    texts_rng = random.Random(options.seed)
    random.seed(options.seed + 1)
    library = ImageCaptcha(width=options.width, height=options.height)
    lines = []
    for index in range(options.n):
        length = texts_rng.randint(options.min_length, options.max_length)
        text = "".join(texts_rng.choice(options.symbols) for _ in range(length))
        name = f"{index:06d}.png"
        library.generate_image(text).save(options.out / name, compress_level=PNG_LEVEL)
        lines.append(f"{name}\t{text}\n")
    (options.out / "labels.tsv").write_bytes("".join(lines).encode())


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
    return parser.parse_args()


if __name__ == "__main__":
    main()

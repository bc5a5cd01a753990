"""Replay given random numbers through the captcha library, of whatever release is installed.

``python tests/support/captcha_replay.py tests/data FONT`` writes what that release draws; it ran
once in an environment of each old release. It needs the captcha package and Python 3.9.
FONT is matplotlib's DejaVuSans-Oblique.ttf, whose glyphs reach out to the left of their origins.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from PIL import Image

TEXTS = ("A", "Zz-", "e:X/\\", "#%g[]{")
ITALIC_TEXT, ITALIC_NUMBERS = "Wj/y", 7
NUMBERS = 400  # more than the longest text takes


def numbers_for(index: int, count: int = NUMBERS) -> list[float]:
    """Read the numbers of one image: multiples of 2**-32 in [0, 1)."""
    rng = random.Random(index)
    return [rng.getrandbits(32) * 2.0**-32 for _ in range(count)]


class Replay:
    """Stands in for ``random`` and for ``secrets`` inside the library."""

    def __init__(self, numbers: list[float]) -> None:
        self._numbers = iter(numbers)

    def random(self) -> float:
        """As random.random."""
        return next(self._numbers)

    def uniform(self, low: float, high: float) -> float:
        """As random.uniform."""
        return low + (high - low) * next(self._numbers)

    def randint(self, low: int, high: int) -> int:
        """As random.randint; downwards from 0, as the overlap of glyphs is drawn in 0.7.1."""
        if high == 0:
            return -self.randbelow(1 - low)
        return low + self.randbelow(high - low + 1)

    def choice(self, items: Sequence[Any]) -> Any:
        """As random.choice and secrets.choice."""
        return items[self.randbelow(len(items))]

    def randbelow(self, bound: int) -> int:
        """As secrets.randbelow."""
        return int(next(self._numbers) * bound)

    def randbits(self, bits: int) -> int:
        """As secrets.randbits."""
        return int(next(self._numbers) * 2**bits)


def draw_by_library(
    library: ModuleType, text: str, numbers: list[float], **options: Any
) -> Image.Image:
    """Let the library draw an image from given numbers: 128x64, unless ``options`` say else."""
    name = "secrets" if hasattr(library, "secrets") else "random"
    own = getattr(library, name)
    setattr(library, name, Replay(numbers))
    try:
        drawer = library.ImageCaptcha(**{"width": 128, "height": 64, **options})
        image: Image.Image = drawer.generate_image(text)
    finally:
        setattr(library, name, own)
    return image


def main() -> None:
    """Write the images of the installed release."""
    import captcha.image

    release, folder = captcha.__version__, Path(sys.argv[1])
    for index, text in enumerate(TEXTS):
        image = draw_by_library(captcha.image, text, numbers_for(index))
        image.save(folder / f"captcha-{release}-{index}.png", optimize=True)
    numbers = numbers_for(ITALIC_NUMBERS)
    image = draw_by_library(captcha.image, ITALIC_TEXT, numbers, fonts=[sys.argv[2]])
    image.save(folder / f"captcha-{release}-italic.png", optimize=True)


if __name__ == "__main__":
    main()

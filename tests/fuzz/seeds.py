"""Write the seeds of the corpus: ``python -m tests.fuzz.seeds``; one of each kind we read."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

CORPUS = Path(__file__).parent / "corpus"
MODES = {
    "PNG": ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"),
    "JPEG": ("L", "RGB", "CMYK"),
    "GIF": ("P",),
    "BMP": ("1", "L", "P", "RGB"),
    "WEBP": ("RGB", "RGBA"),
    "PPM": ("1", "L", "RGB"),
    "TIFF": ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "I;16", "F"),
}
OPTIONS: dict[str, tuple[dict[str, object], ...]] = {
    "PNG": ({}, {"interlace": 1}),
    "JPEG": ({}, {"progressive": True}),
    "WEBP": ({}, {"lossless": True}),
    "TIFF": ({}, {"compression": "tiff_lzw"}, {"compression": "tiff_deflate"}),
}
ANIMATED = ("GIF", "PNG", "WEBP", "TIFF")


def main() -> None:
    """Write each under its SHA-1, as the fuzzer names what it finds."""
    CORPUS.mkdir(exist_ok=True)
    for data in seeds():
        (CORPUS / hashlib.sha1(data).hexdigest()).write_bytes(data)


def seeds() -> Iterator[bytes]:
    """Yield a small file of every format, mode and variant."""
    for file_format, modes in MODES.items():
        for mode in modes:
            for options in OPTIONS.get(file_format, ({},)):
                yield _saved(_image(mode), file_format, options)
    for file_format in ANIMATED:
        frames = {"save_all": True, "append_images": [_image("L").rotate(180)]}
        yield _saved(_image("L"), file_format, frames)


def _image(mode: str) -> Image.Image:
    """Draw a ramp of greys with a dark bar, 16x8."""
    pixels = np.tile(np.arange(0, 256, 16, dtype=np.uint8), (8, 1))
    pixels[2:5, 4:9] = 0
    if mode == "I;16":
        return Image.fromarray(pixels.astype(np.uint16) * 257)
    return Image.fromarray(pixels).convert(mode)


def _saved(image: Image.Image, file_format: str, options: dict[str, object]) -> bytes:
    file = BytesIO()
    image.save(file, file_format, **options)
    return file.getvalue()


if __name__ == "__main__":
    main()

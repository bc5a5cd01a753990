"""The short way into a PNG gives what the long one does, or leaves the file to it."""

from __future__ import annotations

import random
import struct
import warnings
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from recognition.images import DECODER_FAULTS
from recognition.plain_png import MOST_BYTES, MOST_SIDE_PX, open_plain_png
from tests.support.costly_images import chunk


def drawing(mode: str, size: tuple[int, int] = (37, 21)) -> Image.Image:
    rng = np.random.default_rng(7)
    image = Image.fromarray(rng.integers(0, 256, (size[1], size[0], 4), np.uint8), "RGBA")
    return image.convert(mode)


def png(image: Image.Image, **options: object) -> bytes:
    file = BytesIO()
    image.save(file, format="PNG", **options)
    return file.getvalue()


def with_chunk(data: bytes, kind: bytes, content: bytes) -> bytes:
    """Put a chunk behind the head."""
    return data[:33] + chunk(kind, content) + data[33:]


def in_parts(data: bytes, size: int) -> bytes:
    """Split the rows into chunks of a size, as libpng writes those of large images."""
    start = data.index(b"IDAT") - 4
    length = struct.unpack_from(">I", data, start)[0]
    rows = data[start + 8 : start + 8 + length]
    parts = (chunk(b"IDAT", rows[at : at + size]) for at in range(0, length, size))
    return data[:start] + b"".join(parts) + data[start + 12 + length :]


def opened_by_pillow(data: bytes) -> np.ndarray | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image = Image.open(BytesIO(data), formats=("PNG",))
            image.load()
            return np.asarray(image)
    except DECODER_FAULTS:
        return None


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
@pytest.mark.parametrize("part", [None, 500, 2_000])
def test_plain_file_has_the_pixels_that_were_drawn(mode: str, part: int | None) -> None:
    image = drawing(mode)
    data = png(image) if part is None else in_parts(png(image), part)
    plain = open_plain_png(data)
    assert plain is not None
    assert plain.mode == mode
    assert np.array_equal(np.asarray(plain), np.asarray(image))


OTHERS = {
    "a palette": png(drawing("RGB").convert("P")),
    "two colours": png(drawing("RGB").convert("1")),
    "sixteen bits": png(Image.fromarray(np.arange(64, dtype=np.uint16).reshape(8, 8))),
    "a transparent grey": with_chunk(png(drawing("L")), b"tRNS", b"\0\7"),
    "a camera's notes": png(drawing("L"), exif=b"Exif\0\0II*\0\x08\0\0\0\0\0"),
    "a comment": with_chunk(png(drawing("L")), b"tEXt", b"Comment\0none"),
    "frames": png(drawing("L"), save_all=True, append_images=[Image.new("L", (37, 21))]),
    "a long side": png(Image.new("L", (MOST_SIDE_PX + 1, 1))),
    "many bytes": png(drawing("RGB", (200, 200))),
    "many chunks": in_parts(png(drawing("RGB")), 50),
    "no end": png(drawing("L"))[:-12],
    "half its rows": png(drawing("L"))[:300],
    "a head alone": png(drawing("L"))[:33],
    "half a head": png(drawing("L"))[:20],
    "a JPEG": b"\xff\xd8\xff",
    "nothing": b"",
}


@pytest.mark.parametrize("name", OTHERS)
def test_any_other_file_is_left_to_pillow(name: str) -> None:
    assert open_plain_png(OTHERS[name]) is None


def test_the_examples_are_what_they_are_called() -> None:
    assert len(OTHERS["many bytes"]) > MOST_BYTES
    whole = ("a palette", "frames", "a transparent grey", "many bytes", "many chunks", "a comment")
    assert all(opened_by_pillow(OTHERS[name]) is not None for name in whole)


def test_what_is_damaged_is_never_read_otherwise() -> None:
    rng = random.Random(1)
    sound = in_parts(png(drawing("RGB", (16, 9))), 300)
    opened = 0
    for _ in range(4_000):
        data = bytearray(sound)
        for _ in range(rng.choice((1, 1, 1, 2, 5))):
            at = rng.randrange(8, len(data))
            cut = at + (rng.randrange(5) if rng.random() < 0.3 else 1)
            data[at:cut] = rng.randbytes(rng.randrange(1, 4) if cut != at + 1 else 1)
        plain = open_plain_png(bytes(data))
        if plain is not None:
            opened += 1
            pillows = opened_by_pillow(bytes(data))
            assert pillows is not None
            assert np.array_equal(np.asarray(plain), pillows)
    assert opened > 10  # nobody looks at the checksum of the rows

"""What is fuzzed: bytes to pixels to a row, where an ``ImageError`` is all that may go wrong."""

from __future__ import annotations

import zlib
from contextlib import suppress

import numpy as np

from contract.errors import ImageError
from recognition.card import InputSpec
from recognition.images import MAX_PIXELS, open_image, to_tensor
from recognition.recogniser import Recogniser
from tests.support.make_tiny_model import TINY_MODEL

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
KEPT = InputSpec(height=32, width=160, fit="keep_aspect")
CHARACTER = InputSpec(height=28, width=28, fit="character")


class Reader:
    """The way of an image through a worker, without what catches a bug's exception there."""

    def __init__(self) -> None:
        self._recogniser = Recogniser(TINY_MODEL.read_bytes())

    def read_twice(self, data: bytes) -> None:
        """Read bytes as they are, and a PNG with its checksums mended too.

        A changed PNG has a wrong checksum, and is refused before anything of interest happens.
        """
        self.read(data)
        if data.startswith(PNG_SIGNATURE):
            self.read(mend_checksums(data))

    def read(self, data: bytes) -> str:
        """Return the text, or the reason why there is none; any other exception is a finding."""
        try:
            image = open_image(data)
        except ImageError as error:
            return str(error.reason)
        assert image.mode == "L", image.mode
        assert 0 < image.width * image.height <= MAX_PIXELS, image.size
        kept = to_tensor(image, KEPT)
        assert kept.shape[0] == KEPT.height, kept.shape
        assert KEPT.width <= kept.shape[1] <= KEPT.max_width, kept.shape
        with suppress(ImageError):  # nothing is drawn on it
            assert to_tensor(image, CHARACTER).shape == (28, 28, 1)
        tensor = to_tensor(image, self._recogniser.card.input)
        assert tensor.dtype == np.uint8
        (reading,) = self._recogniser.read([tensor], None)
        assert 0.0 <= reading.confidence <= 1.0, reading
        return reading.text


def mend_checksums(png: bytes) -> bytes:
    """Return a PNG whose chunks all have the right CRC, as far as its lengths can be followed."""
    mended = bytearray(png)
    place = len(PNG_SIGNATURE)
    while place + 12 <= len(png):
        end = place + 8 + int.from_bytes(png[place : place + 4])
        if end + 4 > len(png):
            break
        mended[end : end + 4] = zlib.crc32(png[place + 4 : end]).to_bytes(4)
        place = end + 4
    return bytes(mended)

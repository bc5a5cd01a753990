"""From an image to a text as system A did it: RGB in [0, 1], a class a head, spaces cut off."""

from __future__ import annotations

from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.system_a_network.network import HEADS, HEIGHT_PX, WIDTH_PX
from recognition.charset import CAPTCHA_SYMBOLS
from recognition.decoding import FloatArray
from recognition.interpreter import load_interpreter

PADDING = " "
SYMBOLS = CAPTCHA_SYMBOLS + PADDING  # class i is SYMBOLS[i]


class SystemAReader:
    """One of the converted networks, on one thread."""

    def __init__(self, model: bytes) -> None:
        self._interpreter = load_interpreter(model)
        self._input = self._interpreter.get_input_details()[0]["index"]
        self._output = self._interpreter.get_output_details()[0]["index"]

    def read(self, data: bytes) -> str:
        """Read one image's bytes."""
        return decode(self.probabilities(decode_image(data)))[0]

    def probabilities(self, image: NDArray[np.uint8]) -> FloatArray:
        """Run the network on one image, (h, w, 3) uint8: (1, heads, classes) float32."""
        self._interpreter.set_tensor(self._input, to_pixels(image[None]))  # type: ignore[arg-type]
        self._interpreter.invoke()
        found: FloatArray = self._interpreter.get_tensor(self._output)
        return found


def decode_image(data: bytes) -> NDArray[np.uint8]:
    """Decode a file to (64, 128, 3) uint8 RGB."""
    with Image.open(BytesIO(data)) as image:
        colours = image.convert("RGB")
    if colours.size != (WIDTH_PX, HEIGHT_PX):
        colours = colours.resize((WIDTH_PX, HEIGHT_PX), Image.Resampling.BILINEAR)
    return np.asarray(colours)


def to_pixels(images: NDArray[np.uint8]) -> FloatArray:
    """Turn RGB images (n, h, w, 3) into the network's input, float32 in [0, 1]."""
    return images.astype(np.float32) / np.float32(255)


def encode(texts: list[str]) -> NDArray[np.int32]:
    """Give the classes of texts, padded with spaces: (n, heads) int32."""
    rows = [[SYMBOLS.index(symbol) for symbol in text.ljust(HEADS, PADDING)] for text in texts]
    return np.array(rows, dtype=np.int32)


def decode(probabilities: FloatArray) -> list[str]:
    """Take each head's likeliest class, (n, heads, classes), and leave the spaces out."""
    return [
        "".join(SYMBOLS[c] for c in row).replace(PADDING, "")
        for row in probabilities.argmax(axis=2).tolist()
    ]

"""Make ``tests/data/tiny.tflite``: python -m tests.support.make_tiny_model (needs TensorFlow).

Its weights are set by hand, not learned: it measures the grey of the upper and lower half of each
frame, and gives the class whose pair of greys it is (see ``tests/support/stripes.py``). So a test
knows what must be read in every image, and the file is a few kB.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recognition.card import Golden, InputSpec, ModelCard, append_card
from recognition.charset import CAPTCHA_SYMBOLS
from tests.support.stripes import FRAME_PX, GREYS, HEIGHT_PX, LEVELS, WIDTH_PX, draw, pair_of, png

TINY_MODEL = Path(__file__).parents[1] / "data" / "tiny.tflite"
GOLDEN_TEXTS = ("ABCDeF", "0123456789", "#/\\[]:><%{", "z", "}-+")
CLASSES = len(CAPTCHA_SYMBOLS) + 1
GAIN = 10.0  # logit of one half that fits; a class needs both


def main() -> None:
    """Build, convert, add the card and write the file."""
    card = ModelCard(
        name="tiny",
        symbols=CAPTCHA_SYMBOLS,
        decoder="ctc",
        input=InputSpec(height=HEIGHT_PX, width=WIDTH_PX),
        provenance={"made by": "tests/support/make_tiny_model.py"},
        golden=tuple(
            Golden(file=f"{number}.png", text=text) for number, text in enumerate(GOLDEN_TEXTS)
        ),
    )
    files = {golden.file: png(golden.text) for golden in card.golden}
    TINY_MODEL.parent.mkdir(exist_ok=True)
    TINY_MODEL.write_bytes(append_card(convert(build()), card, files))


def build() -> Any:
    """Build the Keras model: (n, 64, 128, 1) greys of 0 to 255 to (n, 1, 32, 50) logits."""
    import keras

    image = keras.Input((HEIGHT_PX, WIDTH_PX, 1))
    halves = keras.layers.AveragePooling2D((HEIGHT_PX // 2, FRAME_PX))(image)
    distances = keras.layers.Conv2D(4 * LEVELS, (2, 1), activation="relu", name="distances")(halves)
    fits = keras.layers.Conv2D(2 * LEVELS, 1, activation="relu", name="fits")(distances)
    logits = keras.layers.Conv2D(CLASSES, 1, name="logits")(fits)
    model = keras.Model(image, logits)
    model.get_layer("distances").set_weights(_distance_weights())
    model.get_layer("fits").set_weights(_fit_weights())
    model.get_layer("logits").set_weights(_logit_weights())
    return model


def convert(model: Any) -> bytes:
    """Quantise to int8 with uint8 pixels in, built-in operators only."""
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = _samples
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = tf.uint8
    converter.inference_output_type = tf.int8
    converted: bytes = converter.convert()
    return converted


def _samples() -> Iterator[list[NDArray[np.float32]]]:
    for text in GOLDEN_TEXTS:
        yield [np.asarray(draw(text), dtype=np.float32)[None, :, :, None]]


def _distance_weights() -> list[NDArray[np.float32]]:
    """relu(x - c) and relu(c - x) for each half and each of the eight greys c."""
    kernel = np.zeros((2, 1, 1, 4 * LEVELS), np.float32)
    bias = np.zeros(4 * LEVELS, np.float32)
    for half in range(2):
        for level, grey in enumerate(GREYS):
            above = 2 * (half * LEVELS + level)
            kernel[half, 0, 0, above], bias[above] = 1 / 255, -grey / 255
            kernel[half, 0, 0, above + 1], bias[above + 1] = -1 / 255, grey / 255
    return [kernel, bias]


def _fit_weights() -> list[NDArray[np.float32]]:
    """1 where a half has exactly this grey, falling to 0 at the next one."""
    kernel = np.zeros((1, 1, 4 * LEVELS, 2 * LEVELS), np.float32)
    for fit in range(2 * LEVELS):
        kernel[0, 0, 2 * fit : 2 * fit + 2, fit] = -(LEVELS - 1)
    return [kernel, np.ones(2 * LEVELS, np.float32)]


def _logit_weights() -> list[NDArray[np.float32]]:
    kernel = np.zeros((1, 1, 2 * LEVELS, CLASSES), np.float32)
    for symbol_class in range(CLASSES):
        upper, lower = pair_of(symbol_class)
        kernel[0, 0, upper, symbol_class] = GAIN
        kernel[0, 0, LEVELS + lower, symbol_class] = GAIN
    return [kernel, np.zeros(CLASSES, np.float32)]


if __name__ == "__main__":
    main()

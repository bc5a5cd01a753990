"""Read images with a Keras network, through the same decoder as the workers."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from recognition.charset import Charset
from recognition.decoding import Decoder, FloatArray
from training.captcha.batches import to_pixels
from training.packed_set import PackedSet
from training.prediction import predict


def network_logits(network: Any, images: NDArray[np.uint8]) -> FloatArray:
    """Run a network over grey images (n, h, w): logits (n, t, k) float32."""
    return predict(network, images, to_pixels)[:, 0]


def read_texts(network: Any, images: NDArray[np.uint8], charset: Charset) -> list[str]:
    """Read grey images (n, h, w)."""
    readings = Decoder("ctc", charset).read(network_logits(network, images))
    return [reading.text for reading in readings]


def exact_match(network: Any, packed: PackedSet) -> float:
    """Give the share of a set's images that are read without an error."""
    texts = read_texts(network, packed.images, packed.charset)
    right = sum(text == packed.text(index) for index, text in enumerate(texts))
    return right / len(packed)

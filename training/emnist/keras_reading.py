"""Read characters with a Keras network."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from recognition.decoding import FloatArray
from training.emnist.characters import Characters
from training.emnist.network import to_pixels
from training.prediction import predict


def network_logits(network: Any, images: NDArray[np.uint8]) -> FloatArray:
    """Run a network over images (n, 28, 28): logits (n, 1, classes) float32."""
    return predict(network, images, to_pixels).reshape(len(images), 1, -1)


def exact_match(network: Any, characters: Characters) -> float:
    """Give the share of characters that are read right."""
    read = network_logits(network, characters.images)[:, 0].argmax(axis=1)
    return float((read == characters.labels).mean())

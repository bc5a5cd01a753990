"""Run a Keras network over images, in batches that a small machine holds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recognition.decoding import FloatArray

BATCH = 256


def predict(
    network: Any,
    images: NDArray[np.uint8],
    to_pixels: Callable[[NDArray[np.uint8]], NDArray[np.float32]],
) -> FloatArray:
    """Give what a network writes for grey images (n, h, w): (n, …) float32."""
    parts = [
        np.asarray(network.predict_on_batch(to_pixels(images[i : i + BATCH])), dtype=np.float32)
        for i in range(0, len(images), BATCH)
    ]
    return np.concatenate(parts)

"""A moving average of a model's weights: what is measured and exported.

It is kept outside the optimiser because Keras averages trainable weights alone; the statistics of
batch normalisation have to belong to the weights that they are used with.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Weights = list[NDArray[np.float32]]

EVERY_STEPS = 8  # an update copies all weights, 3 ms; every step it would cost 2 % of the run


class WeightAverage:
    """An exponential moving average that forgets its start."""

    def __init__(self, weights: Weights, *, momentum: float, updates: int = 0) -> None:
        """Start from given weights; ``momentum`` is that of one step."""
        self.weights = [weight.copy() for weight in weights]
        self.updates = updates
        self._momentum = momentum**EVERY_STEPS

    def update(self, weights: Weights) -> None:
        """Take one more set of weights in; a short history weighs its latest more."""
        self.updates += 1
        momentum = min(self._momentum, (1 + self.updates) / (10 + self.updates))
        for average, weight in zip(self.weights, weights, strict=True):
            average *= momentum
            average += (1.0 - momentum) * weight


def weights_of(model: Any) -> Weights:
    """Copy a model's weights, in Keras's order."""
    return [np.array(weight, dtype=np.float32) for weight in model.get_weights()]

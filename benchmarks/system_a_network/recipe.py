"""How system A's network learnt: Adam at a learning rate that stands still, six cross-entropies."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

LEARNING_RATE = 1e-3
BATCH = 32


class SteadyAdam(keras.optimizers.Adam):  # type: ignore[misc]  # keras ships no types
    """Adam as system A had it: the rising and falling rate that our loop sets is not for it."""

    @property
    def learning_rate(self) -> Any:
        """Give the rate that it was made with."""
        return self._get_current_learning_rate()

    @learning_rate.setter
    def learning_rate(self, value: float) -> None:
        """Leave it as it is."""


def compile_as_system_a(network: Any) -> Any:
    """Give the network its loss, over targets (n, 6) of classes, and its optimiser."""
    network.compile(optimizer=SteadyAdam(LEARNING_RATE), loss=_summed, jit_compile=False)
    return network


def _summed(classes: Any, probabilities: Any) -> Any:
    """Add the heads' losses, as Keras does with six outputs."""
    return ops.sum(keras.losses.sparse_categorical_crossentropy(classes, probabilities), axis=-1)

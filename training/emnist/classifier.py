"""The network with its loss: cross-entropy with target probabilities, weighed by class."""

from __future__ import annotations

from typing import Any

import keras

from training.config import ScheduleConfig


def compile_for_training(network: Any, schedule: ScheduleConfig) -> Any:
    """Give a network its loss and optimiser; the learning rate is set step by step.

    The weights are the network's own, in its order, so that they can be put back into it.
    """
    scores = keras.layers.Flatten(dtype="float32")(network.outputs[0])
    model = keras.Model(network.inputs, scores)
    optimizer = keras.optimizers.AdamW(
        schedule.learning_rate, weight_decay=schedule.weight_decay, global_clipnorm=5.0
    )
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    loss = keras.losses.CategoricalCrossentropy(from_logits=True)
    # XLA halves the speed of TensorFlow on a CPU; JAX needs its jit
    is_jitted = keras.backend.backend() == "jax"
    model.compile(optimizer=optimizer, loss=loss, jit_compile=is_jitted)
    return model

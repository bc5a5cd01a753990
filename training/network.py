"""What the networks of all recognisers share: normalisation, optimiser, and reading with Keras."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from recognition.decoding import FloatArray
from training.schedule import ScheduleConfig

ToPixels = Callable[[NDArray[np.uint8]], NDArray[np.float32]]

BATCH = 256  # images that are read at a time


class BatchNormalisation(keras.layers.BatchNormalization):  # type: ignore[misc]  # no types
    """Keras's layer, of channels-last images, in one operation where TensorFlow trains on a CPU.

    Keras takes mean, variance and the scaling one after the other, in float32. TensorFlow's own
    fused operation stays in bfloat16: a step of the EMNIST network took 0.61 ms of CPU an image
    instead of 0.94 (one core of Zen 5 with avx512_bf16, batches of 256). What is learnt is the
    same; elsewhere, and when a network reads, Keras's own is used.
    """

    def call(self, x: Any, training: bool | None = None, mask: Any = None) -> Any:
        """Normalise with the statistics of the batch, and keep their moving averages."""
        if not training or keras.backend.backend() != "tensorflow":
            return super().call(x, training=training, mask=mask)
        import tensorflow as tf

        y, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=x,
            scale=tf.cast(self.gamma.value, "float32"),
            offset=tf.cast(self.beta.value, "float32"),
            mean=[],
            variance=[],
            epsilon=self.epsilon,
        )
        self._keep(self.moving_mean, mean)
        self._keep(self.moving_variance, variance)
        return y

    def _keep(self, moving: Any, found: Any) -> None:
        moving.assign(moving * self.momentum + found * (1.0 - self.momentum))


def compile_network(model: Any, schedule: ScheduleConfig, *, loss: Any = None) -> None:
    """Set a model's optimiser and loss; the learning rate is set step by step.

    Args:
        model: a Keras model.
        schedule: of the run.
        loss: a Keras loss; None where the model computes its own.
    """
    optimizer = keras.optimizers.AdamW(
        schedule.learning_rate, weight_decay=schedule.weight_decay, global_clipnorm=5.0
    )
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    # XLA halves the speed of TensorFlow on a CPU (257 against 556 images/s); JAX needs its jit
    is_jitted = keras.backend.backend() == "jax"
    model.compile(optimizer=optimizer, loss=loss, jit_compile=is_jitted)


def predict(network: Any, images: NDArray[np.uint8], to_pixels: ToPixels) -> FloatArray:
    """Run a network over grey images (n, h, w), in batches that a small machine holds.

    Returns:
        What it writes: (n, ...) float32.
    """
    parts = [
        np.asarray(network.predict_on_batch(to_pixels(images[i : i + BATCH])), dtype=np.float32)
        for i in range(0, len(images), BATCH)
    ]
    return np.concatenate(parts)


def predict_each(
    network: Any, images: Iterable[NDArray[np.uint8]], to_pixels: ToPixels
) -> list[FloatArray]:
    """Run a network over grey images (h, w) of any widths, those of one width together.

    Returns:
        What it writes of each: (t, k) float32.
    """
    alike: dict[tuple[int, ...], dict[int, NDArray[np.uint8]]] = {}
    for place, image in enumerate(images):
        alike.setdefault(image.shape, {})[place] = image
    found: dict[int, FloatArray] = {}
    for of_shape in alike.values():
        logits = predict(network, np.stack(list(of_shape.values())), to_pixels)
        found.update(zip(of_shape, logits[:, 0], strict=True))
    return [found[place] for place in range(len(found))]

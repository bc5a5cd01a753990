"""From a trained Keras network to an int8 TFLite flatbuffer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

ToPixels = Callable[[NDArray[np.uint8]], NDArray[np.float32]]


@dataclass(frozen=True, slots=True)
class Converted:
    """The same network twice: float32 in and out, and uint8 in with int8 logits out."""

    float32: bytes
    int8: bytes


def convert(network: Any, representative: NDArray[np.uint8], to_pixels: ToPixels) -> Converted:
    """Convert a network, for one image at its own width; the runtime can resize both.

    Args:
        network: of images (n, h, w, 1), in float32, on the TensorFlow backend.
        representative: (n, h, w) grey images of the training distribution.
        to_pixels: turns them into the network's input.
    """
    import tensorflow as tf

    with TemporaryDirectory() as folder:
        _save(network, folder)
        plain = tf.lite.TFLiteConverter.from_saved_model(folder).convert()
        small = tf.lite.TFLiteConverter.from_saved_model(folder)
        small.optimizations = [tf.lite.Optimize.DEFAULT]
        small.representative_dataset = lambda: _calibration(representative, to_pixels)
        small.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        small.inference_input_type = tf.uint8
        small.inference_output_type = tf.int8
        return Converted(float32=plain, int8=small.convert())


def _save(network: Any, folder: str) -> None:
    """Write a SavedModel for one image: with an open batch the graph would compute its shapes."""
    import tensorflow as tf

    _, height, width, channels = network.inputs[0].shape
    signature = [tf.TensorSpec((1, height, width, channels), tf.float32, name="pixels")]
    module = tf.Module()
    module.weights = [weight.value for weight in network.weights]
    module.serve = tf.function(lambda x: network(x, training=False), input_signature=signature)
    tf.saved_model.save(module, folder, signatures=module.serve)


def _calibration(
    representative: NDArray[np.uint8], to_pixels: ToPixels
) -> Iterator[list[NDArray[np.float32]]]:
    """Give the images one by one, with a black and a white pixel in the first.

    These fix the input's scale at 1/255, so that a uint8 image is taken as it is.
    """
    images = representative.copy()
    images[0, 0, :2] = 0, 255
    for image in to_pixels(images):
        yield [image[None]]

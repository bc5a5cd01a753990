"""System A's network, as a TFLite file.

Ten 3x3 convolutions, a pooling after each pair, six heads of 50 classes.
What is known of it fixes the rest: with "same" padding and five poolings, from 64x128 to 2x4, it
has the 2.97 M parameters (2,973,004) and the 460 M multiply-adds (460,677,120) of system A's.

Source: github.com/ypwhs/captcha_break, cnn_2019.ipynb, where this plan comes from, with four heads
of 36 classes.
"""

from __future__ import annotations

import math
from typing import Any

HEIGHT_PX = 64
WIDTH_PX = 128
BLOCKS = (32, 64, 128, 256, 256)  # channels of the two convolutions before each pooling
HEADS = 6  # the longest text; shorter ones are padded with spaces
CLASSES = 50  # 49 symbols and the space


def build_network() -> Any:
    """Build the graph: (n, 64, 128, 3) float32 RGB in [0, 1] to (n, 6, 50) float32 softmax.

    System A had six outputs; they are stacked here, so that no runtime can mix up their order.
    """
    import keras
    from keras import layers, ops

    pixels = keras.Input((HEIGHT_PX, WIDTH_PX, 3), name="pixels")
    x = pixels
    for channels in BLOCKS:
        for _ in range(2):
            x = layers.Conv2D(channels, 3, padding="same", kernel_initializer="he_uniform")(x)
            x = layers.ReLU()(layers.BatchNormalization()(x))
        x = layers.MaxPooling2D(2)(x)
    x = layers.Flatten()(x)
    heads = [
        layers.Dense(CLASSES, activation="softmax", dtype="float32", name=f"symbol_{number}")(x)
        for number in range(1, HEADS + 1)
    ]
    return keras.Model(pixels, ops.stack(heads, axis=1), name="system_a")


def to_float32(network: Any) -> bytes:
    """Convert as system A did."""
    converted: bytes = _converter(network).convert()
    return converted


def to_dynamic_range(network: Any) -> bytes:
    """Keep the weights in int8, and quantise each image's values as they come."""
    import tensorflow as tf

    converter = _converter(network)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converted: bytes = converter.convert()
    return converted


def multiply_adds(network: Any) -> int:
    """Count the multiplications of one image: a kernel's size at each place it is laid on."""
    return sum(
        math.prod(layer.output.shape[1:-1]) * math.prod(layer.kernel.shape)
        for layer in network.layers
        if hasattr(layer, "kernel")
    )


def _converter(network: Any) -> Any:
    """Take the network for one image: with an open batch the graph would compute its shapes."""
    import tensorflow as tf

    pixels = tf.TensorSpec((1, HEIGHT_PX, WIDTH_PX, 3), tf.float32, name="pixels")
    module = tf.Module()
    module.weights = [weight.value for weight in network.weights]  # else they are left out
    serve = tf.function(lambda x: network(x, training=False), input_signature=[pixels])
    return tf.lite.TFLiteConverter.from_concrete_functions([serve.get_concrete_function()], module)

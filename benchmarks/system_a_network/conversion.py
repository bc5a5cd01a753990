"""System A's network as TFLite files: float32, as it was run, and with weights of 8 bits."""

from __future__ import annotations

from typing import Any

from benchmarks.system_a_network.network import HEIGHT_PX, WIDTH_PX


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


def _converter(network: Any) -> Any:
    """Take the network for one image: with an open batch the graph would compute its shapes."""
    import tensorflow as tf

    pixels = tf.TensorSpec((1, HEIGHT_PX, WIDTH_PX, 3), tf.float32, name="pixels")
    module = tf.Module()
    module.weights = [weight.value for weight in network.weights]  # else they are left out
    serve = tf.function(lambda x: network(x, training=False), input_signature=[pixels])
    return tf.lite.TFLiteConverter.from_concrete_functions([serve.get_concrete_function()], module)

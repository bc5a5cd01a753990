"""The EMNIST network with its loss: a character's image in, a score for each class out.

Convolutions only, so that every runtime loads it. Pixels enter as v / 255: black is 0, so that the
zero padding continues the background, and a uint8 tensor with scale 1/255 and zero point 0 holds
them exactly. The thin first layer is what makes it quick to train: two layers of 32 channels at
28x28 were half the time of a step.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import layers
from numpy.typing import NDArray

from training.emnist.characters import SIDE
from training.emnist.config import EmnistNetworkConfig
from training.emnist.data import character_pixels
from training.network import BatchNormalisation, compile_network, predict
from training.schedule import ScheduleConfig

LAST_SIDE = 7  # what two halvings leave of 28 px


def build_emnist_network(config: EmnistNetworkConfig, *, classes: int) -> Any:
    """Build the graph: (n, 28, 28, 1) float32 in [0, 1] to logits (n, 1, 1, classes) float32.

    Source: residual blocks as in He et al. 2016; a depthwise layer over the whole last map, which
    knows where a stroke lies, in place of its mean, as in MobileFaceNet (Chen et al. 2018).
    """
    pixels = keras.Input((SIDE, SIDE, 1), name="pixels")
    x = _conv(pixels, config.channels[0])
    for channels, blocks in zip(config.channels[1:], config.blocks, strict=True):
        x = _conv(x, channels, strides=2)
        for _ in range(blocks):
            x = _residual(x, channels)
    x = layers.DepthwiseConv2D(LAST_SIDE, use_bias=False)(x)
    x = BatchNormalisation()(x)
    logits = layers.Conv2D(classes, 1, dtype="float32", name="logits")(x)
    return keras.Model(pixels, logits, name="emnist")


def _conv(x: Any, channels: int, *, strides: int = 1) -> Any:
    x = layers.Conv2D(channels, 3, strides=strides, padding="same", use_bias=False)(x)
    return layers.ReLU()(BatchNormalisation()(x))


def _residual(x: Any, channels: int) -> Any:
    y = _conv(x, channels)
    y = layers.Conv2D(channels, 3, padding="same", use_bias=False)(y)
    return layers.ReLU()(layers.Add()([x, BatchNormalisation()(y)]))


def compile_classifier(network: Any, schedule: ScheduleConfig) -> Any:
    """Add loss and optimiser to a network: cross-entropy with target probabilities.

    The weights are the network's own, in its order, so that they can be put back into it.
    """
    scores = keras.layers.Flatten(dtype="float32")(network.outputs[0])
    model = keras.Model(network.inputs, scores)
    loss = keras.losses.CategoricalCrossentropy(from_logits=True)
    compile_network(model, schedule, loss=loss)
    return model


def read_characters(network: Any, images: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Read images (n, 28, 28) with a Keras network.

    Returns:
        The likeliest class of each.
    """
    scores = predict(network, images, character_pixels).reshape(len(images), -1)
    likeliest: NDArray[np.int64] = scores.argmax(axis=1)
    return likeliest

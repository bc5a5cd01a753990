"""The words network: a grey line of any width in, a row of class scores every 4 px out.

Convolutions only, so that the width is free in TFLite and every runtime loads it. Pixels enter as
(v - 255) / 255, which a uint8 tensor with scale 1/255 and zero point 255 holds exactly.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import layers
from numpy.typing import NDArray

from recognition.charset import Charset
from recognition.decoding import Decoder
from training.ctc_batches import white_is_zero
from training.ctc_model import CtcModel
from training.network import BatchNormalisation, compile_network, predict_each
from training.schedule import ScheduleConfig
from training.words.config import WordsNetworkConfig

ROWS_BEFORE_FRAMES = 2  # what four halvings leave of 32 px


def build_words_network(config: WordsNetworkConfig, *, classes: int, height: int) -> Any:
    """Build the graph: (n, h, w, 1) float32 in [-1, 0] to logits (n, 1, w / 4, classes) float32.

    Source: the channel plan is that of CRNN (Shi et al. 2015), with residual blocks where it has
    pairs of convolutions, and depthwise context layers over the frames where it has an LSTM.
    """
    c = config.channels
    pixels = keras.Input((height, None, 1), name="pixels")
    x = _conv(pixels, c[0], strides=2)
    x = _conv(x, c[1])
    x = _residual(_conv(x, c[2], strides=2), c[2])
    x = _residual(_conv(x, c[3], strides=(2, 1)), c[3])
    x = _conv(x, c[4], strides=(2, 1))
    x = _conv(x, c[5], kernel=(ROWS_BEFORE_FRAMES, 1), padding="valid")
    for _ in range(config.context_layers):
        x = _context(x, config.context_frames)
    logits = layers.Conv2D(classes, 1, dtype="float32", name="logits")(x)
    return keras.Model(pixels, logits, name="words")


def _conv(
    x: Any, channels: int, *, kernel: Any = 3, strides: Any = 1, padding: str = "same"
) -> Any:
    x = layers.Conv2D(channels, kernel, strides=strides, padding=padding, use_bias=False)(x)
    return layers.ReLU()(BatchNormalisation()(x))


def _residual(x: Any, channels: int) -> Any:
    y = _conv(x, channels)
    y = layers.Conv2D(channels, 3, padding="same", use_bias=False)(y)
    return layers.ReLU()(layers.Add()([x, BatchNormalisation()(y)]))


def _context(x: Any, frames: int) -> Any:
    y = layers.DepthwiseConv2D((1, frames), padding="same", use_bias=False)(x)
    y = layers.ReLU()(BatchNormalisation()(y))
    y = layers.Conv2D(x.shape[-1], 1, use_bias=False)(y)
    return layers.ReLU()(layers.Add()([x, BatchNormalisation()(y)]))


def compile_words(network: Any, schedule: ScheduleConfig) -> CtcModel:
    """Add loss and optimiser to a network."""
    model = CtcModel(network.inputs, network.outputs)
    model.is_sparse = True
    compile_network(model, schedule)
    return model


def read_words(network: Any, images: Sequence[NDArray[np.uint8]], charset: Charset) -> list[str]:
    """Read grey images (h, w) with a Keras network, through the decoder of the workers."""
    decoder = Decoder("ctc", charset)
    logits = predict_each(network, images, white_is_zero)
    return [decoder.read(one[None])[0].text for one in logits]

"""The captcha network with its loss: a grey image in, a row of class scores every 4 px out.

Convolutions only, so that batch and width are free in TFLite and every runtime loads it. Pixels
enter as (v - 255) / 255: white is 0, so that the zero padding continues the background, and a uint8
tensor with scale 1/255 and zero point 255 holds them exactly.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import layers
from numpy.typing import NDArray

from recognition.charset import Charset
from recognition.decoding import Decoder
from training.captcha.config import CaptchaNetworkConfig, CaptchaSchedule, CaptchaTeacherConfig
from training.ctc_batches import white_is_zero
from training.ctc_model import CtcModel
from training.network import compile_network, predict

ROWS_BEFORE_FRAMES = 4  # what four halvings leave of 64 px


def build_captcha_network(
    config: CaptchaNetworkConfig, *, classes: int, height: int, width: int
) -> Any:
    """Build the graph: (n, h, w, 1) float32 in [-1, 0] to logits (n, 1, w / 4, classes) float32.

    Source: the channel plan is that of CRNN (Shi et al. 2015), halved rows first, with depthwise
    context layers over the frames where it has an LSTM.
    """
    c = config.channels
    pixels = keras.Input((height, width, 1), name="pixels")
    x = _conv(pixels, c[0], strides=2)
    x = _conv(x, c[1])
    x = _conv(x, c[2], strides=2)
    x = _conv(x, c[3])
    x = _conv(x, c[4], strides=(2, 1))
    x = _residual(x, c[4])
    x = _conv(x, c[5], strides=(2, 1))
    x = _conv(x, c[5])
    x = _conv(x, c[6], kernel=(ROWS_BEFORE_FRAMES, 1), padding="valid")
    for _ in range(config.context_layers):
        x = _context(x, config.context_frames)
    logits = layers.Conv2D(classes, 1, dtype="float32", name="logits")(x)
    return keras.Model(pixels, logits, name="captcha")


def _conv(
    x: Any, channels: int, *, kernel: Any = 3, strides: Any = 1, padding: str = "same"
) -> Any:
    x = layers.Conv2D(channels, kernel, strides=strides, padding=padding, use_bias=False)(x)
    return layers.ReLU()(layers.BatchNormalization()(x))


def _residual(x: Any, channels: int) -> Any:
    y = _conv(x, channels)
    y = layers.Conv2D(channels, 3, padding="same", use_bias=False)(y)
    return layers.ReLU()(layers.Add()([x, layers.BatchNormalization()(y)]))


def _context(x: Any, frames: int) -> Any:
    y = layers.DepthwiseConv2D((1, frames), padding="same", use_bias=False)(x)
    y = layers.ReLU()(layers.BatchNormalization()(y))
    y = layers.Conv2D(x.shape[-1], 1, use_bias=False)(y)
    return layers.ReLU()(layers.Add()([x, layers.BatchNormalization()(y)]))


def compile_ctc(network: Any, schedule: CaptchaSchedule, teacher: CaptchaTeacherConfig) -> CtcModel:
    """Add loss and optimiser to a network."""
    model = CtcModel(network.inputs, network.outputs)
    model.teacher_share, model.teacher_temperature = teacher.share, teacher.temperature
    compile_network(model, schedule)
    return model


def read_captchas(network: Any, images: NDArray[np.uint8], charset: Charset) -> list[str]:
    """Read grey images (n, h, w) with a Keras network, through the decoder of the workers."""
    logits = predict(network, images, white_is_zero)[:, 0]
    return [reading.text for reading in Decoder("ctc", charset).read(logits)]

"""The captcha network with its loss: a grey image in, a row of class scores every 4 px out.

Convolutions only, so that batch and width are free in TFLite and every runtime loads it. Pixels
enter as (v - 255) / 255: white is 0, so that the zero padding continues the background, and a uint8
tensor with scale 1/255 and zero point 255 holds them exactly.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import layers, ops
from numpy.typing import NDArray

from recognition.charset import Charset
from recognition.decoding import Decoder
from training.captcha.config import CaptchaNetworkConfig, CaptchaSchedule, CaptchaTeacherConfig
from training.captcha.data import captcha_pixels
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


class CtcModel(keras.Model):  # type: ignore[misc]  # keras ships no types
    """A network of logits (n, 1, t, k) that learns from the targets of ``CaptchaBatches.take``.

    The cross-entropy of frames at the start, then CTC, beside a teacher or not. ``compute_loss`` is
    all that is overridden, so that Keras runs its own training step on TensorFlow, JAX and PyTorch
    alike.
    """

    teacher = CaptchaTeacherConfig()

    def compute_loss(
        self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None, training: bool = True
    ) -> Any:
        """Mix the two losses of a batch by the share that comes with it.

        Both are negative log-likelihoods summed over the frames, so that neither drowns the other.
        """
        y = {key: ops.convert_to_tensor(value) for key, value in y.items()}  # PyTorch gets arrays
        logits = ops.cast(ops.squeeze(y_pred, axis=1), "float32")
        ctc = keras.losses.ctc(y["labels"], logits)
        frames = keras.losses.sparse_categorical_crossentropy(y["frames"], logits, from_logits=True)
        framewise = ops.sum(frames * y["frame_weights"], axis=1)
        share = y["frame_share"]
        loss = share * framewise + (1.0 - share) * ctc
        if "teacher" in y:
            told = self.teacher.share
            loss = (1.0 - told) * loss + told * self._distance_from_teacher(y["teacher"], logits)
        return ops.mean(loss)

    def _distance_from_teacher(self, scores: Any, logits: Any) -> Any:
        """Sum the cross-entropy of the softened scores over the frames: (n,).

        The square of the temperature keeps the gradients at the size of the other loss's (Hinton
        et al. 2015, section 2).
        """
        temperature = self.teacher.temperature
        wanted = ops.softmax(scores / temperature)
        found = ops.log_softmax(logits / temperature)
        return -(temperature**2) * ops.sum(wanted * found, axis=(1, 2))


def compile_ctc(network: Any, schedule: CaptchaSchedule, teacher: CaptchaTeacherConfig) -> CtcModel:
    """Add loss and optimiser to a network."""
    model = CtcModel(network.inputs, network.outputs)
    model.teacher = teacher
    compile_network(model, schedule)
    return model


def read_captchas(network: Any, images: NDArray[np.uint8], charset: Charset) -> list[str]:
    """Read grey images (n, h, w) with a Keras network, through the decoder of the workers."""
    logits = predict(network, images, captcha_pixels)[:, 0]
    return [reading.text for reading in Decoder("ctc", charset).read(logits)]

"""From a run's weights to an int8 TFLite flatbuffer, and the proof that nothing was lost.

Runs in a process of its own, on TensorFlow, whatever backend the run was trained on; nothing here
is imported by a command before that process has started.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from contract.errors import ModelError
from recognition.card import ModelCard, append_card
from recognition.decoding import Decoder, FloatArray, Reading, make_decoder
from recognition.interpreter import load_interpreter
from recognition.recogniser import Recogniser
from training.experiment import CheckSet, load_experiment
from training.measuring.calibration import fit_temperature
from training.run_folder import load_weights

if TYPE_CHECKING:
    from training.network import ToPixels

LOGITS_IMAGES = 200
LOGITS_TOLERANCE = 1e-2  # the same sums in another order; scores are of the order of 10
MOST_LOST = 0.003  # of exact match, that int8 may cost
RULE_OF_THREE = 3.0  # n images of which none goes wrong bound its share by 3/n, with 95 %


@dataclass(frozen=True, slots=True)
class Converted:
    """The same network twice: float32 in and out, and uint8 in with int8 logits out."""

    float32: bytes
    int8: bytes


@dataclass(frozen=True, slots=True)
class Checked:
    """A converted network that has passed.

    Attributes:
        int8: the flatbuffer, without a card.
        exact_match_float: of Keras on the check images, in [0, 1].
        exact_match_int8: of the flatbuffer on the same.
        logits_difference: the largest between Keras and float TFLite.
        golden: indices of check images that both read right, the surer half of them: rounding
            in another runtime must not turn a golden image.
        temperature: at which the flatbuffer's confidence is how often it is right.
        images: how many were read.
    """

    int8: bytes
    exact_match_float: float
    exact_match_int8: float
    logits_difference: float
    golden: tuple[int, ...]
    images: int
    temperature: float = 1.0


def convert_and_check(run: Path, representative: NDArray[np.uint8], check: CheckSet) -> Checked:
    """Convert the weights of a run.

    Raises:
        UserError: the run has no weights.
        ModelError: float TFLite reads otherwise than Keras does.
    """
    os.environ["KERAS_BACKEND"] = "tensorflow"
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from training.network import predict_each

    experiment = load_experiment(run / "config.yaml")
    card, to_pixels = experiment.blank_card(), experiment.to_pixels
    network = experiment.network()
    network.set_weights(load_weights(run))
    converted = convert(network, representative, to_pixels)
    logits = predict_each(network, check.images, to_pixels)
    logits_int8 = _int8_logits(converted.int8, card, check)
    decoder = make_decoder(card)
    of_float, of_int8 = _readings(decoder, logits), _readings(decoder, logits_int8)
    return Checked(
        int8=converted.int8,
        exact_match_float=_exact_match(of_float, check),
        exact_match_int8=_exact_match(of_int8, check),
        logits_difference=_compare_logits(converted, to_pixels, logits, check),
        golden=_golden(of_float, of_int8, check),
        temperature=fit_temperature(logits_int8, check.texts, decoder),
        images=len(check.texts),
    )


def _readings(decoder: Decoder, logits: list[FloatArray]) -> list[Reading]:
    return [decoder.read(one[None])[0] for one in logits]


def _compare_logits(
    converted: Converted, to_pixels: ToPixels, logits: list[FloatArray], check: CheckSet
) -> float:
    interpreter = load_interpreter(converted.float32)
    source = interpreter.get_input_details()[0]["index"]
    target = interpreter.get_output_details()[0]["index"]
    worst = 0.0
    for image, expected in zip(check.images[:LOGITS_IMAGES], logits, strict=False):
        pixels: Any = to_pixels(image[None])  # float32, where a shipped model takes uint8
        interpreter.resize_tensor_input(source, list(pixels.shape))
        interpreter.allocate_tensors()
        interpreter.set_tensor(source, pixels)
        interpreter.invoke()
        found = interpreter.get_tensor(target)[0, 0]
        worst = max(worst, float(np.abs(found - expected).max()))
    if worst > LOGITS_TOLERANCE:
        raise ModelError(f"TFLite's logits are off Keras's by {worst:.3g}: the conversion failed")
    return worst


def _int8_logits(model: bytes, card: ModelCard, check: CheckSet) -> list[FloatArray]:
    recogniser = Recogniser(append_card(model, card, {}))
    return [recogniser.logits(image[:, :, None]) for image in check.images]


def _exact_match(readings: list[Reading], check: CheckSet) -> float:
    right = sum(r.text == text for r, text in zip(readings, check.texts, strict=True))
    return right / len(check.texts)


def _golden(of_float: list[Reading], of_int8: list[Reading], check: CheckSet) -> tuple[int, ...]:
    both = enumerate(zip(of_float, of_int8, check.texts, strict=True))
    right = {
        index: min(a.confidence, b.confidence)
        for index, (a, b, text) in both
        if a.text == b.text == text
    }
    surest_first = sorted(right, key=lambda index: -right[index])
    return tuple(surest_first[: len(right) // 2])


def refuse_loss(checked: Checked, most_lost: float = MOST_LOST) -> str:
    """Refuse a model that reads less in int8 than it did in float.

    Of few images one is more than may be lost, and says nothing: another few might have gained it.

    Returns:
        A sentence where the images were too few to tell; empty where they were enough.

    Raises:
        ModelError: it reads less.

    Source: Hanley and Lippman-Hand 1983, "If nothing goes wrong, is everything all right?", for
    how many are enough.
    """
    before, after, n = checked.exact_match_float, checked.exact_match_int8, checked.images
    if before - after > max(most_lost, 1.5 / n):  # one, and half of one for rounding
        cost = f"{100 * (before - after):.2f} points of exact match"
        told = f"quantising costs {cost}: {before:.4f} in float, {after:.4f} in int8"
        raise ModelError(f"{told} of {n} images; a higher --most-lost takes it")
    if RULE_OF_THREE / n <= most_lost:
        return ""
    right = f"{before * n:.0f} of them are right in float, {after * n:.0f} in int8"
    return (
        f"{n} images are too few to tell whether int8 costs more than {100 * most_lost:g} points"
        f" of exact match, a loss of {100 * min(1.0, RULE_OF_THREE / n):.1f} may not show: {right}"
    )


def convert(network: Any, representative: NDArray[np.uint8], to_pixels: ToPixels) -> Converted:
    """Convert a network, for one image at its own width; the runtime can resize both.

    Args:
        network: of images (n, h, w, 1), in float32, on the TensorFlow backend.
        representative: (n, h, w) grey images of the training distribution.
        to_pixels: turns them into the network's input.
    """
    import tensorflow as tf

    with TemporaryDirectory() as folder:
        _save(network, folder, width=representative.shape[2])
        plain = tf.lite.TFLiteConverter.from_saved_model(folder).convert()
        small = tf.lite.TFLiteConverter.from_saved_model(folder)
        small.optimizations = [tf.lite.Optimize.DEFAULT]
        small.representative_dataset = lambda: _calibration(representative, to_pixels)
        small.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        small.inference_input_type = tf.uint8
        small.inference_output_type = tf.int8
        return Converted(float32=plain, int8=small.convert())


def _save(network: Any, folder: str, *, width: int) -> None:
    """Write a SavedModel for one image: with an open size the graph would compute its shapes."""
    import tensorflow as tf

    _, height, _, channels = network.inputs[0].shape
    signature = [tf.TensorSpec((1, height, width, channels), tf.float32, name="pixels")]
    module = tf.Module()
    module.weights = [weight.value for weight in network.weights]
    module.serve = tf.function(lambda x: network(x, training=False), input_signature=signature)
    tf.saved_model.save(module, folder, signatures=module.serve)


def _calibration(
    representative: NDArray[np.uint8], to_pixels: ToPixels
) -> Iterator[list[NDArray[np.float32]]]:
    """Yield the images one by one, with a black and a white pixel in the first.

    These fix the input's scale at 1/255, so that a uint8 image is taken as it is.
    """
    images = representative.copy()
    images[0, 0, :2] = 0, 255
    for image in to_pixels(images):
        yield [image[None]]

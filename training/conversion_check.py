"""Convert a run's network, and show that nothing was lost on the way.

Runs in a process of its own, on TensorFlow, whatever backend the run was trained on; nothing here
is imported by a command before that process has started.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contract.errors import ModelError
from recognition.card import ModelCard, append_card
from recognition.decoding import FloatArray, Reading, make_decoder
from recognition.interpreter import load_interpreter
from recognition.recogniser import Recogniser
from training.experiment import CheckSet, load_experiment
from training.quantise import Converted, ToPixels, convert
from training.run_state import load_weights
from training.temperature import fit_temperature

BATCH = 256  # images that Keras reads at a time
LOGITS_IMAGES = 200
LOGITS_TOLERANCE = 1e-2  # the same sums in another order; scores are of the order of 10
MOST_LOST = 0.003  # of exact match, that int8 may cost


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
    """

    int8: bytes
    exact_match_float: float
    exact_match_int8: float
    logits_difference: float
    golden: tuple[int, ...]
    temperature: float = 1.0


def convert_and_check(run: Path, representative: NDArray[np.uint8], check: CheckSet) -> Checked:
    """Convert the weights of a run.

    Raises:
        UserError: the run has no weights.
        ModelError: float TFLite reads otherwise than Keras does.
    """
    os.environ["KERAS_BACKEND"] = "tensorflow"
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    experiment = load_experiment(run / "config.yaml")
    card, to_pixels = experiment.blank_card(), experiment.to_pixels
    network = experiment.network()
    network.set_weights(load_weights(run))
    converted = convert(network, representative, to_pixels)
    logits = _keras_logits(network, to_pixels, check)
    logits_int8 = _int8_logits(converted.int8, card, check)
    decoder = make_decoder(card)
    of_float, of_int8 = decoder.read(logits), decoder.read(logits_int8)
    checked = Checked(
        int8=converted.int8,
        exact_match_float=_exact_match(of_float, check),
        exact_match_int8=_exact_match(of_int8, check),
        logits_difference=_compare_logits(converted, to_pixels, logits, check),
        golden=_golden(of_float, of_int8, check),
        temperature=fit_temperature(logits_int8, check.texts, decoder),
    )
    return checked


def _keras_logits(network: Any, to_pixels: ToPixels, check: CheckSet) -> FloatArray:
    parts = [
        np.asarray(network.predict_on_batch(to_pixels(check.images[i : i + BATCH])))
        for i in range(0, len(check.images), BATCH)
    ]
    return np.concatenate(parts)[:, 0]


def _compare_logits(
    converted: Converted, to_pixels: ToPixels, logits: FloatArray, check: CheckSet
) -> float:
    interpreter = load_interpreter(converted.float32)
    source = interpreter.get_input_details()[0]["index"]
    target = interpreter.get_output_details()[0]["index"]
    worst = 0.0
    for image, expected in zip(check.images[:LOGITS_IMAGES], logits, strict=False):
        pixels: Any = to_pixels(image[None])  # float32, where a shipped model takes uint8
        interpreter.set_tensor(source, pixels)
        interpreter.invoke()
        found = interpreter.get_tensor(target)[0, 0]
        worst = max(worst, float(np.abs(found - expected).max()))
    if worst > LOGITS_TOLERANCE:
        raise ModelError(f"TFLite's logits are off Keras's by {worst:.3g}: the conversion failed")
    return worst


def _int8_logits(model: bytes, card: ModelCard, check: CheckSet) -> FloatArray:
    recogniser = Recogniser(append_card(model, card, {}))
    return np.stack([recogniser.logits(image[:, :, None]) for image in check.images])


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


def refuse_loss(checked: Checked, most_lost: float = MOST_LOST) -> None:
    """Raise ModelError where int8 reads clearly less than float."""
    before, after = checked.exact_match_float, checked.exact_match_int8
    if before - after > most_lost:
        cost = f"{100 * (before - after):.2f} points of exact match"
        raise ModelError(f"quantising costs {cost}: {before:.4f} in float, {after:.4f} in int8")

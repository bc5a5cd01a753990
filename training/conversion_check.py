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

from contract.alphabet import Alphabet
from contract.card import InputSpec, ModelCard, append_card
from contract.decoding import FloatArray, Reading, decode_ctc
from contract.errors import ModelError
from contract.runtime import Recogniser, load_interpreter
from training.captcha.batches import to_pixels
from training.captcha.config import CaptchaConfig
from training.quantise import Converted, convert
from training.run_state import load_weights
from training.temperature import fit_temperature

LOGITS_PICTURES = 200
LOGITS_TOLERANCE = 1e-2  # the same sums in another order; scores are of the order of 10
MOST_LOST = 0.003  # of exact match, that int8 may cost


@dataclass(frozen=True, slots=True)
class CheckSet:
    """Pictures (n, h, w) uint8 that were never trained on, and their texts."""

    images: NDArray[np.uint8]
    texts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Checked:
    """A converted network that has passed.

    Attributes:
        int8: the flatbuffer, without a card.
        exact_match_float: of Keras on the check pictures, in [0, 1].
        exact_match_int8: of the flatbuffer on the same.
        logits_difference: the largest between Keras and float TFLite.
        golden: indices of check pictures that both read right, the surer half of them: rounding
            in another runtime must not turn a golden picture.
        temperature: at which the flatbuffer's confidence is how often it is right.
    """

    int8: bytes
    exact_match_float: float
    exact_match_int8: float
    logits_difference: float
    golden: tuple[int, ...]
    temperature: float = 1.0


def convert_and_check(
    run: Path, config: CaptchaConfig, representative: NDArray[np.uint8], check: CheckSet
) -> Checked:
    """Convert the weights of a run.

    Raises:
        UserError: the run has no weights.
        ModelError: float TFLite or int8 reads otherwise than Keras does.
    """
    network = _load_network(run, config)
    converted = convert(network, representative)
    from training.captcha.keras_reading import network_logits

    logits = network_logits(network, check.images)
    difference = _compare_logits(converted, logits, check)
    alphabet = Alphabet(config.data.symbols)
    of_float = decode_ctc(logits, alphabet)
    logits_int8 = _int8_logits(converted.int8, config, check)
    of_int8 = decode_ctc(logits_int8, alphabet)
    checked = Checked(
        int8=converted.int8,
        exact_match_float=_exact_match(of_float, check),
        exact_match_int8=_exact_match(of_int8, check),
        logits_difference=difference,
        golden=_golden(of_float, of_int8, check),
        temperature=fit_temperature(logits_int8, check.texts, alphabet, "ctc"),
    )
    refuse_loss(checked)
    return checked


def _load_network(run: Path, config: CaptchaConfig) -> Any:
    os.environ["KERAS_BACKEND"] = "tensorflow"
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    weights = load_weights(run)
    from training.captcha.network import build_network

    network = build_network(
        config.network,
        classes=len(config.data.symbols) + 1,
        height=config.data.height,
        width=config.data.width,
    )
    network.set_weights(weights)
    return network


def _compare_logits(converted: Converted, logits: FloatArray, check: CheckSet) -> float:
    interpreter = load_interpreter(converted.float32)
    source = interpreter.get_input_details()[0]["index"]
    target = interpreter.get_output_details()[0]["index"]
    worst = 0.0
    for image, expected in zip(check.images[:LOGITS_PICTURES], logits, strict=False):
        pixels: Any = to_pixels(image[None])  # float32, where a shipped model takes uint8
        interpreter.set_tensor(source, pixels)
        interpreter.invoke()
        found = interpreter.get_tensor(target)[0, 0]
        worst = max(worst, float(np.abs(found - expected).max()))
    if worst > LOGITS_TOLERANCE:
        raise ModelError(f"TFLite's logits are off Keras's by {worst:.3g}: the conversion failed")
    return worst


def _int8_logits(model: bytes, config: CaptchaConfig, check: CheckSet) -> FloatArray:
    spec = InputSpec(height=config.data.height, width=config.data.width)
    card = ModelCard(config.name, config.data.symbols, "ctc", spec)
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


def refuse_loss(checked: Checked) -> None:
    """Raise ModelError where int8 reads clearly less than float."""
    before, after = checked.exact_match_float, checked.exact_match_int8
    if before - after > MOST_LOST:
        cost = f"{100 * (before - after):.2f} points of exact match"
        raise ModelError(f"quantising costs {cost}: {before:.4f} in float, {after:.4f} in int8")

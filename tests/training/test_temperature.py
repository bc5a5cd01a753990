"""Fitting the temperature of a model."""

from __future__ import annotations

import numpy as np
import pytest

from recognition.charset import Charset
from recognition.decoding import Decoder
from training.measuring.calibration import fit_temperature, log_loss

IMAGES = 2_000


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_the_temperature_at_which_truths_were_drawn_is_found_again(temperature: float) -> None:
    rng = np.random.default_rng(1)
    charset = Charset("ABCD")
    logits = rng.normal(0.0, 2.0, (IMAGES, 1, 4)).astype(np.float32)
    noise = rng.gumbel(size=(IMAGES, 4))  # the largest of logits and this is a draw of softmax
    truths = [charset.symbols[c] for c in (logits[:, 0] / temperature + noise).argmax(axis=1)]

    assert fit_temperature(logits, truths, Decoder("argmax", charset)) == pytest.approx(
        temperature, rel=0.1
    )


def test_a_handful_of_errors_moves_nothing() -> None:
    logits = np.tile(np.array([[[3.0, 0.0]]], np.float32), (100, 1, 1))

    assert fit_temperature(logits, ["A"] * 95 + ["B"] * 5, Decoder("argmax", Charset("AB"))) == 1.0


def test_sure_errors_cost_much_and_not_everything() -> None:
    right = np.array([True, False])

    assert log_loss(np.array([0.9, 0.1]), right) == pytest.approx(-np.log(0.9))
    assert 3.0 < log_loss(np.array([0.9, 1.0]), right) < 10.0

"""System A's network is rebuilt as it was, and timed beside ours in a way that flatters nobody."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.recognition.__main__ import FLOAT32, speed_report, speed_table
from benchmarks.recognition.network import (
    build_network,
    multiply_adds,
    to_dynamic_range,
    to_float32,
)
from benchmarks.recognition.timing import (
    Arm,
    Part,
    Spread,
    SystemAReader,
    decode,
    measure,
    our_arm,
    times_faster,
    to_pixels,
)
from recognition.charset import CAPTCHA_SYMBOLS
from tests.support.stripes import png


@pytest.fixture(scope="module")
def network() -> Any:
    import keras

    keras.utils.set_random_seed(1)
    return build_network()


@pytest.fixture(scope="module")
def image() -> Any:
    return np.random.default_rng(1).integers(0, 256, (64, 128, 3)).astype(np.uint8)


@pytest.mark.model
@pytest.mark.timeout(120)
def test_network_has_the_size_that_system_as_had(network: Any) -> None:
    assert network.count_params() == 2_973_004
    assert multiply_adds(network) == 460_677_120
    assert network.output_shape == (None, 6, 50)


@pytest.mark.model
@pytest.mark.timeout(120)
def test_converted_networks_give_what_keras_gives(network: Any, image: Any) -> None:
    float32, dynamic_range = to_float32(network), to_dynamic_range(network)

    pixels = to_pixels(image[None])
    wanted = np.log(network(pixels, training=False))
    found = np.log(SystemAReader(float32).probabilities(pixels))
    np.testing.assert_allclose(found, wanted, atol=1e-3)
    found = np.log(SystemAReader(dynamic_range).probabilities(pixels))
    np.testing.assert_allclose(found, wanted, atol=0.5)
    assert len(dynamic_range) < len(float32) / 3


@pytest.mark.parametrize("text", ["A1/k", "-", "ZZxX#%"])
def test_text_is_that_of_the_heads_without_the_padding(text: str) -> None:
    classes = [(CAPTCHA_SYMBOLS + " ").index(symbol) for symbol in text.ljust(6)]

    assert decode(np.eye(50, dtype=np.float32)[classes][None]) == text


def test_each_round_times_each_arm_and_compares_within_itself() -> None:
    now = [0.0]

    def takes(seconds: float) -> Callable[..., None]:
        return lambda *_: now.__setitem__(0, now[0] + seconds)

    arms = [Arm("slow", takes(0.02), takes(0.03)), Arm("quick", takes(0.01), takes(0.005))]

    timings = measure(arms, [b""], rounds=5, rng=random.Random(1), clock=lambda: now[0])

    assert {len(values) for parts in timings.values() for values in parts.values()} == {5}
    assert timings["slow"]["reading"] == pytest.approx([30] * 5)
    assert times_faster(timings["slow"]["network"], timings["quick"]["network"]).median == 2


def test_our_arm_reads_as_a_worker_does(tiny_model: Path) -> None:
    ours = our_arm(str(tiny_model))

    ours.network()
    assert ours.reading(png("0110")) == "0110"


def test_spread_is_the_middle_half() -> None:
    assert Spread.of([1, 2, 3, 4, 500], digits=1) == Spread(median=3, low=2, high=4)
    assert times_faster([8, 10], [2, 5]) == Spread(median=3, low=2.5, high=3.5)


def test_report_says_how_many_times_faster() -> None:
    timings: dict[str, dict[Part, list[float]]] = {
        FLOAT32: {"network": [8.0, 8.0], "reading": [9.0, 9.0]},
        "quick": {"network": [2.0, 2.0], "reading": [3.0, 3.0]},
    }

    figures: Any = speed_report(timings)

    assert figures["times_faster"]["quick"]["network"]["median"] == 4
    assert figures["ms_an_image"]["quick"]["reading"]["median"] == 3
    assert speed_table(timings).row_count == 2

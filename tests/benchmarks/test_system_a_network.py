"""System A's network is rebuilt as it was, and timed beside ours in a way that flatters nobody."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.system_a_network.report import speed_report, speed_table, write_section
from benchmarks.system_a_network.timing import Arm, Spread, measure, our_arm, times_faster
from tests.support.stripes import png

TEXTS = ["A1/k", "-", "ZZxX#%"]


@pytest.fixture(scope="module")
def network() -> Any:
    import keras

    from benchmarks.system_a_network.network import build_network

    keras.utils.set_random_seed(1)
    return build_network()


@pytest.fixture(scope="module")
def image() -> Any:
    return np.random.default_rng(1).integers(0, 256, (64, 128, 3)).astype(np.uint8)


@pytest.mark.model
@pytest.mark.timeout(120)
def test_network_has_the_size_that_system_as_had(network: Any) -> None:
    from benchmarks.system_a_network.network import multiply_adds

    assert network.count_params() == 2_973_004
    assert multiply_adds(network) == 460_677_120
    assert network.output_shape == (None, 6, 50)


@pytest.mark.model
@pytest.mark.timeout(120)
def test_converted_networks_give_what_keras_gives(network: Any, image: Any) -> None:
    from benchmarks.system_a_network.conversion import to_dynamic_range, to_float32
    from benchmarks.system_a_network.reading import SystemAReader, to_pixels

    float32, dynamic_range = to_float32(network), to_dynamic_range(network)

    wanted = np.log(network(to_pixels(image[None]), training=False))
    found = np.log(SystemAReader(float32).probabilities(image))
    np.testing.assert_allclose(found, wanted, atol=1e-3)
    found = np.log(SystemAReader(dynamic_range).probabilities(image))
    np.testing.assert_allclose(found, wanted, atol=0.5)
    assert len(dynamic_range) < len(float32) / 3


def test_texts_come_back_from_the_classes_of_the_heads() -> None:
    from benchmarks.system_a_network.reading import decode, encode

    classes = encode(TEXTS)

    assert classes.shape == (3, 6)
    assert decode(np.eye(50, dtype=np.float32)[classes]) == TEXTS


def test_each_round_times_each_arm_and_compares_within_itself(tiny_model: Path) -> None:
    ours = our_arm(str(tiny_model))
    twice = Arm("twice", lambda: [ours.network() for _ in range(2)], ours.reading)

    timings = measure([ours, twice], [png("1")], rounds=5, rng=random.Random(1))

    assert {len(values) for parts in timings.values() for values in parts.values()} == {5}
    assert 1.3 < times_faster(timings["twice"]["network"], timings[ours.name]["network"]).median < 3
    assert ours.reading(png("0110")) == "0110"


def test_spread_is_the_middle_half() -> None:
    assert Spread.of([1, 2, 3, 4, 500], digits=1) == Spread(median=3, low=2, high=4)
    assert times_faster([8, 10], [2, 5]) == Spread(median=3, low=2.5, high=3.5)


def test_report_says_how_many_times_faster(tmp_path: Path) -> None:
    timings = {
        "slow": {"network": [8.0, 8.0], "reading": [9.0, 9.0]},
        "quick": {"network": [2.0, 2.0], "reading": [3.0, 3.0]},
    }
    path = tmp_path / "a" / "figures.json"

    write_section(path, "kept", {"x": 1})
    write_section(path, "speed", speed_report(timings, against="slow"))  # type: ignore[arg-type]

    figures = json.loads(path.read_text())
    assert figures["kept"] == {"x": 1}
    assert figures["speed"]["times_faster"]["quick"]["network"]["median"] == 4
    assert figures["speed"]["ms_a_image"]["quick"]["reading"]["median"] == 3
    assert speed_table(timings, against="slow").row_count == 2  # type: ignore[arg-type]

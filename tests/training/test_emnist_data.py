"""What an EMNIST run learns from: held-out parts, draws by class, changed images, targets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from contract.errors import SettingsError, UserError
from training.emnist.augment import augment
from training.emnist.characters import BALANCED_SYMBOLS, Characters, ClassDraw, hold_out
from training.emnist.config import AugmentConfig, EmnistConfig, EmnistDataConfig, EmnistSchedule
from training.emnist.data import CharacterBatches, SoftTargetBatches, SoftTargets
from training.emnist.experiment import EmnistExperiment
from training.experiment import load_experiment

UNCHANGED = AugmentConfig(rotation=0, shear=0, shrink=1, stretch=0, shift=0, elastic=0, thickness=0)


def characters(counts: list[int]) -> Characters:
    """Images that tell their own number, in classes of these sizes."""
    labels = np.repeat(np.arange(len(counts)), counts)
    images = np.zeros((len(labels), 28, 28), np.uint8)
    images[:, 10, 10] = np.arange(len(labels)) % 251 + 1
    images[:, 12, 12] = np.arange(len(labels)) // 251 + 1
    return Characters(images, labels, BALANCED_SYMBOLS[: len(counts)])


def bar() -> np.ndarray[tuple[int, int, int], np.dtype[np.uint8]]:
    image = np.zeros((1, 28, 28), np.uint8)
    image[0, 4:24, 12:16] = 255
    return image


def test_what_is_held_out_is_trained_on_by_no_seed() -> None:
    parts = hold_out(characters([30, 40, 50]), per_class=10)

    assert np.bincount(parts.held_out.labels).tolist() == [10, 10, 10]
    assert np.bincount(parts.training.labels).tolist() == [20, 30, 40]
    shown = {image.tobytes() for image in parts.training.images}
    assert not shown & {image.tobytes() for image in parts.held_out.images}
    again = hold_out(characters([30, 40, 50]), per_class=10)
    np.testing.assert_array_equal(again.held_out.images, parts.held_out.images)


def test_a_class_that_is_too_small_is_named() -> None:
    with pytest.raises(UserError, match=r"9 images of '1': lower data\.held_out, 10"):
        hold_out(characters([30, 9, 50]), per_class=10)


@pytest.mark.parametrize(
    ("balance", "drawn"), [(0.0, [100, 900]), (0.5, [250, 750]), (1.0, [500, 500])]
)
def test_classes_are_drawn_by_their_balance_and_weigh_alike(
    balance: float, drawn: list[int]
) -> None:
    labels = np.repeat([0, 1], [10, 90])
    draw = ClassDraw(labels, balance=balance)

    indices = draw.indices(1000, np.random.default_rng(1))

    counts = np.bincount(labels[indices])
    assert counts.tolist() == drawn
    np.testing.assert_allclose(counts * draw.weights, 500, rtol=1e-5)


def test_no_image_is_drawn_twice_before_all_of_its_class_were() -> None:
    labels = np.repeat([0, 1], [10, 90])

    indices = ClassDraw(labels, balance=1.0).indices(50, np.random.default_rng(1))

    times = np.bincount(indices, minlength=100)
    assert set(times[:10]) <= {2, 3}
    assert set(times[10:]) <= {0, 1}


def test_no_change_leaves_a_image_as_it_is() -> None:
    images = np.random.default_rng(1).integers(0, 256, (20, 28, 28), dtype=np.uint8)

    np.testing.assert_array_equal(augment(images, UNCHANGED, np.random.default_rng(2)), images)


def test_changed_images_differ_and_keep_most_of_their_ink() -> None:
    images = np.repeat(bar(), 200, axis=0)

    changed = augment(images, AugmentConfig(), np.random.default_rng(2))

    assert len({image.tobytes() for image in changed}) == 200
    ink = changed.sum(axis=(1, 2)) / images[0].sum()
    assert ink.min() > 0.5
    assert ink.max() < 1.6
    assert 0.8 < np.mean(ink) < 1.05


@pytest.mark.parametrize(
    "limits",
    [{"rotation": 30.0}, {"shear": 0.5}, {"shift": 4.0}, {"elastic": 2.0}, {"thickness": 1.0}],
    ids=lambda limits: next(iter(limits)),
)
def test_each_change_is_made_alone(limits: dict[str, float]) -> None:
    fields = {field: getattr(UNCHANGED, field) for field in AugmentConfig.__slots__}
    config = AugmentConfig(**{**fields, **limits})

    changed = augment(np.repeat(bar(), 20, axis=0), config, np.random.default_rng(3))

    assert (changed != bar()).any(axis=(1, 2)).mean() > 0.8


def test_a_turned_bar_is_turned_as_far_as_was_allowed() -> None:
    config = AugmentConfig(30.0, 0, 1, 0, 0, 0, 0)

    changed = augment(np.repeat(bar(), 500, axis=0), config, np.random.default_rng(3))

    leans = [np.degrees(lean_of(image)) for image in changed]
    assert 24 < max(leans) < 31
    assert -31 < min(leans) < -24


def lean_of(image: np.ndarray[tuple[int, int], np.dtype[np.uint8]]) -> float:
    y, x = np.nonzero(image > 60)
    return float(np.arctan(np.polyfit(y, x, 1)[0]))


def test_batches_are_the_same_again_and_their_targets_are_smoothed() -> None:
    config = EmnistConfig(
        data=EmnistDataConfig(images=64), schedule=EmnistSchedule(batch=16, label_smoothing=0.1)
    )
    known = characters([30, 20])
    batches = CharacterBatches(known, ClassDraw(known.labels, balance=0.5), config)

    order = batches.order(3)
    pixels, targets, weights = batches.take(order[1], done=0.5)

    assert (batches.steps_per_epoch, order.shape) == (4, (4, 16))
    assert pixels.shape == (16, 28, 28, 1)
    assert (pixels.min(), pixels.max() <= 1.0) == (0.0, True)
    labels = known.labels[order[1]]
    np.testing.assert_allclose(targets[np.arange(16), labels], 0.95, rtol=1e-6)
    np.testing.assert_allclose(targets.sum(axis=1), 1.0, rtol=1e-6)
    assert weights.tolist() == batches.draw.weights[labels].tolist()
    np.testing.assert_array_equal(batches.take(batches.order(3)[1], done=0.5)[0], pixels)


def test_soft_targets_mix_what_teachers_say_with_the_label() -> None:
    known = characters([30, 20])
    taught = np.tile(np.array([[0.25, 0.75]], np.float16), (50, 1))
    soft_targets = SoftTargets(known.images, known.labels, taught, np.ones(2, np.float32))
    config = EmnistConfig(
        data=EmnistDataConfig(images=20), schedule=EmnistSchedule(batch=10, label_smoothing=0.0)
    )
    batches = SoftTargetBatches(soft_targets, config)  # 0.8 of the target is the teachers'

    _, targets, _ = batches.take(np.array([0, 40]), done=0.0)

    np.testing.assert_allclose(targets, [[0.4, 0.6], [0.2, 0.8]], atol=1e-6)
    seen = np.concatenate([batches.order(epoch).ravel() for epoch in (0, 1)])
    assert len(set(seen.tolist())) == 40


def test_a_run_without_data_is_told_how_to_give_them(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"data\.file.*--data"):
        EmnistExperiment(EmnistConfig()).parts()


def test_the_command_line_goes_before_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text("task: emnist\nseed: 1\ndata: {held_out: 9, balance: 1}\n")

    experiment = load_experiment(tmp_path / "x.yaml", {"seed": 7, "data": {"file": "here/a.npz"}})

    assert experiment.config.seed == 7
    assert experiment.described_data()["data"] == "a.npz, 9 images a class held out"

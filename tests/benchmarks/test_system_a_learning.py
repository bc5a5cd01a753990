"""System A's network and ours learn the same images, each by its own recipe."""

from __future__ import annotations

from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.system_a_network.learning import (
    SYSTEM_A,
    Learner,
    Lesson,
    compare,
    learn,
    learners,
    read_files,
)
from contract.errors import UserError
from training.captcha.data_sets import check_set_of
from training.captcha.samples import draw_sample
from training.draw_set import draw_files
from training.run_state import saved_position

LESSON = Lesson(images=64, passes=1, precision="float32")
CONFIG = "name: tiny\nnetwork: {channels: [4, 4, 8, 8, 8, 8, 16], context_layers: 1}\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Let both networks learn a tiny lesson once."""
    folder = tmp_path_factory.mktemp("learning")
    (folder / "tiny.yaml").write_text(CONFIG)
    for learner in taught(folder, LESSON):
        learn(learner, LESSON)
    return folder


def taught(folder: Path, lesson: Lesson) -> list[Learner]:
    return learners(lesson, folder / "runs", [folder / "tiny.yaml"])


@pytest.mark.model
@pytest.mark.timeout(240)
def test_both_learn_the_same_images_in_the_same_batches(folder: Path) -> None:
    system_a, ours = taught(folder, LESSON)
    for learner in (system_a, ours):
        learner.experiment.prepare(learner.run, workers=1)

    order = ours.experiment.batches().order(0)
    np.testing.assert_array_equal(system_a.experiment.batches().order(0), order)
    in_colour: Any = system_a.experiment.batches()
    colours, classes = in_colour.take(order[0], done=0.0)
    greys, targets = ours.experiment.batches().take(order[0], done=0.0)
    luminance = colours @ np.array([0.299, 0.587, 0.114])
    np.testing.assert_allclose(luminance, greys[..., 0] + 1, atol=2 / 255)
    np.testing.assert_array_equal((classes + 1) % 50, targets["labels"])


@pytest.mark.model
@pytest.mark.timeout(240)
def test_a_longer_lesson_goes_on_from_a_shorter_one(folder: Path) -> None:
    longer = replace(LESSON, passes=2)
    system_a = taught(folder, longer)[0]

    learn(system_a, longer)

    position = saved_position(system_a.run)
    assert position.step == 4
    first, second = position.epochs
    assert second.loss < first.loss
    with pytest.raises(UserError, match="has seen 128 images: take another"):
        learn(taught(folder, LESSON)[0], LESSON)


@pytest.mark.model
@pytest.mark.timeout(240)
def test_loss_of_the_heads_is_added_and_the_learning_rate_stands_still() -> None:
    from benchmarks.system_a_network.network import build_network
    from benchmarks.system_a_network.recipe import compile_as_system_a

    model: Any = compile_as_system_a(build_network())
    model.optimizer.learning_rate = 0.5
    pixels, classes = np.zeros((2, 64, 128, 3), np.float32), np.zeros((2, 6), np.int32)

    loss = model.train_on_batch(pixels, classes)

    assert loss == pytest.approx(6 * np.log(50), rel=0.01)  # black gives no head a hint
    assert float(model.optimizer.learning_rate) == pytest.approx(1e-3)


@pytest.mark.model
@pytest.mark.timeout(240)
def test_comparison_reads_the_same_files_with_all(folder: Path, tmp_path: Path) -> None:
    lesson = replace(LESSON, passes=2)
    check_set = check_set_of(taught(folder, lesson)[1].experiment.config)
    draw_files(check_set, tmp_path, n=8, workers=1, progress=lambda _: None)

    scores = compare(lesson, folder / "runs", [folder / "tiny.yaml"], tmp_path, n=6)

    assert [*scores] == [SYSTEM_A, "tiny"]
    assert {one.n for one in scores.values()} == {6}
    file = BytesIO()
    draw_sample(check_set, 0).drawn.image.save(file, "PNG")
    assert all(len(read_files(one, [file.getvalue()])) == 1 for one in taught(folder, lesson))

"""The settings of a run, its schedule, and what a batch is to learn."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from contract.errors import SettingsError, UserError
from training.captcha.config import CaptchaConfig, CaptchaSchedule
from training.captcha.data import CaptchaBatches
from training.captcha.samples import CaptchaSet, draw_packed
from training.config import dump_config, load_config
from training.ctc_batches import frame_targets, white_is_zero
from training.image_sets import open_packed
from training.schedule import ScheduleConfig, learning_rate, progress
from training.train import WeightAverage

SHIPPED = Path(__file__).parents[2] / "training" / "configs" / "captcha.yaml"


def written(folder: Path, text: str) -> Path:
    path = folder / "config.yaml"
    path.write_text(text)
    return path


def batches_of(folder: Path, schedule: CaptchaSchedule) -> CaptchaBatches:
    return CaptchaBatches(open_packed(folder), schedule, seed=3)


def test_the_shipped_settings_come_back_from_their_own_dump(tmp_path: Path) -> None:
    config = load_config(CaptchaConfig, SHIPPED)

    assert config.data.images >= 100_000
    assert load_config(CaptchaConfig, written(tmp_path, dump_config(config))) == config


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("sed: 1", "sed=1"),
        ("seed: x", "seed='x'"),
        ("seed: true", "seed=True"),
        ("schedule: {epoch: 3}", r"schedule\.epoch=3"),
        ("schedule: {precision: f8}", r"schedule\.precision='f8'"),
        ("network: {channels: [1, a]}", r"network\.channels="),
        ("data: {presets: {'0.3': much}}", r"data\.presets="),
        ("data: 3", "data=3"),
    ],
)
def test_a_bad_setting_is_named(tmp_path: Path, text: str, named: str) -> None:
    with pytest.raises(SettingsError, match=named):
        load_config(CaptchaConfig, written(tmp_path, text))


def test_a_missing_file_of_settings_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.yaml"):
        load_config(CaptchaConfig, tmp_path / "none.yaml")


def test_nothing_but_a_name_is_needed(tmp_path: Path) -> None:
    assert load_config(CaptchaConfig, written(tmp_path, "name: mine")) == replace(
        CaptchaConfig(), name="mine"
    )


def test_the_clock_drives_a_run_that_is_late() -> None:
    schedule = ScheduleConfig(budget_minutes=10.0)

    assert progress(schedule, step=10, total_steps=100, elapsed_s=300.0) == pytest.approx(0.5)
    assert progress(schedule, step=80, total_steps=100, elapsed_s=300.0) == pytest.approx(0.8)
    assert progress(schedule, step=10, total_steps=100, elapsed_s=900.0) == 1.0


def test_without_a_budget_steps_alone_count() -> None:
    assert progress(ScheduleConfig(), step=1, total_steps=4, elapsed_s=1e9) == 0.25


def test_a_run_may_stop_short_of_its_schedule_for_another_to_go_on() -> None:
    schedule = ScheduleConfig(stop_step=40)

    assert progress(schedule, step=39, total_steps=100, elapsed_s=0.0) == 0.39
    assert progress(schedule, step=40, total_steps=100, elapsed_s=0.0) == 1.0


def test_the_learning_rate_rises_falls_and_ends_small() -> None:
    schedule = ScheduleConfig(learning_rate=1.0, learning_rate_warmup=0.1)

    rates = [learning_rate(schedule, done) for done in (0.0, 0.05, 0.1, 0.5, 1.0)]

    assert rates[:2] == pytest.approx([0.01, 0.5])
    assert rates[2] == 1.0
    assert rates[2] > rates[3] > rates[4] > 0.0


def test_the_frame_loss_gives_way_and_stays_away(tmp_path: Path) -> None:
    draw_packed(CaptchaSet(seed=1), tmp_path, n=2, workers=1, progress=lambda _: None)
    batches = batches_of(tmp_path, CaptchaSchedule(batch=2, frame_share=0.2))
    first = batches.order(0)[0]

    shares = [batches.take(first, done=d)[1]["frame_share"][0] for d in (0.0, 0.1, 0.2, 0.9)]

    assert shares == [1.0, 0.5, 0.0, 0.0]
    never = batches_of(tmp_path, CaptchaSchedule(batch=2, frame_share=0.0))
    assert never.take(first, done=0.0)[1]["frame_share"][0] == 0.0


def test_a_symbol_stands_on_the_frame_of_its_middle_and_mutes_its_neighbours() -> None:
    labels = np.array([[7, 3, 0]], dtype=np.uint8)
    centres = np.array([[9.0, 29.9, -1.0]], dtype=np.float32)

    targets = frame_targets(labels, centres, frames=8)

    assert targets.classes.tolist() == [[0, 0, 7, 0, 0, 0, 0, 3]]
    assert targets.weights.tolist() == [[0.25, 0.0, 1.0, 0.0, 0.25, 0.25, 0.0, 1.0]]


def test_pixels_are_exact_where_a_uint8_tensor_is() -> None:
    greys = np.arange(256, dtype=np.uint8).reshape(1, 16, 16)

    pixels = white_is_zero(greys)

    assert pixels.shape == (1, 16, 16, 1)
    assert (pixels.min(), pixels.max()) == (-1.0, 0.0)
    np.testing.assert_allclose(pixels[..., 0], (greys.astype(float) - 255) / 255, atol=1e-7)


def test_every_epoch_has_an_order_of_its_own_that_comes_again(tmp_path: Path) -> None:
    draw_packed(CaptchaSet(seed=1), tmp_path, n=20, workers=1, progress=lambda _: None)
    batches = batches_of(tmp_path, CaptchaSchedule(batch=6))

    first, again, second = batches.order(0), batches.order(0), batches.order(1)

    assert batches.steps_per_epoch == 3
    np.testing.assert_array_equal(first, again)
    assert (first != second).any()
    assert len(np.unique(first)) == 18


def test_an_average_follows_its_weights_and_forgets_the_start() -> None:
    average = WeightAverage([np.zeros(3, dtype=np.float32)], momentum=0.999)

    for _ in range(3000):
        average.update([np.ones(3, dtype=np.float32)])

    np.testing.assert_allclose(average.weights[0], 1.0, atol=1e-4)
    assert average.updates == 3000

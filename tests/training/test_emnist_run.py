"""A whole tiny run on made-up characters: train, stop, resume, export, teach another."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from contract.errors import UserError
from recognition.card import InputSpec, read_card, read_golden
from recognition.images import open_image
from recognition.interpreter import load_interpreter
from recognition.recogniser import Recogniser, verify_golden
from tests.support.stopped_run import assert_it_ends_as_if_it_had_not_stopped, train_and_keep
from training.cli_train import train as train_command
from training.config import dump_config
from training.emnist.characters import BALANCED_SYMBOLS
from training.emnist.config import (
    AugmentConfig,
    EmnistConfig,
    EmnistDataConfig,
    EmnistNetworkConfig,
    EmnistSchedule,
    EmnistTeacherConfig,
)
from training.emnist.experiment import EmnistExperiment
from training.export import ExportOptions, export_run
from training.run_folder import Position

pytestmark = [pytest.mark.model, pytest.mark.timeout(180), pytest.mark.xdist_group("keras")]

PER_CLASS = 24
TINY = EmnistConfig(
    name="tiny-emnist",
    seed=3,
    data=EmnistDataConfig(held_out=4, images=47 * 20, balance=1.0),
    augment=AugmentConfig(shrink=0.9, elastic=0.3),
    network=EmnistNetworkConfig(channels=(4, 12, 24), blocks=(0, 1)),
    schedule=EmnistSchedule(
        epochs=8, batch=47, learning_rate=1e-2, average_momentum=0.9, checkpoint_steps=65
    ),
)


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> EmnistConfig:
    """Write made-up characters, a pattern of blots a class, and name their file."""
    rng = np.random.default_rng(5)
    blots = np.kron(rng.random((47, 5, 5)) < 0.5, np.ones((4, 4)))
    patterns = np.pad(blots, ((0, 0), (4, 4), (4, 4))) * 230
    images = np.repeat(patterns, PER_CLASS, axis=0)
    images = (images + rng.integers(0, 25, images.shape)).astype(np.uint8)
    labels = np.repeat(np.arange(47), PER_CLASS)
    path = tmp_path_factory.mktemp("data") / "blots.npz"
    classes = np.array(list(BALANCED_SYMBOLS))
    np.savez(path, train_x=images, train_y=labels, classes=classes)
    return replace(TINY, data=replace(TINY.data, file=str(path)))


@pytest.fixture(scope="module")
def run(config: EmnistConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train the tiny reader once for all tests of this module."""
    folder = tmp_path_factory.mktemp("emnist") / "run"
    train_and_keep(partial(trained, config, resume=False), folder, step=130)
    return folder


@pytest.fixture(scope="module")
def model(run: Path) -> Path:
    """Export it once."""
    export_run(run, run / "tiny.tflite", ExportOptions())
    return run / "tiny.tflite"


def trained(config: EmnistConfig, folder: Path, *, resume: bool) -> Position:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from training.train import TrainingOptions, run_training

    options = TrainingOptions("test", resume, 1, report=lambda _: None)
    return run_training(EmnistExperiment(config), folder, options)


def test_a_run_learns_and_says_what_from(run: Path) -> None:
    curves = json.loads((run / "curves.json").read_text())

    assert curves[-1]["exact_match"] > 0.9
    assert (run / "curves.png").read_bytes().startswith(b"\x89PNG")
    told = json.loads((run / "provenance.json").read_text())
    assert told["data"] == "blots.npz, 4 images a class held out"


def test_a_run_that_stopped_ends_as_if_it_had_not(config: EmnistConfig, run: Path) -> None:
    stopped = run.with_name("run-stopped")  # in its seventh epoch

    position = trained(config, stopped, resume=True)

    assert position.step == 160
    assert_it_ends_as_if_it_had_not_stopped(position, stopped, run)


def test_the_exported_model_reads_as_the_network_did(model: Path) -> None:
    card = read_card(model.read_bytes())

    assert card.symbols == BALANCED_SYMBOLS
    assert (card.decoder, card.input) == ("argmax", InputSpec(28, 28, fit="character"))
    assert card.metrics["exact_match_held_out"] > 0.9
    lost = card.metrics["exact_match_held_out_float"] - card.metrics["exact_match_held_out"]
    assert lost <= 0.003


def test_the_exported_model_takes_images_as_they_are(model: Path) -> None:
    interpreter = load_interpreter(model.read_bytes())
    source = interpreter.get_input_details()[0]
    target = interpreter.get_output_details()[0]

    assert (source["shape"].tolist(), source["dtype"]) == ([1, 28, 28, 1], np.uint8)
    assert source["quantization"] == pytest.approx((1 / 255, 0), rel=1e-4)
    assert (target["shape"].tolist(), target["dtype"]) == ([1, 1, 1, 47], np.int8)


def test_the_exported_model_carries_golden_images_that_it_reads(model: Path) -> None:
    data = model.read_bytes()

    assert verify_golden(data) == 5
    golden = read_card(data).golden
    assert len({entry.text for entry in golden}) > 1
    pixels = np.asarray(open_image(read_golden(data, golden[0])))
    assert Recogniser(data).read([pixels[:, :, None]], None)[0].text == golden[0].text


def test_a_network_learns_from_teachers(config: EmnistConfig, model: Path, tmp_path: Path) -> None:
    teacher = EmnistTeacherConfig(models=f"{model}, {model}", images=47 * 60, share=1.0)
    schedule = replace(config.schedule, epochs=5)
    pupil = replace(config, seed=4, teacher=teacher, schedule=schedule)

    position = trained(pupil, tmp_path / "run", resume=False)

    assert position.epochs[-1].exact_match > 0.9
    taught = np.load(tmp_path / "run" / "soft_targets" / "probabilities.npy")
    np.testing.assert_allclose(taught.astype(np.float32).sum(axis=1), 1.0, atol=0.01)
    told = json.loads((tmp_path / "run" / "provenance.json").read_text())
    assert told["teachers"] == "tiny.tflite, tiny.tflite"


def test_the_command_trains_and_writes_down_what_it_was_given(
    config: EmnistConfig, tmp_path: Path
) -> None:
    blank = replace(config, data=replace(config.data, file=""))
    short = replace(blank, schedule=replace(config.schedule, epochs=1))
    (tmp_path / "mine.yaml").write_text(dump_config(short))
    flags = ["--config", str(tmp_path / "mine.yaml"), "--out", str(tmp_path / "run")]

    done = CliRunner().invoke(
        train_command, ["emnist", *flags, "--data", config.data.file, "--seed", "9"]
    )

    assert done.exit_code == 0, done.output
    assert "next: pifleet export" in done.stdout
    told = json.loads((tmp_path / "run" / "provenance.json").read_text())
    assert told["command"].endswith("mine.yaml --seed 9 --data blots.npz")
    assert told["seed"] == "9"


def test_a_configuration_of_another_task_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("task: captcha\n")

    done = CliRunner().invoke(train_command, ["emnist", "--config", str(tmp_path / "mine.yaml")])

    assert isinstance(done.exception, UserError)
    assert "is of the task captcha" in str(done.exception)


def test_the_fused_normalisation_learns_what_keras_own_does() -> None:
    import keras

    from training.network import BatchNormalisation

    x = np.random.default_rng(1).normal(3.0, 2.0, (8, 6, 6, 5)).astype(np.float32)
    ours, theirs = BatchNormalisation(), keras.layers.BatchNormalization()

    np.testing.assert_allclose(ours(x, training=True), theirs(x, training=True), atol=1e-4)
    np.testing.assert_allclose(ours.moving_mean, theirs.moving_mean, atol=1e-5)
    np.testing.assert_allclose(ours.moving_variance, theirs.moving_variance, rtol=1e-3)
    np.testing.assert_allclose(ours(x), theirs(x), atol=2e-2)

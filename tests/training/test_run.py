"""A whole tiny run: draw, train, stop, resume, export, and read through the workers' own code."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from functools import partial
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from contract.errors import ModelError, OutputError, SettingsError, UserError
from recognition.card import InputSpec, read_card, read_golden
from recognition.charset import CAPTCHA_SYMBOLS, Charset
from recognition.images import open_image, to_tensor
from recognition.model_file import digest_of
from recognition.recogniser import Recogniser, verify_golden
from tests.support.stopped_run import assert_it_ends_as_if_it_had_not_stopped, train_and_keep
from training.captcha.config import (
    CaptchaConfig,
    CaptchaDataConfig,
    CaptchaNetworkConfig,
    CaptchaSchedule,
    CaptchaTeacherConfig,
)
from training.captcha.data import check_set_of, training_set_of, validation_set_of
from training.captcha.experiment import CaptchaExperiment
from training.captcha.samples import Purpose, draw_files, draw_sample
from training.config import load_config
from training.conversion import Checked, refuse_loss
from training.export import ExportOptions, export_run, parse_tests
from training.measuring.evaluation import measure
from training.run_folder import Position, continued, is_run

# One worker of pytest-xdist trains and exports for all tests that need it.
pytestmark = [pytest.mark.timeout(180), pytest.mark.xdist_group("keras")]

TINY = CaptchaConfig(
    name="tiny-captcha",
    seed=3,
    data=CaptchaDataConfig(
        images=512, validation_images=32, symbols="A1", min_length=1, max_length=2
    ),
    network=CaptchaNetworkConfig(channels=(4, 4, 8, 8, 8, 8, 16), context_layers=1),
    schedule=CaptchaSchedule(
        epochs=10, batch=32, learning_rate=1e-2, frame_share=0.3, checkpoint_steps=70
    ),
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train the tiny reader once for all tests of this module."""
    folder = tmp_path_factory.mktemp("captcha") / "run"
    train_and_keep(partial(trained, TINY, resume=False), folder, step=140)
    return folder


@pytest.fixture(scope="module")
def model(run: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Export it once, measured on a test set."""
    folder = tmp_path_factory.mktemp("test-set")
    check_set = replace(check_set_of(TINY), seed=77)
    draw_files(check_set, folder, n=40, workers=1, progress=lambda _: None)
    out = run / "tiny.tflite"
    export_run(run, out, ExportOptions(check_images=100, tests={"apart": folder}))
    return out.read_bytes()


def trained(
    config: CaptchaConfig, folder: Path, *, resume: bool, start: Path | None = None
) -> Position:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from training.train import TrainingOptions, run_training

    options = TrainingOptions("test", resume, 1, report=lambda _: None, start=start)
    return run_training(CaptchaExperiment(config), folder, options)


@pytest.mark.model
def test_a_run_learns_and_leaves_all_that_is_needed_to_repeat_it(run: Path) -> None:
    curves = json.loads((run / "curves.json").read_text())

    assert [epoch["epoch"] for epoch in curves] == list(range(1, 11))
    assert curves[-1]["loss"] < curves[0]["loss"] / 4
    assert curves[-1]["exact_match"] > 0.8
    assert (run / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert load_config(CaptchaConfig, run / "config.yaml") == TINY
    told = json.loads((run / "provenance.json").read_text())
    assert {"command", "commit", "version_keras", "version_captcha"} <= told.keys()


@pytest.mark.model
def test_a_run_that_stopped_ends_as_if_it_had_not(run: Path) -> None:
    stopped = run.with_name("run-stopped")  # in its ninth epoch

    position = trained(TINY, stopped, resume=True)

    assert position.step == 160
    assert_it_ends_as_if_it_had_not_stopped(position, stopped, run)


def test_the_story_of_a_resumed_run_is_told_whole() -> None:
    first = {"command": "a", "seed": "1", "commit": "x"}
    second = {"command": "b", "seed": "1", "commit": "x"}

    once = continued(first, second, step=40)

    assert once == {"command": "a; from step 40: b", "seed": "1", "commit": "x"}
    assert continued(once, second, step=50) == once
    assert continued({**first, "begun_with_seed": "7"}, first, step=40)["begun_with_seed"] == "7"


@pytest.mark.model
def test_a_run_that_begins_with_anothers_weights_reads_at_once(run: Path, tmp_path: Path) -> None:
    one_step = replace(TINY.schedule, epochs=1, learning_rate=1e-6, frame_share=0.0)
    few = replace(TINY, data=replace(TINY.data, images=32), schedule=one_step)

    position = trained(few, tmp_path / "on", resume=False, start=run)

    before = json.loads((run / "curves.json").read_text())[-1]["exact_match"]
    assert position.epochs[-1].exact_match == pytest.approx(before, abs=0.05)
    told = json.loads((tmp_path / "on" / "provenance.json").read_text())
    assert told["begun_with_data"] == "512 images drawn like captcha 0.7.1 100 %"


@pytest.mark.model
def test_a_run_that_begins_with_a_model_file_reads_at_once(
    run: Path, model: bytes, tmp_path: Path
) -> None:
    one_step = replace(TINY.schedule, epochs=1, learning_rate=1e-6, frame_share=0.0)
    few = replace(TINY, data=replace(TINY.data, images=32), schedule=one_step)

    position = trained(few, tmp_path / "on", resume=False, start=run / "tiny.tflite")

    before = json.loads((run / "curves.json").read_text())[-1]["exact_match"]
    assert position.epochs[-1].exact_match == pytest.approx(before, abs=0.05)
    told = json.loads((tmp_path / "on" / "provenance.json").read_text())
    assert told["begun_with_model"] == f"tiny-captcha {digest_of(model)[:12]}"
    assert told["begun_with_data"] == "512 images drawn like captcha 0.7.1 100 %"


@pytest.mark.model
def test_a_network_that_begins_with_a_model_scores_as_it_does(run: Path, model: bytes) -> None:
    from training.start_model import begin_with_model

    experiment = CaptchaExperiment(TINY)
    network, check = experiment.network(), experiment.check_set(64)
    pixels = experiment.to_pixels(check.stacked)

    begin_with_model(str(run / "tiny.tflite"), network, card=experiment.blank_card(), pixels=pixels)

    recogniser = Recogniser(model)
    expected = np.stack([recogniser.logits(image[:, :, None]) for image in check.images])
    found, learning = (np.asarray(network(pixels, training=t))[:, 0] for t in (False, True))
    assert np.abs(found - expected).mean() < 0.03 * np.abs(expected).mean()  # rounded to int8
    np.testing.assert_allclose(learning, found, atol=0.02 * np.abs(found).max())


@pytest.mark.model
def test_new_symbols_leave_what_a_model_reads_as_it_is(run: Path, model: bytes) -> None:
    from training.captcha.network import read_captchas
    from training.start_model import begin_with_model

    wider = CaptchaExperiment(replace(TINY, data=replace(TINY.data, symbols="ZA01")))
    network, check = wider.network(), CaptchaExperiment(TINY).check_set(64)
    pixels = wider.to_pixels(check.stacked)

    begin_with_model(str(run / "tiny.tflite"), network, card=wider.blank_card(), pixels=pixels)

    read = Recogniser(model).read([image[:, :, None] for image in check.images], None)
    assert read_captchas(network, check.stacked, Charset("ZA01")) == [one.text for one in read]


@pytest.mark.model
def test_a_network_begins_only_with_a_model_of_its_kind(model: bytes, run: Path) -> None:
    from training.start_model import begin_with_model

    other = CaptchaExperiment(replace(TINY, network=replace(TINY.network, context_layers=2)))
    card, pixels = other.blank_card(), other.to_pixels(other.calibration_images(1))
    tiny = str(run / "tiny.tflite")

    with pytest.raises(UserError, match="is of another network"):
        begin_with_model(tiny, other.network(), card=card, pixels=pixels)
    with pytest.raises(UserError, match="is decoded by ctc, the run by argmax"):
        begin_with_model(tiny, None, card=replace(card, decoder="argmax"), pixels=pixels)


def test_a_start_that_is_nothing_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no model 'nothing': give a shipped one"):
        trained(TINY, tmp_path / "run", resume=False, start=Path("nothing"))

    with pytest.raises(UserError, match="is no run with an epoch done"):
        trained(TINY, tmp_path / "run", resume=False, start=tmp_path)
    assert not (tmp_path / "run").exists()


def test_a_folder_called_as_a_model_is_does_not_hide_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("captcha").mkdir()
    assert not is_run(Path("captcha"))

    Path("captcha", "provenance.json").write_text("{}")
    assert is_run(Path("captcha"))


def test_a_run_cannot_begin_with_another_networks_weights(run: Path, tmp_path: Path) -> None:
    other = replace(TINY, network=replace(TINY.network, context_layers=2))

    with pytest.raises(UserError, match="cannot be started from"):
        trained(other, tmp_path / "other", resume=False, start=run)


@pytest.mark.model
def test_a_pupil_learns_from_the_scores_of_its_teacher_alone(
    run: Path, model: bytes, tmp_path: Path
) -> None:
    teacher = CaptchaTeacherConfig(model=str(run / "tiny.tflite"), share=1.0, temperature=1.0)
    taught = replace(TINY.schedule, frame_share=0.0, epochs=6)

    position = trained(replace(TINY, schedule=taught, teacher=teacher), tmp_path, resume=False)

    assert position.epochs[-1].loss < position.epochs[0].loss / 4
    told = json.loads((tmp_path / "provenance.json").read_text())
    assert told["teacher"] == "tiny.tflite"


@pytest.mark.model
def test_a_run_is_not_overwritten(run: Path) -> None:
    with pytest.raises(OutputError, match="go on with --resume"):
        trained(TINY, run, resume=False)


def test_nothing_to_resume_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be resumed"):
        trained(TINY, tmp_path, resume=True)

    assert not any(tmp_path.iterdir())


@pytest.mark.model
def test_the_exported_model_reads_as_the_network_did(model: bytes) -> None:
    card = read_card(model)

    assert card.metrics["exact_match_own_drawing"] > 0.8
    lost = card.metrics["exact_match_own_drawing_float"] - card.metrics["exact_match_own_drawing"]
    assert lost <= 0.003
    assert card.metrics["exact_match_apart"] > 0.8
    assert card.input == InputSpec(height=64, width=128)
    assert card.provenance["data"] == "512 images drawn like captcha 0.7.1 100 %"


@pytest.mark.model
def test_the_exported_model_carries_golden_images_that_it_reads(model: bytes) -> None:
    assert verify_golden(model) == 5
    card = read_card(model)
    image = open_image(read_golden(model, card.golden[0]))
    assert to_tensor(image, card.input).shape == (64, 128, 1)


@pytest.mark.model
def test_the_exported_model_takes_any_width(model: bytes) -> None:
    recogniser = Recogniser(model)

    logits = [recogniser.logits(np.full((64, width, 1), 255, np.uint8)) for width in (128, 256)]

    assert [one.shape for one in logits] == [(32, 3), (64, 3)]


@pytest.mark.model
def test_a_model_is_measured_on_a_folder(model: bytes, tmp_path: Path) -> None:
    draw_files(check_set_of(TINY), tmp_path, n=20, workers=1, progress=lambda _: None)

    scores = measure(model, tmp_path).scores

    assert scores.n == 20
    assert scores.exact_match > 0.7
    assert measure(model, tmp_path, allowed="A").scores.exact_match < scores.exact_match


@pytest.mark.model
def test_a_file_that_is_no_image_is_named(model: bytes, tmp_path: Path) -> None:
    (tmp_path / "labels.tsv").write_text("x.png\tA\n")
    (tmp_path / "x.png").write_text("no image")

    with pytest.raises(UserError, match=r"x\.png cannot be read: not_an_image"):
        measure(model, tmp_path)


def test_a_costly_quantisation_is_refused_with_its_figures() -> None:
    with pytest.raises(ModelError, match=r"costs 1\.00 points.*0\.9900 in float, 0\.9800 in int8"):
        refuse_loss(Checked(b"", 0.99, 0.98, 0.0, (), images=10_000))


def test_one_image_of_few_is_said_and_two_are_refused() -> None:
    said = refuse_loss(Checked(b"", 45 / 60, 44 / 60, 0.0, (), images=60))
    assert "60 images are too few to tell whether int8 costs more than 0.3 points" in said
    assert said.endswith("a loss of 5.0 may not show: 45 of them are right in float, 44 in int8")

    with pytest.raises(ModelError, match=r"costs 3\.33 points"):
        refuse_loss(Checked(b"", 45 / 60, 43 / 60, 0.0, (), images=60))
    with pytest.raises(ModelError, match=r"costs 0\.40 points"):
        refuse_loss(Checked(b"", 0.96, 0.956, 0.0, (), images=10_000))


def test_few_images_without_a_loss_do_not_pass_for_many() -> None:
    assert "30 of them are right in float, 30" in refuse_loss(Checked(b"", 1, 1, 0, (), images=30))
    assert refuse_loss(Checked(b"", 1.0, 0.9975, 0.0, (), images=1_000)) == ""


def test_an_export_into_no_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("name: x")

    with pytest.raises(OutputError, match="folder does not exist"):
        export_run(tmp_path, tmp_path / "no" / "x.tflite", ExportOptions())


def test_test_sets_are_given_by_name() -> None:
    assert parse_tests(["0.3=a/b"]) == {"0.3": Path("a/b")}
    with pytest.raises(SettingsError, match="--test='x'"):
        parse_tests(["x"])


def test_what_is_trained_on_meets_no_other_set_of_any_seed() -> None:
    wide = replace(TINY, data=replace(TINY.data, max_length=6, symbols=CAPTCHA_SYMBOLS))
    trained_on = training_set_of(wide)
    generated = replace(trained_on, purpose=Purpose.GENERATE)
    sets = (trained_on, validation_set_of(wide), check_set_of(wide), generated)

    texts = [[draw_sample(one, index).text for index in range(40)] for one in sets]

    for one, other in combinations(texts, 2):
        assert sum(a == b for a, b in zip(one, other, strict=True)) < 5  # short texts do meet

"""A fourth recogniser is one folder and one entry: docs/adding_a_recogniser.md holds."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from contract.errors import SettingsError
from recognition.card import read_card
from recognition.recogniser import Recogniser, verify_golden
from tests.support.stripe_counter import StripesDataConfig, StripesExperiment, draw_stripes
from training import cli
from training.experiment import RECOGNISERS, Experiment, load_experiment
from training.train import TrainingOptions, run_training

PAGE = Path(__file__).parents[2] / "docs" / "adding_a_recogniser.md"
CONFIG = """
task: stripes
data: {images: 640}
schedule: {epochs: 8, batch: 32, learning_rate: 2.0e-2, average_momentum: 0.9}
"""


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Name the toy among the recognisers, and write a configuration of it."""
    monkeypatch.setitem(RECOGNISERS, "stripes", "tests.support.stripe_counter:StripesExperiment")
    (tmp_path / "stripes.yaml").write_text(CONFIG)
    return tmp_path / "stripes.yaml"


@pytest.mark.model
@pytest.mark.timeout(120)
@pytest.mark.xdist_group("keras")
def test_a_toy_is_trained_exported_and_read_as_the_others_are(config: Path, tmp_path: Path) -> None:
    run, out = tmp_path / "run", tmp_path / "stripes.tflite"
    options = TrainingOptions("test", is_resumed=False, workers=1, report=lambda _: None)

    position = run_training(load_experiment(config), run, options)
    CliRunner().invoke(
        cli.export, [str(run), "-o", str(out), "--check-images", "200"], catch_exceptions=False
    )

    model = out.read_bytes()
    assert position.epochs[-1].exact_match > 0.9
    assert read_card(model).provenance["data"] == "640 images of stripes"
    assert verify_golden(model) == 5
    fresh = draw_stripes(StripesDataConfig(), seed=77, n=100)
    readings = Recogniser(model).read([image[:, :, None] for image in fresh.images], None)
    right = [reading.text == text for reading, text in zip(readings, fresh.texts, strict=True)]
    assert sum(right) >= 90


def test_a_task_that_nobody_has_named_is_refused_with_those_that_there_are(
    tmp_path: Path,
) -> None:
    (tmp_path / "x.yaml").write_text("task: stripes\n")

    with pytest.raises(SettingsError, match="task='stripes' is not accepted: give one of captcha"):
        load_experiment(tmp_path / "x.yaml")


def test_a_key_of_a_section_that_is_unknown_is_named(config: Path) -> None:
    with pytest.raises(SettingsError, match=r"data\.stripe=3.*\['images', 'stripe_px'\]"):
        load_experiment(config, {"data": {"stripe": 3}})


def test_the_page_names_every_part_of_an_experiment() -> None:
    told = set(re.findall(r"`(\w+)`", PAGE.read_text("utf-8")))

    parts = {name for name in vars(Experiment) if not name.startswith("_")}
    assert parts <= told
    assert parts <= set(dir(StripesExperiment)) | {"config"}

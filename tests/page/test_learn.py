"""The loop, closed in small: a job, what a person says of it, a model that reads better."""

from __future__ import annotations

import csv
import json
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from pifleet.cli import cli
from tests.conftest import StartWorker
from tests.support.commands import fleet_env
from training.captcha.samples import CaptchaSet, draw_files
from training.image_sets import read_labels

TINY = """
name: tiny
data: {images: 256, validation_images: 16, symbols: AB, max_length: 1}
own: {steps: 40}
network: {channels: [4, 4, 8, 8, 8, 8, 16], context_layers: 1}
schedule: {epochs: 3, batch: 32, learning_rate: 1.0e-2, average_momentum: 0.9}
"""


def typed(*words: str) -> str:
    """Type a command, in this process: TensorFlow takes seconds to load."""
    done = CliRunner().invoke(cli, list(words), catch_exceptions=False)
    assert done.exit_code in (0, 1), done.stderr
    return done.stdout


def measured(model: str) -> float:
    return float(json.loads(typed("evaluate", model, "apart", "--json"))["exact_match"])


@pytest.mark.model
@pytest.mark.redis
@pytest.mark.timeout(240)
@pytest.mark.xdist_group("keras")
def test_what_was_put_right_teaches_the_model(
    start_worker: StartWorker,
    redis_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, value in fleet_env(redis_url, tmp_path).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "3")
    (tmp_path / "tiny.yaml").write_text(TINY)
    for name, seed, n in (("images", 5, 240), ("apart", 6, 200)):
        drawn = CaptchaSet(seed=seed, symbols="A7", max_length=1)  # a symbol that it never met
        (tmp_path / name).mkdir()
        draw_files(drawn, tmp_path / name, n=n, workers=1, progress=lambda _: None)
    typed("train", "captcha", "--config", "tiny.yaml", "--out", "begin")
    typed("export", "begin", "-o", "tiny.tflite", "--check-images", "60")
    before = measured("tiny.tflite")
    start_worker()
    typed("submit", "images", "-o", "job.csv", "--model", "tiny.tflite")

    truth = read_labels(tmp_path / "images")
    least_sure = json.loads(typed("review", "list", "job.csv", "-n", "200", "--json"))
    with (tmp_path / "seen.csv").open("w", newline="") as file:
        csv.writer(file).writerows((one["name"], truth[one["name"]]) for one in least_sure)
    typed("review", "correct", "job.csv", "seen.csv")
    typed("collect", "job.csv", "--corrected")
    written = json.loads(typed("review", "export", "job.csv", "--json"))
    learn, *_ = written["next"]
    typed(*shlex.split(learn)[1:], "--config", "tiny.yaml", "--mix", "0.2")
    typed("export", "runs/mine", "-o", "mine.tflite", "--check-images", "60")

    seen = {one["name"] for one in least_sure}
    with (tmp_path / "job.corrected.csv").open(newline="") as file:
        assert all(text == truth[name] for name, text in csv.reader(file) if name in seen)
    assert written["images"] == 200
    assert before < 0.7
    assert measured("mine.tflite") > before + 0.2

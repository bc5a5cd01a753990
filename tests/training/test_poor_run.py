"""A run that learnt nothing does not pass for one that did."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from pifleet.cli import cli

CONFIG = """
name: poor
data: {images: 32, validation_images: 16, symbols: A1, min_length: 2, max_length: 2}
network: {channels: [4, 4, 8, 8, 8, 8, 16], context_layers: 1}
schedule: {epochs: 1, batch: 32, learning_rate: 1.0e-9}
"""


@pytest.mark.model
@pytest.mark.timeout(120)
@pytest.mark.xdist_group("keras")
def test_a_run_that_reads_nothing_says_so_and_so_does_its_export(tmp_path: Path) -> None:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    (tmp_path / "poor.yaml").write_text(CONFIG)
    run, out = tmp_path / "run", tmp_path / "poor.tflite"

    trained = invoke("train", "captcha", "--config", tmp_path / "poor.yaml", "--out", run)
    exported = invoke("export", run, "-o", out, "--check-images", "40")

    assert "reads 0.00 %" in trained.stdout
    assert "--start" in trained.stdout
    assert "next: pifleet export" not in trained.stdout
    assert "warning: exact_match_own_drawing is 0.00 %" in exported.stderr
    assert out.exists()


def invoke(*arguments: object) -> Result:
    done = CliRunner().invoke(cli, [str(one) for one in arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done

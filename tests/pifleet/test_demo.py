"""The demo is a whole fleet: what was drawn comes back as a CSV, and nothing stays behind."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from contract.errors import ModelError, OutputError
from pifleet.local.demo import DemoOptions, Image, run_demo
from tests.support.stripes import png

pytestmark = pytest.mark.redis


def test_demo_reads_every_image_right_and_does_so_twice(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def draw_stripes(made_up: list[Image], folder: Path) -> Iterator[int]:
        for number, image in enumerate(made_up):
            (folder / image.name).write_bytes(png(image.text))
            yield number + 1

    monkeypatch.setattr("pifleet.local.demo.draw_all", draw_stripes)
    options = DemoOptions(images=40, out=tmp_path / "out", model=str(tiny_model), seed=1)
    first, second = run_demo(options), run_demo(options)
    assert (first.rows, first.right, first.summary.failed) == (40, 40, 0)
    assert (second.rows, second.right) == (40, 40)
    assert first.summary.job != second.summary.job


def test_demo_command_gives_a_row_for_every_image_of_the_captcha_library(
    tmp_path: Path, tiny_model: Path
) -> None:
    out = tmp_path / "out"
    command = [sys.executable, "-m", "pifleet", "demo", "--images", "30", "--out", str(out)]
    done = subprocess.run(
        [*command, "--model", str(tiny_model), "--faults", "0.1", "--json"],
        check=True,
        stdout=subprocess.PIPE,
    )
    result = json.loads(done.stdout)
    assert (result["rows"], result["summary"]["failed"]) == (30, 0)
    assert _names(out / "submission.csv") == _names(out / "truth.csv")
    assert len(list((out / "images").glob("*.png"))) == 30


def test_demo_says_which_models_there_are_before_it_draws(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(ModelError, match="no model 'absent'"):
        run_demo(DemoOptions(out=out, model="absent"))
    assert not out.exists()


def test_demo_leaves_a_folder_with_other_files_alone(tmp_path: Path, tiny_model: Path) -> None:
    own = tmp_path / "images" / "holiday.png"
    own.parent.mkdir()
    own.write_bytes(b"dear to me")
    with pytest.raises(OutputError, match="holds something else: name another with --out"):
        run_demo(DemoOptions(out=tmp_path, model=str(tiny_model)))
    assert own.read_bytes() == b"dear to me"


def _names(path: Path) -> list[str]:
    with path.open(newline="", encoding="utf-8") as file:
        return [row[0] for row in csv.reader(file)]

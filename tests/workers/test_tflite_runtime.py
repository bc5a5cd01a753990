"""Both runtimes, the one for 64 and the one for 32-bit Pi OS, give the same text.

``make test`` makes the environment of tflite-runtime, which needs an older numpy, and names its
interpreter in ``PIFLEET_TFLITE_RUNTIME_PYTHON``.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from recognition.model_file import shipped_models
from recognition.recogniser import verify_golden
from tests.support.make_tiny_model import GOLDEN_TEXTS, TINY_MODEL
from tests.support.stripes import some_text
from tests.support.tflite_readings import readings

PYTHON = os.environ.get("PIFLEET_TFLITE_RUNTIME_PYTHON", "")
COUNT = 100
MODELS = {"tiny": TINY_MODEL, **shipped_models()}

pytestmark = pytest.mark.timeout(60)
elsewhere = pytest.mark.skipif(not PYTHON, reason="PIFLEET_TFLITE_RUNTIME_PYTHON is not set")


def read_elsewhere(model: Path) -> dict[str, Any]:
    """Run ``tests.support.tflite_readings`` in the other environment."""
    done = subprocess.run(
        [PYTHON, "-m", "tests.support.tflite_readings", str(model), str(COUNT)],
        cwd=Path(__file__).parents[2],
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
    )
    assert done.returncode == 0, done.stderr
    said: dict[str, Any] = json.loads(done.stdout)
    return said


@elsewhere
@pytest.mark.parametrize("name", MODELS)
def test_tflite_runtime_reads_every_golden_image_too(name: str) -> None:
    said = read_elsewhere(MODELS[name])
    assert said["runtime"] == "tflite-runtime"
    assert said["golden"] == verify_golden(MODELS[name].read_bytes()) > 0


@elsewhere
def test_tflite_runtime_reads_what_litert_reads() -> None:
    """Of the tiny model only: stripes are noise to others, and noise may round either way."""
    assert read_elsewhere(TINY_MODEL)["texts"] == readings(TINY_MODEL.read_bytes(), COUNT)


def test_tiny_model_reads_what_is_drawn() -> None:
    model = TINY_MODEL.read_bytes()
    assert verify_golden(model) == len(GOLDEN_TEXTS)
    assert readings(model, COUNT) == [some_text(seed) for seed in range(COUNT)]


@pytest.mark.parametrize("name", MODELS)
def test_shipped_model_is_small_and_reads_its_golden_images_here(name: str) -> None:
    data = MODELS[name].read_bytes()
    assert len(data) < 1_000_000
    assert verify_golden(data) >= 5

"""How long the network takes for an image of each width, int8 and float, on one thread."""

from __future__ import annotations

import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np

from recognition.interpreter import load_interpreter
from recognition.model_file import load_model
from training.conversion import convert
from training.words.config import HEIGHT
from training.words.experiment import WordsExperiment

WIDTHS = (48, 96, 160, 256, 512, 1024)
ROUNDS = 30
TURNS = 4  # images a round


def ms_by_width(model: bytes) -> dict[int, float]:
    """Find the median milliseconds of CPU an image, by its width in px."""
    interpreter: Any = load_interpreter(model)
    source = interpreter.get_input_details()[0]
    rng = np.random.default_rng(1)
    found = {}
    for width in WIDTHS:
        shape = (1, HEIGHT, width, 1)
        interpreter.resize_tensor_input(source["index"], list(shape))
        interpreter.allocate_tensors()
        noise = rng.random(shape) * (1 if source["dtype"] == np.float32 else 255)
        interpreter.set_tensor(source["index"], noise.astype(source["dtype"]))
        for _ in range(TURNS):
            interpreter.invoke()
        found[width] = round(statistics.median(_turn_ms(interpreter) for _ in range(ROUNDS)), 3)
    return found


def _turn_ms(interpreter: Any) -> float:
    started = time.process_time()
    for _ in range(TURNS):
        interpreter.invoke()
    return 1000 * (time.process_time() - started) / TURNS


def timings(model: str, config: Path) -> dict[str, dict[int, float]]:
    """Time a model, and the network of its configuration in float: its weights cost no time."""
    from training.experiment import load_experiment

    experiment = load_experiment(config)
    assert isinstance(experiment, WordsExperiment)
    white = np.full((2, HEIGHT, 160), 255, np.uint8)
    plain = convert(experiment.network(), white, experiment.to_pixels).float32
    return {"int8": ms_by_width(load_model(model).data), "float32": ms_by_width(plain)}

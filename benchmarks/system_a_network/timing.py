"""How long an image takes on one thread: the networks take turns, and each round is a comparison.

The clock is the process's own time on a core. By the wall clock a neighbour's turn falls on the
slow network more often than on the quick one, which would flatter the quick one.
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from benchmarks.system_a_network.reading import SystemAReader
from recognition.images import open_image, to_tensor
from recognition.interpreter import load_interpreter
from recognition.model_file import load_model
from recognition.recogniser import Recogniser

Part = Literal["network", "reading"]
PARTS: tuple[Part, ...] = ("network", "reading")  # the network alone; from PNG bytes to the text
TURN_S = 0.1  # of one network in a round: short, so that a round meets one state of the machine
FEWEST = 5  # images a turn
WARM_UP = 5


@dataclass(frozen=True, slots=True)
class Arm:
    """One network: ``network()`` runs it once, ``reading(data)`` reads a PNG file's bytes."""

    name: str
    network: Callable[[], object]
    reading: Callable[[bytes], object]


@dataclass(frozen=True, slots=True)
class Spread:
    """The middle of a figure over the rounds, and between what a half of them lie."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float], *, digits: int) -> Spread:
        """Find the quartiles."""
        low, median, high = np.quantile(values, (0.25, 0.5, 0.75))
        return cls(*(round(float(value), digits) for value in (median, low, high)))


def system_a_arm(name: str, model: bytes) -> Arm:
    """Take one of system A's converted networks."""
    return Arm(name, _bare(model), SystemAReader(model).read)


def our_arm(name_or_path: str) -> Arm:
    """Take a shipped model, or a file, read as a worker reads.

    Raises:
        ModelError: there is none.
    """
    file = load_model(name_or_path)
    recogniser = Recogniser(file.data)
    spec = recogniser.card.input

    def read(data: bytes) -> str:
        return recogniser.read([to_tensor(open_image(data), spec)], None)[0].text

    return Arm(file.card.name, _bare(file.data), read)


def measure(
    arms: Sequence[Arm], images: Sequence[bytes], rounds: int, rng: random.Random
) -> dict[str, dict[Part, list[float]]]:
    """Give the milliseconds an image: arm to part to a figure a round."""
    found: dict[str, dict[Part, list[float]]] = {
        arm.name: {part: [] for part in PARTS} for arm in arms
    }
    turns = [(arm, part, _images_a_turn(arm, part, images)) for arm in arms for part in PARTS]
    for _ in range(rounds):
        for arm, part, count in rng.sample(turns, len(turns)):
            found[arm.name][part].append(1000 * _turn(arm, part, images, count))
    return found


def times_faster(slow: Sequence[float], quick: Sequence[float]) -> Spread:
    """Compare two arms round by round."""
    return Spread.of([a / b for a, b in zip(slow, quick, strict=True)], digits=2)


def _images_a_turn(arm: Arm, part: Part, images: Sequence[bytes]) -> int:
    _turn(arm, part, images, WARM_UP)
    seconds = statistics.median(_turn(arm, part, images, 1) for _ in range(WARM_UP))
    return max(FEWEST, round(TURN_S / seconds))


def _turn(arm: Arm, part: Part, images: Sequence[bytes], count: int) -> float:
    """Give the seconds an image of a core."""
    started = time.process_time()
    if part == "network":
        for _ in range(count):
            arm.network()
    else:
        for number in range(count):
            arm.reading(images[number % len(images)])
    return (time.process_time() - started) / count


def _bare(model: bytes) -> Callable[[], object]:
    """Give the interpreter's own call, with an image of noise in place."""
    interpreter: Any = load_interpreter(model)
    source = interpreter.get_input_details()[0]
    noise = np.random.default_rng(1).random(source["shape"])
    full = 1 if source["dtype"] == np.float32 else 255
    interpreter.set_tensor(source["index"], (noise * full).astype(source["dtype"]))
    return interpreter.invoke  # type: ignore[no-any-return]

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
from functools import partial
from io import BytesIO
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.recognition.network import HEIGHT_PX, WIDTH_PX
from recognition.charset import CAPTCHA_SYMBOLS
from recognition.decoding import FloatArray
from recognition.images import load_tensor
from recognition.interpreter import load_interpreter
from recognition.model_file import load_model
from recognition.recogniser import Recogniser

Part = Literal["network", "reading"]
PARTS: tuple[Part, ...] = ("network", "reading")  # the network alone; from PNG bytes to the text
TURN_S = 0.1  # of one network in a round: short, so that a round meets one state of the machine
FEWEST = 5  # images a turn
WARM_UP = 5
PADDING = " "  # what system A's last class stands for
Clock = Callable[[], float]


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


class SystemAReader:
    """From an image to a text as system A did it: RGB in [0, 1], a class a head."""

    def __init__(self, model: bytes) -> None:
        self._interpreter = load_interpreter(model)
        self._input = self._interpreter.get_input_details()[0]["index"]
        self._output = self._interpreter.get_output_details()[0]["index"]

    def read(self, data: bytes) -> str:
        """Read one image's bytes."""
        with Image.open(BytesIO(data)) as image:
            colours = image.convert("RGB")
        if colours.size != (WIDTH_PX, HEIGHT_PX):
            colours = colours.resize((WIDTH_PX, HEIGHT_PX), Image.Resampling.BILINEAR)
        return decode(self.probabilities(to_pixels(np.asarray(colours)[None])))

    def probabilities(self, pixels: FloatArray) -> FloatArray:
        """Run the network on one image: (1, h, w, 3) to (1, heads, classes), both float32."""
        self._interpreter.set_tensor(self._input, pixels)  # type: ignore[arg-type]
        self._interpreter.invoke()
        found: FloatArray = self._interpreter.get_tensor(self._output)
        return found


def to_pixels(images: NDArray[np.uint8]) -> FloatArray:
    """Scale RGB images (n, h, w, 3) to the network's input, float32 in [0, 1]."""
    return images.astype(np.float32) / np.float32(255)


def decode(probabilities: FloatArray) -> str:
    """Take each head's likeliest class, (1, heads, classes), and leave the padding out."""
    symbols = CAPTCHA_SYMBOLS + PADDING
    return "".join(symbols[c] for c in probabilities[0].argmax(axis=1)).replace(PADDING, "")


def our_arm(name_or_path: str) -> Arm:
    """Take a shipped model, or a file, read as a worker reads.

    Raises:
        ModelError: there is none.
    """
    file = load_model(name_or_path)
    recogniser = Recogniser(file.data)
    spec = recogniser.card.input

    def read(data: bytes) -> str:
        return recogniser.read([load_tensor(data, spec)], None)[0].text

    return Arm(file.card.name, _bare(file.data), read)


def measure(
    arms: Sequence[Arm],
    images: Sequence[bytes],
    *,
    rounds: int,
    rng: random.Random,
    clock: Clock = time.process_time,
) -> dict[str, dict[Part, list[float]]]:
    """Find the milliseconds an image: arm to part to a figure a round."""
    found: dict[str, dict[Part, list[float]]] = {
        arm.name: {part: [] for part in PARTS} for arm in arms
    }
    time_turn = partial(_turn, images=images, clock=clock)
    turns = [(arm, part, _images_a_turn(arm, part, time_turn)) for arm in arms for part in PARTS]
    for _ in range(rounds):
        for arm, part, count in rng.sample(turns, len(turns)):
            found[arm.name][part].append(1000 * time_turn(arm, part, count=count))
    return found


def times_faster(slow: Sequence[float], quick: Sequence[float]) -> Spread:
    """Compare two arms round by round."""
    return Spread.of([a / b for a, b in zip(slow, quick, strict=True)], digits=2)


def _images_a_turn(arm: Arm, part: Part, time_turn: Callable[..., float]) -> int:
    time_turn(arm, part, count=WARM_UP)
    seconds = statistics.median(time_turn(arm, part, count=1) for _ in range(WARM_UP))
    return max(FEWEST, round(TURN_S / seconds))


def _turn(arm: Arm, part: Part, *, images: Sequence[bytes], count: int, clock: Clock) -> float:
    """Measure the seconds an image."""
    started = clock()
    if part == "network":
        for _ in range(count):
            arm.network()
    else:
        for number in range(count):
            arm.reading(images[number % len(images)])
    return (clock() - started) / count


def _bare(model: bytes) -> Callable[[], object]:
    """Return the interpreter's own call, with an image of noise in place."""
    interpreter: Any = load_interpreter(model)
    source = interpreter.get_input_details()[0]
    noise = np.random.default_rng(1).random(source["shape"])
    full = 1 if source["dtype"] == np.float32 else 255
    interpreter.set_tensor(source["index"], (noise * full).astype(source["dtype"]))
    return interpreter.invoke  # type: ignore[no-any-return]

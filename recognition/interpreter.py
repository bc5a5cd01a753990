"""One small door to whichever TFLite runtime this machine has.

``ai-edge-litert`` first (fastest), ``tflite-runtime`` where it is what there is (32-bit Pi OS),
TensorFlow's own last.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from contract.errors import ModelError, ServiceError
from recognition.card import ModelCard, read_card, read_golden
from recognition.decoding import FloatArray, Reading, decode_argmax, decode_ctc
from recognition.images import open_image, to_tensor

RUNTIMES = (
    ("litert", "ai_edge_litert.interpreter"),
    ("tflite-runtime", "tflite_runtime.interpreter"),
    ("tensorflow", "tensorflow.lite.python.interpreter"),
)


class Interpreter(Protocol):
    """The part of a TFLite interpreter that we use."""

    def allocate_tensors(self) -> None: ...  # noqa: D102
    def resize_tensor_input(self, index: int, shape: list[int]) -> None: ...  # noqa: D102
    def set_tensor(self, index: int, value: NDArray[np.uint8]) -> None: ...  # noqa: D102
    def invoke(self) -> None: ...  # noqa: D102
    def get_tensor(self, index: int) -> NDArray[Any]: ...  # noqa: D102
    def get_input_details(self) -> list[dict[str, Any]]: ...  # noqa: D102
    def get_output_details(self) -> list[dict[str, Any]]: ...  # noqa: D102


def runtime_name(only: str | None = None) -> str:
    """Name the runtime that this machine would use.

    Raises:
        ServiceError: none is installed.
    """
    return _find_runtime(only)[0]


def load_interpreter(model: bytes, *, only: str | None = None) -> Interpreter:
    """Load a model on one thread (a worker runs one process a core instead).

    Args:
        model: a ``.tflite`` file, with or without a card.
        only: insist on one of the ``RUNTIMES`` by name.

    Raises:
        ServiceError: no runtime is installed.
        ModelError: the runtime refuses the model.
    """
    name, interpreter_class = _find_runtime(only)
    try:
        with _silence():
            interpreter: Interpreter = interpreter_class(model_content=model, num_threads=1)
            interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        raise ModelError(f"{name} refuses the model: {error}") from error
    return interpreter


class Recogniser:
    """A model that is ready to read; one a process, made after any fork, for one thread."""

    def __init__(self, model: bytes, *, only: str | None = None) -> None:
        self.card: ModelCard = read_card(model)
        self._charset = self.card.charset
        self._interpreter = load_interpreter(model, only=only)
        self._input = self._interpreter.get_input_details()[0]
        self._output = self._interpreter.get_output_details()[0]
        self._check_shapes()
        self._shape = tuple(self._input["shape"])

    def read(self, images: Sequence[NDArray[np.uint8]], allowed: str | None) -> list[Reading]:
        """Read images one by one: a batch was measured to be no faster.

        Args:
            images: each (h, w, 1) uint8 as ``to_tensor`` gives them.
            allowed: the symbols that may be written; None allows all.

        Raises:
            UserError: an allowed symbol is not in the model's charset.
        """
        mask = self._charset.mask(allowed)
        decode = decode_ctc if self.card.decoder == "ctc" else decode_argmax
        readings: list[Reading] = []
        for same_width in _runs_of_one_width([self.logits(image) for image in images]):
            logits = np.stack(same_width)
            readings += decode(logits, self._charset, mask, temperature=self.card.temperature)
        return readings

    def logits(self, image: NDArray[np.uint8]) -> FloatArray:
        """Run the network on one image: (h, w, 1) uint8 to (t, k) float32."""
        self._fit(image.shape)
        self._interpreter.set_tensor(self._input["index"], image[None])
        self._interpreter.invoke()
        raw = self._interpreter.get_tensor(self._output["index"])[0, 0]
        values: FloatArray = raw.astype(np.float32)
        if raw.dtype == np.int8:
            scale, zero = self._output["quantization"]
            values = (values - np.float32(zero)) * np.float32(scale)
        return values

    def _fit(self, shape: tuple[int, ...]) -> None:
        wanted = (1, *shape)
        if wanted == self._shape:
            return
        self._interpreter.resize_tensor_input(self._input["index"], list(wanted))
        self._interpreter.allocate_tensors()
        self._shape = wanted

    def _check_shapes(self) -> None:
        classes = len(self.card.symbols) + (self.card.decoder == "ctc")
        if self._output["shape"][-1] != classes:
            found = self._output["shape"][-1]
            raise ModelError(f"the model writes {found} classes, its card names {classes}")
        if self._input["dtype"] != np.uint8:
            raise ModelError(f"the model takes {self._input['dtype'].__name__}, not uint8")


def verify_golden(model: bytes, *, only: str | None = None) -> int:
    """Read the golden images inside a model, and give their number.

    Raises:
        ModelError: one is read otherwise than its card says.
    """
    recogniser = Recogniser(model, only=only)
    for golden in recogniser.card.golden:
        image = open_image(read_golden(model, golden))
        text = recogniser.read([to_tensor(image, recogniser.card.input)], None)[0].text
        if text != golden.text:
            wanted = f"reads {text!r} in {golden.file}, its card says {golden.text!r}"
            raise ModelError(f"model {recogniser.card.name} {wanted}: do not use it here")
    return len(recogniser.card.golden)


@contextmanager
def _silence() -> Iterator[None]:
    """Keep the runtime's greeting (`INFO: Created TensorFlow Lite XNNPACK delegate`) off stderr.

    It is written by C++ code that no log level reaches, once a process; people take it for an
    error, and what is really wrong comes as an exception.
    """
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def _runs_of_one_width(logits: list[FloatArray]) -> list[list[FloatArray]]:
    runs: list[list[FloatArray]] = []
    for one in logits:
        if runs and runs[-1][0].shape == one.shape:
            runs[-1].append(one)
        else:
            runs.append([one])
    return runs


def _find_runtime(only: str | None) -> tuple[str, Any]:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # read by the runtimes at import
    for name, module in RUNTIMES:
        if only not in (None, name):
            continue
        try:
            return name, importlib.import_module(module).Interpreter
        except ImportError:
            continue
    wanted = only or "TFLite runtime"
    raise ServiceError(f"no {wanted} is installed: pip install 'pifleet[worker]'")

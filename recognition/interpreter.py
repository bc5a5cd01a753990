"""One small door to whichever TFLite runtime this machine has.

``ai-edge-litert`` first (fastest), ``tflite-runtime`` where it is what there is (32-bit Pi OS),
TensorFlow's own last.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from contract.errors import ModelError, ServiceError
from contract.installing import install_command

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
    raise ServiceError(f"no {wanted} is installed: {install_command('worker')}")

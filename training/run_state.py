"""The state of a training run on disk: all that it needs to go on as if it had not stopped."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from contract.errors import UserError
from training.average import Weights

STATE_FILE = "state.npz"
WEIGHTS_FILE = "weights.npz"  # the averaged weights, in Keras's order


@dataclass(frozen=True, slots=True)
class Epoch:
    """What is known after a pass over the images.

    Attributes:
        epoch: from 1.
        loss: mean over the epoch, of the mixed loss.
        exact_match: of the averaged weights on the validation images, in [0, 1].
        elapsed_s: of training since the start of the run.
        reading_per_s: images a second that could be read in.
        learning_per_s: images a second that could be learnt; the lower one of the two binds.
    """

    epoch: int
    loss: float
    exact_match: float
    elapsed_s: float
    reading_per_s: float = 0.0  # unknown: of a run before it was measured
    learning_per_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Position:
    """Where a run is.

    Attributes:
        step: optimiser steps done.
        elapsed_s: time in steps, pauses not counted.
        loss_sum: of the epoch under way.
        loss_steps: steps that are in ``loss_sum``.
        average_updates: of the averaged weights.
        epochs: those completed.
    """

    step: int = 0
    elapsed_s: float = 0.0
    loss_sum: float = 0.0
    loss_steps: int = 0
    average_updates: int = 0
    epochs: list[Epoch] = field(default_factory=list)


def save_state(run: Path, position: Position, model: Any, average: Weights) -> None:
    """Write the state in one step, so that a crash leaves the one before."""
    arrays: dict[str, Any] = {f"m{i:03d}": np.asarray(w) for i, w in enumerate(model.get_weights())}
    arrays |= {f"o{i:03d}": np.asarray(v.numpy()) for i, v in enumerate(model.optimizer.variables)}
    arrays |= {f"a{i:03d}": w for i, w in enumerate(average)}
    arrays["position"] = np.frombuffer(json.dumps(asdict(position)).encode(), dtype=np.uint8)
    _replace(run / STATE_FILE, lambda file: np.savez(file, **arrays))


def load_state(run: Path, model: Any) -> tuple[Position, Weights]:
    """Put a saved state back into a compiled model; give the position and averaged weights.

    Raises:
        UserError: there is no state, or it is of another network.
    """
    path = run / STATE_FILE
    try:
        with np.load(path) as arrays:
            state = {key: arrays[key] for key in arrays.files}
        model.set_weights(_run_of(state, "m"))
        for variable, value in zip(model.optimizer.variables, _run_of(state, "o"), strict=True):
            variable.assign(value)
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be resumed from: {error}") from error
    return _position_of(state["position"]), [w.astype(np.float32) for w in _run_of(state, "a")]


def saved_position(run: Path) -> Position:
    """Tell where a saved run is.

    Raises:
        UserError: there is no state, or it is damaged.
    """
    path = run / STATE_FILE
    try:
        with np.load(path) as arrays:
            return _position_of(arrays["position"])
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"{path} cannot be resumed from: {error}") from error


def _position_of(packed: NDArray[np.uint8]) -> Position:
    fields = json.loads(packed.tobytes())
    fields["epochs"] = [Epoch(**epoch) for epoch in fields["epochs"]]
    return Position(**fields)


def save_weights(run: Path, weights: Weights) -> None:
    """Write the weights that are exported."""
    arrays: dict[str, Any] = {f"w{i:03d}": w for i, w in enumerate(weights)}
    _replace(run / WEIGHTS_FILE, lambda file: np.savez(file, **arrays))


def load_weights(run: Path) -> Weights:
    """Read the weights to export.

    Raises:
        UserError: the run has none yet.
    """
    try:
        with np.load(run / WEIGHTS_FILE) as arrays:
            return [arrays[key] for key in sorted(arrays.files)]
    except (OSError, ValueError) as error:
        message = f"{run} holds no {WEIGHTS_FILE}: give the folder of a run with an epoch done"
        raise UserError(message) from error


def start_from(run: Path, model: Any) -> None:
    """Give a model the weights of another run.

    Raises:
        UserError: the run has none yet, or they are of another network.
    """
    try:
        model.set_weights(load_weights(run))
    except ValueError as error:
        raise UserError(f"{run} cannot be started from: {error}") from error


def _run_of(state: dict[str, NDArray[Any]], letter: str) -> list[NDArray[Any]]:
    return [state[key] for key in sorted(state) if key[0] == letter and key[1:].isdigit()]


def _replace(path: Path, write: Callable[[BinaryIO], None]) -> None:
    partial = path.with_suffix(".partial")
    try:
        with partial.open("wb") as file:
            write(file)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)

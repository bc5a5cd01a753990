"""What a run leaves in its folder, and reads there again.

``config.yaml`` and ``provenance.json`` say what repeats it, ``state.npz`` holds all that it needs
to go on as if it had not stopped, ``weights.npz`` the averaged weights that are measured and
exported, ``curves.json`` and ``curves.png`` loss and exact match by epoch.
"""

from __future__ import annotations

import json
import platform
import subprocess
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contract.errors import OutputError, UserError
from contract.files import atomic_write
from recognition.card import ModelCard
from recognition.model_file import load_model, shipped_models
from training.config import dump_config
from training.experiment import Experiment, load_experiment

PACKAGES = ("keras", "tensorflow", "jax", "torch", "numpy", "Pillow", "captcha", "pifleet")

Weights = list[NDArray[np.float32]]

STATE_FILE = "state.npz"
WEIGHTS_FILE = "weights.npz"  # the averaged weights, in Keras's order
PROVENANCE_FILE = "provenance.json"
STORY = ("command", "seed", "data", "commit")  # of a run, told again where another begins with it


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
        match_at_start: exact match of the weights that it was begun with, on the validation
            images; None where it was begun at random.
    """

    step: int = 0
    elapsed_s: float = 0.0
    loss_sum: float = 0.0
    loss_steps: int = 0
    average_updates: int = 0
    epochs: list[Epoch] = field(default_factory=list)
    match_at_start: float | None = None


def open_run(
    experiment: Experiment, run: Path, *, command: str, is_resumed: bool, start: Path | None = None
) -> None:
    """Make a run's folder, and write down what repeats it.

    Args:
        experiment: what is learnt.
        run: the folder.
        command: the command line.
        is_resumed: whether it is to go on from its state.
        start: the run or the model whose weights it begins with.

    Raises:
        UserError: there is nothing to resume from, or to begin with.
        ModelError: there is no such model to begin with.
        OutputError: the folder holds a run that was not asked to be resumed, or cannot be written.
    """
    has_state = (run / STATE_FILE).exists()
    if has_state and not is_resumed:
        raise OutputError(f"{run} holds a run: go on with --resume, or give another --out")
    if is_resumed and not has_state:
        raise UserError(f"{run} cannot be resumed: it holds no {STATE_FILE}")
    told = provenance(experiment, command)
    told |= {} if start is None else _begun_with(start)
    if has_state:
        told = continued(read_json(run / PROVENANCE_FILE), told, step=saved_position(run).step)
    try:
        run.mkdir(parents=True, exist_ok=True)
        (run / "config.yaml").write_text(dump_config(experiment.config), encoding="utf-8")
        text = json.dumps(told, indent=1) + "\n"
        (run / PROVENANCE_FILE).write_text(text, encoding="utf-8")
    except OSError as error:
        raise OutputError(f"{run} cannot be written: {error.strerror}") from error


def save_state(run: Path, position: Position, model: Any, average: Weights) -> None:
    """Write the state in one step, so that a crash leaves the one before."""
    arrays: dict[str, Any] = {f"m{i:03d}": np.asarray(w) for i, w in enumerate(model.get_weights())}
    arrays |= {f"o{i:03d}": np.asarray(v.numpy()) for i, v in enumerate(model.optimizer.variables)}
    arrays |= {f"a{i:03d}": w for i, w in enumerate(average)}
    arrays["position"] = np.frombuffer(json.dumps(asdict(position)).encode(), dtype=np.uint8)
    with atomic_write(run / STATE_FILE) as file:
        np.savez(file, **arrays)


def load_state(run: Path, model: Any) -> tuple[Position, Weights]:
    """Put a saved state back into a compiled model.

    Returns:
        The position of the run, and its averaged weights.

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
    """Read where a saved run is.

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
    with atomic_write(run / WEIGHTS_FILE) as file:
        np.savez(file, **arrays)


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


def _run_of(state: dict[str, NDArray[Any]], letter: str) -> list[NDArray[Any]]:
    return [state[key] for key in sorted(state) if key[0] == letter and key[1:].isdigit()]


def write_curves(run: Path, epochs: list[Epoch]) -> None:
    """Write ``curves.json`` and ``curves.png`` into a run's folder."""
    text = json.dumps([asdict(epoch) for epoch in epochs], indent=1) + "\n"
    (run / "curves.json").write_text(text, encoding="utf-8")
    _plot(epochs).savefig(run / "curves.png", dpi=120)


def _plot(epochs: list[Epoch]):  # type: ignore[no-untyped-def]
    from matplotlib.figure import Figure  # pyplot would look for a display
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(8, 3.5), layout="constrained")
    loss, match = figure.subplots(1, 2)
    numbers = [epoch.epoch for epoch in epochs]
    loss.plot(numbers, [epoch.loss for epoch in epochs], marker="o")
    loss.set(xlabel="epoch", ylabel="loss (training)", yscale="log")
    match.plot(numbers, [100 * epoch.exact_match for epoch in epochs], marker="o")
    match.set(xlabel="epoch", ylabel="exact match (not trained on), %")
    for axes in (loss, match):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))  # a tick an epoch overlaps at 20
        axes.grid(visible=True, alpha=0.3)
    return figure


def provenance(experiment: Experiment, command: str) -> dict[str, str]:
    """Collect what is needed to repeat this run."""
    found = {f"version_{name.lower()}": v for name in PACKAGES if (v := _version(name))}
    return {
        "command": command,
        "seed": str(experiment.config.seed),
        **experiment.described_data(),
        "commit": git_commit(),
        "python": platform.python_version(),
        "machine": f"{platform.machine()} {platform.system()}",
        **found,
    }


def continued(before: dict[str, str], now: dict[str, str], *, step: int) -> dict[str, str]:
    """Tell the whole story of a run that was resumed: what changed stands after what it was."""
    told = dict(before)  # what it was begun with is told once
    for key, value in now.items():
        earlier = before.get(key, value)
        is_same = earlier == value or earlier.endswith(f": {value}")
        told[key] = earlier if is_same else f"{earlier}; from step {step}: {value}"
    return told


def is_run(start: Path) -> bool:
    """Tell a run's folder from a model; a folder may be called as a shipped model is."""
    if (start / PROVENANCE_FILE).is_file():
        return True
    return start.is_dir() and str(start) not in shipped_models()


def card_of(start: Path) -> ModelCard:
    """Read what a run or a model reads, before another run begins with it.

    Raises:
        UserError: the run has no configuration.
        ModelError: there is no such model.
    """
    if is_run(start):
        return load_experiment(start / "config.yaml").blank_card()
    return load_model(str(start)).card


def _begun_with(start: Path) -> dict[str, str]:
    """Tell the story of the run, or the model, whose weights another run begins with."""
    return _story_of_run(start) if is_run(start) else _story_of_model(str(start))


def _story_of_model(name: str) -> dict[str, str]:
    model = load_model(name)
    before = model.card.provenance
    told = {f"begun_with_{key}": before[key] for key in STORY if key in before}
    return {"begun_with_model": f"{model.card.name} {model.digest[:12]}", **told}


def _story_of_run(run: Path) -> dict[str, str]:
    try:
        before = read_json(run / PROVENANCE_FILE)
        minutes = read_json(run / "curves.json")[-1]["elapsed_s"] / 60
    except OSError as error:
        raise UserError(f"{run} is no run with an epoch done: nothing to begin with") from error
    told = {f"begun_with_{key}": before[key] for key in STORY}
    return {**told, "begun_with_minutes": f"{minutes:.1f}"}


def git_commit() -> str:
    """Name the commit of this code, with ``-dirty`` where it was changed; ``unknown`` outside."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    here = Path(__file__).parent
    try:
        done = subprocess.run(command, cwd=here, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    return done.stdout.strip() or "unknown"


def read_json(path: Path) -> Any:
    """Read one of the JSON files of a run."""
    return json.loads(path.read_text("utf-8"))


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None

"""A training run as a crash would have left it: it goes on, and is held against the whole one."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from training.run_folder import Position, load_weights, read_json, save_state


def train_and_keep(train: Callable[[Path], object], folder: Path, *, step: int) -> Path:
    """Train into a folder, and copy it as it is after the checkpoint of a step.

    Returns:
        The copy: what a crash after that checkpoint would have left.
    """
    kept = folder.with_name(f"{folder.name}-stopped")

    def save_and_copy(run: Path, position: Position, *rest: Any) -> None:
        save_state(run, position, *rest)
        if position.step == step:
            shutil.copytree(run, kept)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("training.train.save_state", save_and_copy)
        train(folder)
    return kept


def assert_it_ends_as_if_it_had_not_stopped(ended: Position, stopped: Path, through: Path) -> None:
    """Compare a run that went on in ``stopped`` with the one that it was copied from."""
    before, after = (load_weights(folder) for folder in (through, stopped))
    for a, b in zip(before, after, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)
    whole, gone_on = (_losses(folder) for folder in (through, stopped))
    assert len(ended.epochs) == len(gone_on)
    np.testing.assert_allclose(gone_on, whole, rtol=1e-2)


def _losses(run: Path) -> list[float]:
    return [epoch["loss"] for epoch in read_json(run / "curves.json")]

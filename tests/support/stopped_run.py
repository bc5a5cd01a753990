"""A training run that is stopped in its middle, held against one that went through."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import numpy as np
import pytest

from training.run_folder import Position, load_weights


class Training(Protocol):
    """Train into a folder, from its beginning or on from where it stopped."""

    def __call__(self, folder: Path, *, resume: bool) -> Position: ...  # noqa: D102


def assert_it_ends_as_if_it_had_not_stopped(train: Training, folder: Path, *, steps: int) -> None:
    """Stop a run at the end of its first epoch, some steps after its last checkpoint; go on."""
    train(folder / "through", resume=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("training.train.save_weights", _stop)
        with pytest.raises(KeyboardInterrupt):
            train(folder / "stopped", resume=False)

    position = train(folder / "stopped", resume=True)

    assert position.step == steps
    through, resumed = (load_weights(folder / name) for name in ("through", "stopped"))
    for a, b in zip(through, resumed, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)


def _stop(*_: object) -> None:
    raise KeyboardInterrupt

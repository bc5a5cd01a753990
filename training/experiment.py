"""What the training loop and the export need of a recogniser: its ``Experiment``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from contract.errors import SettingsError
from recognition.card import ModelCard
from training.config import build_config, merged, read_mapping
from training.schedule import ScheduleConfig

# The recognisers by their task, each as "module:class of its experiment". Another one is one entry
# more: see docs/adding_a_recogniser.md.
RECOGNISERS = {
    "captcha": "training.captcha.experiment:CaptchaExperiment",
    "emnist": "training.emnist.experiment:EmnistExperiment",
    "words": "training.words.experiment:WordsExperiment",
}


class RunConfig(Protocol):
    """The part of a recogniser's configuration that every run has."""

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def task(self) -> str: ...  # noqa: D102
    @property
    def seed(self) -> int: ...  # noqa: D102
    @property
    def schedule(self) -> ScheduleConfig: ...  # noqa: D102


class Batches(Protocol):
    """What is learnt from, in batches that are the same for the same seed."""

    @property
    def steps_per_epoch(self) -> int:
        """Count the whole batches of an epoch."""

    def order(self, epoch: int) -> Sequence[NDArray[np.int64]] | NDArray[np.int64]:
        """Shuffle the images for an epoch (from 0): the indices of each batch."""

    def take(self, indices: NDArray[np.int64], *, done: float) -> tuple[Any, ...]:
        """Read one batch as Keras learns it: (pixels, targets), or with weights as a third.

        ``done`` is the share of the run, in [0, 1].
        """


@dataclass(frozen=True, slots=True)
class CheckSet:
    """Images that no epoch learnt from, to see what an export costs.

    Attributes:
        name: what they are called among the metrics of a card.
        images: (n, h, w) uint8; or each (h, w), of any width where the network's is free.
        texts: one each.
    """

    name: str
    images: Sequence[NDArray[np.uint8]] | NDArray[np.uint8]
    texts: tuple[str, ...]

    @property
    def stacked(self) -> NDArray[np.uint8]:
        """The images as one array, where all are of one width."""
        return np.asarray(self.images)


class Experiment(Protocol):
    """One experiment: its data and its network. It is made of its configuration alone.

    Its class names the dataclass of that configuration: ``config_kind``.
    """

    @property
    def config(self) -> RunConfig:
        """The description that repeats it."""

    def described_data(self) -> dict[str, str]:
        """Say what it learns from, for the model's card."""

    def prepare(self, run: Path, *, workers: int) -> None:
        """Draw or load what it learns from, before anything else is asked of it."""

    def batches(self) -> Batches:
        """Open what it learns from, after ``prepare``."""

    def compiled_model(self) -> Any:
        """Build its network with loss and optimiser, under the precision that is set."""

    def exact_match(self, model: Any) -> float:
        """Compute the share of the validation images that a model reads without an error."""

    def blank_card(self) -> ModelCard:
        """Say what its models read, without figures: name, symbols, decoder, input."""

    def network(self) -> Any:
        """Build its network alone, as it is converted."""

    def to_pixels(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Turn grey images (n, h, w) into the network's input (n, h, w, 1)."""

    def calibration_images(self, n: int) -> NDArray[np.uint8]:
        """Take images (n, h, w) that it learns from."""

    def check_set(self, n: int) -> CheckSet:
        """Take ``n`` images at most that it never learnt from."""

    def check_image(self, index: int) -> Image.Image:
        """Take one image of the check set as a file would hold it."""


def load_experiment(path: Path, changed: Mapping[str, Any] | None = None) -> Experiment:
    """Read an experiment's YAML; its ``task`` says whose it is.

    Args:
        path: the file.
        changed: what is put in place of its values; one a section is merged into the section.

    Raises:
        UserError: the file cannot be read, or is no YAML mapping.
        SettingsError: the task or a key is unknown, or a value is of the wrong kind.
    """
    mapping = merged(read_mapping(path), changed or {})
    task = mapping.get("task", "captcha")
    if task not in RECOGNISERS:
        raise SettingsError("task", task, "one of " + ", ".join(RECOGNISERS))
    module, _, name = RECOGNISERS[task].partition(":")
    kind = getattr(import_module(module), name)
    experiment: Experiment = kind(build_config(kind.config_kind, mapping))
    return experiment


def add_recognisers(more: Mapping[str, str]) -> None:
    """Add recognisers to those that are known: in a process that was begun anew, for one."""
    RECOGNISERS.update(more)

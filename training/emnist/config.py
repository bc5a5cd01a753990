"""The description of an EMNIST experiment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from training.schedule import ScheduleConfig


@dataclass(frozen=True, slots=True)
class EmnistDataConfig:
    """What is learnt from.

    Attributes:
        file: in a form that ``load_characters`` reads; of an ``.npz`` its part ``train``.
        split: what the classes of a file without mapping are; empty: as its name says.
        held_out: images a class that are taken out of the file, to measure epochs and exports
            with; never trained on.
        images: an epoch.
        balance: 0 draws a class as often as the file holds it, 1 all classes alike; what is between
            shows more distinct images. The loss weighs the classes alike in any case.
    """

    file: str = ""
    split: Literal["", "balanced", "byclass"] = ""
    held_out: int = 60
    images: int = 56_320
    balance: float = 0.5


@dataclass(frozen=True, slots=True)
class AugmentConfig:
    """How far an image may be changed; each is changed by a random share of it, at most by all.

    Attributes:
        rotation: in degrees, either way.
        shear: of x by y, as a tangent.
        shrink: to this scale.
        stretch: of width against height, as a share.
        shift: in px, along each axis.
        elastic: standard deviation in px of the displacements on a grid of 5x5 nodes.
        thickness: share of the way to the image whose strokes are a pixel thicker or thinner.
    """

    rotation: float = 14.0
    shear: float = 0.2
    shrink: float = 0.85
    stretch: float = 0.12
    shift: float = 2.0
    elastic: float = 0.9
    thickness: float = 0.5


@dataclass(frozen=True, slots=True)
class EmnistNetworkConfig:
    """The sizes of the network (see ``network.py``).

    Attributes:
        channels: at 28x28, at 14x14, at 7x7.
        blocks: residual blocks at 14x14, at 7x7.
    """

    channels: tuple[int, ...] = (16, 64, 112)
    blocks: tuple[int, ...] = (1, 1)


@dataclass(frozen=True, slots=True)
class EmnistSchedule(ScheduleConfig):
    """How it learns.

    Attributes:
        label_smoothing: share of the target that is spread over all classes.
    """

    label_smoothing: float = 0.05


@dataclass(frozen=True, slots=True)
class EmnistTeacherConfig:
    """The models that it learns from, beside the labels.

    Attributes:
        models: shipped names or ``.tflite`` files, a comma between them; empty: none. The mean of
            their probabilities is what they teach.
        images: changed images that the teachers read once, before the training; it then learns
            these over and over, and changes them no more.
        share: of the target that is the teachers', in [0, 1].
    """

    models: str = ""
    images: int = 470_000
    share: float = 0.8

    @property
    def names(self) -> tuple[str, ...]:
        """The models, one by one."""
        return tuple(name.strip() for name in self.models.split(",") if name.strip())


@dataclass(frozen=True, slots=True)
class EmnistConfig:
    """One experiment."""

    task: Literal["emnist"] = "emnist"
    name: str = "emnist"
    seed: int = 1
    data: EmnistDataConfig = EmnistDataConfig()
    augment: AugmentConfig = AugmentConfig()
    network: EmnistNetworkConfig = EmnistNetworkConfig()
    schedule: EmnistSchedule = EmnistSchedule()
    teacher: EmnistTeacherConfig = EmnistTeacherConfig()

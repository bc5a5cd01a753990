"""The description of a words experiment."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from training.own_images import OwnConfig
from training.schedule import ScheduleConfig
from training.words.samples import CELLS_SHARE, HAND_SHARE, KIND_WEIGHTS

HEIGHT = 32
MAX_WIDTH = 1024
WIDTH_STEP = 16


@dataclass(frozen=True, slots=True)
class WordsDataConfig:
    """What is drawn.

    Attributes:
        images: distinct training images; each is seen once an epoch, a little otherwise each time.
        validation_images: drawn for that alone, with fonts and texts that training never sees.
        fonts: folders, with a colon between two; empty: the system's.
        words: word lists, likewise; empty: the dictionaries of wamerican-small and -huge.
        hand: EMNIST's file; empty: no handwriting is drawn.
        hand_share: of the texts in capitals and digits, that a hand writes.
        cells_share: of the codes, numbers and dates, that stand in boxes.
        kinds: kind of text to weight; empty: ``samples.KIND_WEIGHTS``.
        height: of what the network reads, in px.
        width: that an image is converted and calibrated at.
    """

    images: int = 240_000
    validation_images: int = 2_000
    fonts: str = ""
    words: str = ""
    hand: str = ""
    hand_share: float = HAND_SHARE
    cells_share: float = CELLS_SHARE
    kinds: dict[str, float] = field(default_factory=lambda: dict(KIND_WEIGHTS))
    height: int = HEIGHT
    width: int = 160


@dataclass(frozen=True, slots=True)
class WordsNetworkConfig:
    """The sizes of the network (see ``network.py``).

    Attributes:
        channels: of the six stages, from the image to the frames.
        context_frames: width of the depthwise kernels over the frames.
        context_layers: how many of them.
    """

    channels: tuple[int, ...] = (16, 24, 48, 96, 160, 192)
    context_frames: int = 9
    context_layers: int = 3


@dataclass(frozen=True, slots=True)
class WordsSchedule(ScheduleConfig):
    """How it learns.

    Attributes:
        frame_share: share of the run in which the cross-entropy of frames at known middles gives
            way to CTC.
    """

    frame_share: float = 0.1


@dataclass(frozen=True, slots=True)
class WordsConfig:
    """One experiment."""

    task: Literal["words"] = "words"
    name: str = "words"
    seed: int = 1
    data: WordsDataConfig = WordsDataConfig()
    network: WordsNetworkConfig = WordsNetworkConfig()
    schedule: WordsSchedule = WordsSchedule()
    own: OwnConfig = field(default_factory=OwnConfig)

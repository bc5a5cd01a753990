"""The description of a captcha experiment."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from recognition.charset import CAPTCHA_SYMBOLS
from training.own_images import OwnConfig
from training.schedule import ScheduleConfig


@dataclass(frozen=True, slots=True)
class CaptchaDataConfig:
    """What is drawn.

    Attributes:
        images: distinct training images; each is seen once an epoch.
        validation_images: drawn for that alone, never trained on.
        presets: release of the captcha library to its share.
        symbols: that texts are made of.
        min_length: symbols a text.
        max_length: symbols a text.
        charsets: symbols that a text is made of, to how often; empty: all of them, always. What a
            run is measured with is always made of all.
        symbol_weights: symbol to how often it is trained on, where that is not 1.
        length_weights: one a length, from ``min_length`` on; empty: uniform. What a run is measured
            with is always uniform.
        width: of an image in px.
        height: of an image in px.
        fonts: a folder; one of its fonts is drawn for each glyph. Empty: the library's own font.
        font_sizes: in px, one of them for each glyph; empty: the library's own.
    """

    images: int = 160_000
    validation_images: int = 8_000
    presets: dict[str, float] = field(default_factory=lambda: {"0.7.1": 1.0})
    symbols: str = CAPTCHA_SYMBOLS
    min_length: int = 1
    max_length: int = 6
    charsets: dict[str, float] = field(default_factory=dict)
    symbol_weights: dict[str, float] = field(default_factory=dict)
    length_weights: tuple[int, ...] = ()
    width: int = 128
    height: int = 64
    fonts: str = ""
    font_sizes: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class CaptchaNetworkConfig:
    """The sizes of the network (see ``network.py``).

    Attributes:
        channels: of the seven stages, from the image to the frames.
        context_frames: width of the depthwise kernels over the frames.
        context_layers: how many of them.
    """

    channels: tuple[int, ...] = (16, 24, 40, 48, 72, 96, 128)
    context_frames: int = 7
    context_layers: int = 2


@dataclass(frozen=True, slots=True)
class CaptchaSchedule(ScheduleConfig):
    """How it learns.

    Attributes:
        frame_share: share of the run in which the cross-entropy of frames at known glyph middles
            gives way to CTC. It takes away the plateau at which CTC alone starts.
    """

    frame_share: float = 0.12


@dataclass(frozen=True, slots=True)
class CaptchaTeacherConfig:
    """The model that it learns from, beside the texts.

    Attributes:
        model: a shipped model's name or a ``.tflite`` file; empty: none.
        share: of the loss that compares with the teacher, in [0, 1].
        temperature: that both scores are divided by, in the comparison.
    """

    model: str = ""
    share: float = 0.7
    temperature: float = 2.0


@dataclass(frozen=True, slots=True)
class CaptchaConfig:
    """One experiment."""

    task: Literal["captcha"] = "captcha"
    name: str = "captcha"
    seed: int = 1
    data: CaptchaDataConfig = CaptchaDataConfig()
    network: CaptchaNetworkConfig = CaptchaNetworkConfig()
    schedule: CaptchaSchedule = CaptchaSchedule()
    teacher: CaptchaTeacherConfig = CaptchaTeacherConfig()
    own: OwnConfig = field(default_factory=OwnConfig)

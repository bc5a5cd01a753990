"""What goes in and out of the JSON interface, beside what its parts already speak."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from contract.reasons import Reason
from pifleet.page.reading import ModelChoice
from producer.review.corrections import MOST_SYMBOLS, MOST_WHO, How
from producer.review.estimate import Estimate
from producer.review.review import MOST_A_SCREEN, ReviewImage


class Choices(msgspec.Struct, frozen=True):
    """What Try offers: models, sets of symbols by name, and whether a fleet is there."""

    models: list[ModelChoice]
    presets: dict[str, str]
    has_fleet: bool


class Begun(msgspec.Struct, frozen=True):
    """A job that was begun: the name of the submission that it will write."""

    submission: str


class Done(msgspec.Struct, frozen=True):
    """What was done, in a sentence."""

    said: str


class Written(msgspec.Struct, frozen=True):
    """A file that was written, and how many of its texts a person put right."""

    file: str
    corrected: int


class Screen(msgspec.Struct, frozen=True):
    """A screen of images to look at.

    Attributes:
        images: at most as many as were asked for.
        estimate: of the whole submission.
        symbols: that the job may write; others are most likely a slip.
        name: of the submission.
        is_open: whether the job is not at its end yet.
    """

    images: list[ReviewImage]
    estimate: Estimate
    symbols: str
    name: str
    is_open: bool


class Replay(msgspec.Struct, frozen=True):
    """Which failed images to try again: those with a reason, or all."""

    reason: Reason | None = None


class Words(msgspec.Struct, frozen=True):
    """What a person says of some images."""

    words: Annotated[list[Word], Meta(max_length=MOST_A_SCREEN)]
    how: How = "least sure"
    who: Annotated[str, Meta(max_length=MOST_WHO)] = ""


class Word(msgspec.Struct, frozen=True):
    """What a person says of one image; no text takes the last word back."""

    index: int
    text: Annotated[str, Meta(max_length=MOST_SYMBOLS)] | None = None

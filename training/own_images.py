"""Labelled images of one's own: read as workers read them, held out in part, mixed with drawn ones.

The labels are any file of ``read_labels_file``: one written by hand, or a submission that a person
has corrected. What a recogniser makes of them stands in its own folder.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from contract.errors import ImageError, SettingsError, UserError
from recognition.card import InputSpec
from recognition.images import load_tensor
from training.image_sets import read_labels_file
from training.progress_bar import progress_bar


@dataclass(frozen=True, slots=True)
class OwnConfig:
    """Labelled images of one's own, which drawn ones are mixed with.

    Attributes:
        folder: of the images; empty: there are none.
        labels: the file of their texts.
        mix: share of drawn images, in [0, 1); 0 draws none.
        held_out: share of one's own images that are measured with, and never trained on.
        fold: which such share, from 0; the folds below ``1 / held_out`` have no image in common.
        steps: of an epoch; one's own images come again as often as that takes.
    """

    folder: str = ""
    labels: str = ""
    mix: float = 0.3
    held_out: float = 0.2
    fold: int = 0
    steps: int = 500

    def __post_init__(self) -> None:
        """Refuse a mixture that leaves none of one's own, and parts that do not exist."""
        if not 0 <= self.mix < 1:
            raise SettingsError("mix", self.mix, "a share of 0 or more, less than 1")
        if not 0 < self.held_out < 1:
            raise SettingsError("own.held_out", self.held_out, "a share between 0 and 1")
        if not 0 <= self.fold < round(1 / self.held_out):
            accepted = f"0 to {round(1 / self.held_out) - 1}, of a share of {self.held_out:g}"
            raise SettingsError("own.fold", self.fold, accepted)

    def texts(self) -> dict[str, str]:
        """Read the text of each image, by its name.

        Raises:
            UserError: the file is missing, or of no form that is known.
        """
        return read_labels_file(Path(self.labels))

    def read(self, texts: Mapping[str, str], spec: InputSpec) -> list[NDArray[np.uint8]]:
        """Read the images as a worker fits them: each (h, w).

        Raises:
            UserError: one cannot be read.
        """
        folder = Path(self.folder)
        with progress_bar(f"reading {folder.name}", len(texts)) as advance:
            images = []
            for name in texts:
                images.append(_read_grey(folder / name, spec))
                advance(1)
        return images

    def hold_out(self, images: list[NDArray[np.uint8]], *, seed: int) -> NDArray[np.bool_]:
        """Choose those to measure with: (n,).

        By the pixels, so that neither names nor their order matter, and an image that stands there
        twice is in one part alone.

        Raises:
            SettingsError: one of the parts would be empty.
        """
        digests = [sha256(f"{seed} ".encode() + image.tobytes()).digest() for image in images]
        distinct = sorted(set(digests))
        size = self.held_out * len(distinct)
        first, last = round(self.fold * size), round((self.fold + 1) * size)
        chosen = set(distinct[first : max(first + 1, last)])
        held = np.array([digest in chosen for digest in digests])
        if held.all() or not held.any():
            told = "a share that leaves some in both parts"
            raise SettingsError("own.held_out", self.held_out, told)
        return held

    def described(
        self, drawn: Mapping[str, str], *, training: int, held_out: int
    ) -> dict[str, str]:
        """Say what is learnt from, the folder by its name alone, with what is drawn beside it."""
        told = f"{training} images of {Path(self.folder).name}, {held_out} more held out"
        if self.mix:
            told += f"; {100 * self.mix:g} % of {drawn['data']}"
        return {**drawn, "data": told}


def _read_grey(path: Path, spec: InputSpec) -> NDArray[np.uint8]:
    try:
        return load_tensor(path.read_bytes(), spec)[:, :, 0]
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
    except ImageError as error:
        raise UserError(f"{path} cannot be read: {error}") from error


def shuffled_again(
    rng: np.random.Generator, indices: NDArray[np.int64], wanted: int
) -> NDArray[np.int64]:
    """Shuffle indices over and over, until there are as many as are wanted."""
    if wanted == 0:
        return np.empty(0, dtype=np.int64)
    rounds = [rng.permutation(indices) for _ in range(-(-wanted // len(indices)))]
    return np.concatenate(rounds)[:wanted]

"""The labelled images that words are measured on: drawn with what training never saw, and real."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from recognition.images import open_image
from training.image_sets import read_labels
from training.measuring.scores import Scores, score
from training.words.samples import WordSet, draw_sample

FEWEST = 20  # images of a font, below which its share says nothing
UNTOLD = "real"  # the kind and the font of an image that was not drawn


@dataclass(frozen=True, slots=True)
class Labelled:
    """One image as a file would hold it, in grey, its text, and what is known of it."""

    image: Image.Image
    text: str
    kind: str = UNTOLD
    font: str = UNTOLD


@dataclass(frozen=True, slots=True)
class Answer:
    """What one reader made of one image."""

    text: str
    read: str
    confidence: float
    kind: str
    font: str


def drawn_images(word_set: WordSet, places: range) -> Iterator[Labelled]:
    """Draw some images of a set."""
    for index in places:
        sample = draw_sample(word_set, index)
        image = Image.fromarray(sample.image).convert("L")
        yield Labelled(image, sample.text, sample.kind, sample.font)


def real_images(folder: Path) -> Iterator[Labelled]:
    """Read the images of a folder with labels.tsv."""
    for name, text in read_labels(folder).items():
        yield Labelled(open_image((folder / name).read_bytes()), text)


def folded(text: str) -> str:
    """Leave letters and digits alone, in one case, as scene words are compared in papers."""
    return re.sub(r"[^0-9a-z]", "", text.lower())


def score_answers(answers: Sequence[Answer], *, is_folded: bool = False) -> Scores:
    """Compare readings with the truth, as they stand or folded."""
    fold = folded if is_folded else str
    return score([fold(a.text) for a in answers], [fold(a.read) for a in answers])


def share_by(answers: Sequence[Answer], part: str) -> dict[str, tuple[int, float]]:
    """Find how many there are of each kind or font, and the share of them that is read right."""
    total = Counter(getattr(answer, part) for answer in answers)
    right = Counter(getattr(a, part) for a in answers if a.text == a.read)
    return {name: (n, right[name] / n) for name, n in total.most_common() if n >= FEWEST}

"""What a person asks to be drawn, and drawing it, in any form of a set."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from training.image_sets import make_empty, writing_into
from training.progress_bar import progress_bar
from training.words.config import HEIGHT
from training.words.draw_set import draw_files, draw_packed
from training.words.fonts import find_word_fonts, system_folders
from training.words.records import draw_records
from training.words.samples import CELLS_SHARE, HARD, KIND_WEIGHTS, WordSet
from training.words.texts import MAX_LENGTH, find_dictionaries, read_words

log = logging.getLogger(__name__)

Form = Literal["files", "packed", "tfrecord"]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a person asks to be drawn; what they leave out is Debian's.

    Attributes:
        seed: of the set.
        fonts: folders.
        words: word lists.
        texts: a file of texts, a line each, that are written and no others; None writes all kinds.
        hand: EMNIST's file, for handwriting.
        kinds: of text; empty: all.
        cells: share of codes, numbers and dates in boxes; None: the usual one.
        hardness: of the hardest image, in [0, 1].
        held_out: with the fonts and texts that training never sees.
    """

    seed: int
    fonts: tuple[Path, ...] = ()
    words: tuple[Path, ...] = ()
    texts: Path | None = None
    hand: Path | None = None
    kinds: tuple[str, ...] = ()
    cells: float | None = None
    hardness: float = HARD
    held_out: bool = False


def word_set_of(wanted: Wanted, *, workers: int, kept: Path | None) -> WordSet:
    """Find the fonts and word lists that are asked for.

    Raises:
        SettingsError: there are none, or a kind is unknown.
    """
    kinds = {kind: KIND_WEIGHTS.get(kind, 1.0) for kind in wanted.kinds} or KIND_WEIGHTS
    lists = wanted.words if wanted.texts is None else (wanted.texts,)
    if wanted.texts is not None:
        kinds = {"line": 1.0}
        if left_out := read_words(lists).lists[0].left_out:
            told = "%s: %d lines are left out: longer than %d symbols, or not printable ASCII"
            log.warning(told, wanted.texts, left_out, MAX_LENGTH)
    return WordSet(
        seed=wanted.seed,
        fonts=find_word_fonts(wanted.fonts or system_folders(), workers=workers, kept=kept),
        words=lists or find_dictionaries(),
        kinds=dict(kinds),
        hand=wanted.hand,
        cells_share=CELLS_SHARE if wanted.cells is None else wanted.cells,
        hardness=wanted.hardness,
        held_out=wanted.held_out,
    )


def draw_new_set(word_set: WordSet, out: Path, *, n: int, form: Form, workers: int) -> float:
    """Draw a set into ``out``, a folder that is new or empty; gives the seconds that it took.

    Raises:
        OutputError: the folder holds something, or cannot be written.
    """
    make_empty(out)
    started = time.monotonic()
    with writing_into(out), progress_bar("drawing", n) as advance:
        if form == "packed":
            draw_packed(word_set, out, n=n, height=HEIGHT, workers=workers, progress=advance)
        elif form == "tfrecord":
            draw_records(word_set, out, n=n, workers=workers, progress=advance)
        else:
            draw_files(word_set, out, n=n, workers=workers, progress=advance)
    return time.monotonic() - started

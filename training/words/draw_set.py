"""Draw a whole set of word images, in several processes: packed for training, or as PNG files."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from contract.processes import spread
from recognition.card import InputSpec
from recognition.charset import Charset
from recognition.images import to_tensor
from training.image_sets import NO_CENTRE, make_empty, write_labels
from training.progress_bar import progress_bar
from training.words.config import HEIGHT, MAX_WIDTH
from training.words.fonts import PRINTABLE, find_word_fonts, system_folders
from training.words.packed import PackedWord, PackedWords, pack_words, write_words
from training.words.samples import (
    CELLS_SHARE,
    HARD,
    KIND_WEIGHTS,
    Sample,
    WordSet,
    draw_sample,
)
from training.words.texts import find_dictionaries

CHUNK = 250  # a second of drawing: fine progress, little traffic
PNG_LEVEL = 1
ANNOTATIONS_FILE = "annotations.jsonl"
WORDS_SYMBOLS = PRINTABLE

Progress = Callable[[int], None]


def describe_set(word_set: WordSet, *, n: int, height: int) -> dict[str, Any]:
    """Say what the first ``n`` images of a set follow from: files by content, not by place."""
    told = asdict(word_set)
    told |= {"n": n, "height": height, "symbols": WORDS_SYMBOLS, "purpose": word_set.purpose.name}
    told["fonts"] = {"faces": len(word_set.fonts), "sha256": _digest(word_set)}
    told["words"] = [_told_file(file) for file in word_set.words]
    told["hand"] = None if word_set.hand is None else word_set.hand.name
    return dict(json.loads(json.dumps(told)))


def _digest(word_set: WordSet) -> str:
    return sha256("".join(font.drawn for font in word_set.fonts).encode()).hexdigest()


def _told_file(file: Path) -> str:
    return f"{file.name} {sha256(file.read_bytes()).hexdigest()[:12]}"


def draw_packed(
    word_set: WordSet, folder: Path, *, n: int, height: int, workers: int, progress: Progress
) -> None:
    """Draw ``n`` images as a network of a height reads them, into a packed set.

    Args:
        word_set: what to draw.
        folder: an existing folder.
        n: images.
        height: in px.
        workers: processes; the set does not depend on it.
        progress: called with the number of images just done.
    """
    task = partial(_draw_packed_chunk, word_set, height)

    def parts() -> Iterator[PackedWords]:
        for part in spread(task, n, workers, chunk=CHUNK):
            yield part
            progress(len(part))

    write_words(parts(), folder, describe_set(word_set, n=n, height=height))


def _draw_packed_chunk(word_set: WordSet, height: int, chunk: range) -> PackedWords:
    words = [as_read(draw_sample(word_set, index), height) for index in chunk]
    return pack_words(words, Charset(WORDS_SYMBOLS))


def as_read(sample: Sample, height: int) -> PackedWord:
    """Fit a drawn image to a network's height, as a worker does with a file."""
    grey = Image.fromarray(sample.image).convert("L")
    spec = InputSpec(height=height, width=1, fit="keep_aspect", max_width=MAX_WIDTH)
    image = to_tensor(grey, spec)[:, :, 0]
    middles = (sample.boxes[:, 0] + sample.boxes[:, 2]) / 2 * (image.shape[1] / grey.width)
    is_drawn = sample.boxes[:, 2] > sample.boxes[:, 0]
    centres = np.where(is_drawn, middles, _between(middles, is_drawn)).astype(np.float32)
    return PackedWord(image, sample.text, np.clip(centres, 0, image.shape[1] - 1))


def _between(middles: np.ndarray[Any, Any], is_drawn: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Place the middles of spaces half-way between their neighbours'."""
    places = np.arange(len(middles))
    if not is_drawn.any():
        return np.full_like(middles, NO_CENTRE)
    return np.asarray(np.interp(places, places[is_drawn], middles[is_drawn]))


def draw_files(
    word_set: WordSet, folder: Path, *, n: int, workers: int, progress: Progress
) -> None:
    """Draw ``n`` PNG files named by index, ``labels.tsv`` and the annotations."""
    texts: dict[str, str] = {}
    task = partial(_draw_files_chunk, word_set, folder)
    with (folder / ANNOTATIONS_FILE).open("w", encoding="utf-8") as annotations:
        for part in spread(task, n, workers, chunk=CHUNK):
            for told in part:
                annotations.write(json.dumps(told, ensure_ascii=False) + "\n")
                texts[told["file"]] = told["text"]
            progress(len(part))
    write_labels(folder, {name: text for name, text in texts.items() if text})


def _draw_files_chunk(word_set: WordSet, folder: Path, chunk: range) -> list[dict[str, Any]]:
    told = []
    for index in chunk:
        sample = draw_sample(word_set, index)
        name = f"{index:06d}.png"
        Image.fromarray(sample.image).save(folder / name, compress_level=PNG_LEVEL)
        told.append(
            {
                "file": name,
                "text": sample.text,
                "kind": sample.kind,
                "font": sample.font,
                "cells": sample.cells,
                "boxes": [[round(float(side), 1) for side in box] for box in sample.boxes],
            }
        )
    return told


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


def draw_new_set(word_set: WordSet, out: Path, *, n: int, is_packed: bool, workers: int) -> float:
    """Draw a set into ``out``, a folder that is new or empty; gives the seconds that it took.

    Raises:
        OutputError: the folder holds something, or cannot be made.
    """
    make_empty(out)
    started = time.monotonic()
    with progress_bar("drawing", n) as advance:
        if is_packed:
            draw_packed(word_set, out, n=n, height=HEIGHT, workers=workers, progress=advance)
        else:
            draw_files(word_set, out, n=n, workers=workers, progress=advance)
    return time.monotonic() - started

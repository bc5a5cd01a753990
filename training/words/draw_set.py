"""Draw a whole set of word images, in several processes: packed for training, or as PNG files."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import partial
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from contract.processes import spread
from recognition.card import InputSpec
from recognition.charset import Charset
from recognition.images import to_tensor
from training.image_sets import NO_CENTRE, write_labels
from training.words.config import MAX_WIDTH
from training.words.fonts import PRINTABLE
from training.words.packed import PackedWord, PackedWords, pack_words, write_words
from training.words.samples import Sample, WordSet, draw_sample

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
        told.append(annotation(sample, index))
        (folder / told[-1]["file"]).write_bytes(png(sample))
    return told


def annotation(sample: Sample, index: int) -> dict[str, Any]:
    """Say what stands in image ``index``, and where."""
    return {
        "file": f"{index:06d}.png",
        "text": sample.text,
        "kind": sample.kind,
        "font": sample.font,
        "cells": sample.cells,
        "boxes": [[round(float(side), 1) for side in box] for box in sample.boxes],
    }


def png(sample: Sample) -> bytes:
    """Write an image as the bytes of a file."""
    data = BytesIO()
    Image.fromarray(sample.image).save(data, format="PNG", compress_level=PNG_LEVEL)
    return data.getvalue()

"""Draw a data set on all cores, into packed arrays or into PNG files with a labels file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import TypeVar

import numpy as np

from training.captcha.samples import CaptchaSet, describe, draw_sample
from training.labels_file import write_labels
from training.packed_set import create_packed, describe_packed, open_packed

CHUNK = 250  # a quarter of a second of drawing: fine progress, little traffic
PNG_LEVEL = 1  # level 6 makes files 8 % smaller and takes 3 times as long


@dataclass(frozen=True, slots=True)
class Chunk:
    """A run of indices of a set."""

    start: int
    stop: int


Progress = Callable[[int], None]
Result = TypeVar("Result")


def draw_packed(
    captcha_set: CaptchaSet, folder: Path, *, n: int, workers: int, progress: Progress
) -> None:
    """Draw ``n`` images into a packed set.

    Args:
        captcha_set: what to draw.
        folder: an existing folder.
        n: images.
        workers: processes; the set does not depend on it.
        progress: called with the number of images just done.
    """
    size = captcha_set.size
    create_packed(folder, shape=(n, size.height, size.width), max_length=captcha_set.max_length)
    task = partial(_draw_packed_chunk, captcha_set, folder)
    for chunk in _spread(task, n, workers):
        progress(chunk.stop - chunk.start)
    describe_packed(folder, describe(captcha_set, n=n))


def draw_files(
    captcha_set: CaptchaSet, folder: Path, *, n: int, workers: int, progress: Progress
) -> None:
    """Draw ``n`` PNG files named by index, and ``labels.tsv``; arguments as ``draw_packed``."""
    texts: dict[str, str] = {}
    for part in _spread(partial(_draw_files_chunk, captcha_set, folder), n, workers):
        texts.update(part)
        progress(len(part))
    write_labels(folder, dict(sorted(texts.items())))


def _spread(task: Callable[[Chunk], Result], n: int, workers: int) -> Iterator[Result]:
    chunks = [Chunk(start, min(start + CHUNK, n)) for start in range(0, n, CHUNK)]
    if workers == 1:
        yield from map(task, chunks)
        return
    with get_context("spawn").Pool(workers) as pool:  # a fork would copy a loaded TensorFlow
        yield from pool.imap_unordered(task, chunks)


def _draw_packed_chunk(captcha_set: CaptchaSet, folder: Path, chunk: Chunk) -> Chunk:
    packed = open_packed(folder, mode="r+", symbols=captcha_set.symbols)
    for index in range(chunk.start, chunk.stop):
        sample = draw_sample(captcha_set, index)
        length = len(sample.text)
        packed.images[index] = np.asarray(sample.drawn.image.convert("L"))
        packed.labels[index, :length] = packed.charset.encode(sample.text)
        packed.centres[index, :length] = sample.drawn.centres
    return chunk


def _draw_files_chunk(captcha_set: CaptchaSet, folder: Path, chunk: Chunk) -> dict[str, str]:
    texts = {}
    for index in range(chunk.start, chunk.stop):
        sample = draw_sample(captcha_set, index)
        name = f"{index:06d}.png"
        sample.drawn.image.save(folder / name, compress_level=PNG_LEVEL)
        texts[name] = sample.text
    return texts

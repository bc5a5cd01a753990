"""EMNIST as it is published: IDX files, gzipped or not, whose images are transposed.

Source: http://yann.lecun.com/exdb/mnist for the format; the transposition is EMNIST's own.
"""

from __future__ import annotations

import gzip
import math
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from contract.errors import UserError
from training.emnist.characters import Characters, Split
from training.emnist.class_names import check_labels, symbols_beside

GZIP_MAGIC = b"\x1f\x8b"
UNSIGNED_BYTE = 8  # the third byte of an IDX file: the type of its values


def read_idx(images_path: Path, split: Split | None) -> Characters:
    """Read an images file and the labels file beside it.

    Raises:
        UserError: one of them cannot be read, or they do not fit together.
    """
    labels_path = _labels_beside(images_path)
    symbols = symbols_beside(images_path, split)
    images = _read_array(images_path, dimensions=3)
    labels = _read_array(labels_path, dimensions=1).astype(np.int64)
    if len(images) != len(labels):
        counts = f"{len(images)} images and {len(labels)} labels"
        raise UserError(f"{images_path} and {labels_path.name} do not fit: {counts}")
    check_labels(labels_path, labels, symbols)
    return Characters(np.ascontiguousarray(images.transpose(0, 2, 1)), labels, symbols)


def _labels_beside(images_path: Path) -> Path:
    name = images_path.name.replace("images-idx3", "labels-idx1")
    for candidate in (name, name.removesuffix(".gz"), name + ".gz"):
        if images_path.with_name(candidate).is_file():
            return images_path.with_name(candidate)
    raise UserError(f"{images_path} has no {name} beside it")


def _read_array(path: Path, *, dimensions: int) -> NDArray[np.uint8]:
    try:
        data = path.read_bytes()
        if data.startswith(GZIP_MAGIC):
            data = gzip.decompress(data)
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{path} cannot be read: {error}") from error
    if data[:4] != bytes((0, 0, UNSIGNED_BYTE, dimensions)):
        raise UserError(f"{path} is no IDX file of {dimensions} dimensions: starts {data[:4]!r}")
    header = 4 + 4 * dimensions
    sizes = data[4:header].ljust(4 * dimensions, b"\0")  # cut short: none of its own length
    shape = tuple(int(n) for n in np.frombuffer(sizes, dtype=">u4"))
    expected = header + math.prod(shape)
    if len(data) != expected:
        raise UserError(f"{path} is damaged: {len(data)} bytes where its header says {expected}")
    return np.frombuffer(data, dtype=np.uint8, offset=header).reshape(shape)

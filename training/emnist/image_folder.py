"""Characters as files: a folder with a subfolder a character.

A subfolder is named by its character (``A``), by two hexadecimal digits of its code as NIST's own
folders are (``41``), or by ``U+0041``. Names of one character cannot hold ``a`` beside ``A`` on a
file system that does not tell cases apart; the others can. Class numbers are no names here: ``41``
would be a character of its own.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from contract.errors import ImageError, UserError
from recognition.images import open_image
from training.emnist.characters import BY_CLASS_SYMBOLS, SIDE, Characters

CODE = re.compile(r"(?:[Uu]\+)?([0-9A-Fa-f]{2,6})")
LIGHT_PAPER = 128  # a border whose median is above: dark ink on light paper


def read_folder(folder: Path) -> Characters:
    """Read every image of every subfolder, in the order of their names.

    Raises:
        UserError: a subfolder's name is no character, or a file no image of 28x28.
    """
    images: list[NDArray[np.uint8]] = []
    labels: list[int] = []
    for subfolder in sorted(p for p in folder.iterdir() if p.is_dir() and p.name[0] != "."):
        label = BY_CLASS_SYMBOLS.index(_character(subfolder))
        files = sorted(p for p in subfolder.iterdir() if p.is_file() and p.name[0] != ".")
        images += [_read_image(path) for path in files]
        labels += [label] * len(files)
    if not images:
        raise UserError(f"{folder} holds no images: give it a subfolder a character")
    return Characters(np.stack(images), np.array(labels, dtype=np.int64), BY_CLASS_SYMBOLS)


def _character(subfolder: Path) -> str:
    name = subfolder.name
    code = CODE.fullmatch(name)
    character = name if len(name) == 1 else chr(int(code[1], 16)) if code else ""
    if len(character) != 1 or character not in BY_CLASS_SYMBOLS:
        raise UserError(f"{subfolder} is named by no digit or letter: give A, 41 or U+0041")
    return character


def _read_image(path: Path) -> NDArray[np.uint8]:
    try:
        pixels = np.asarray(open_image(path.read_bytes()))
    except (OSError, ImageError) as error:
        raise UserError(f"{path} cannot be read: {error}") from error
    if pixels.shape != (SIDE, SIDE):
        height, width = pixels.shape
        raise UserError(f"{path} is {width}x{height}, EMNIST's images are {SIDE}x{SIDE}")
    border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    return 255 - pixels if np.median(border) > LIGHT_PAPER else pixels

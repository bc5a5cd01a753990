"""EMNIST in the forms it is published in, whichever a path holds.

- IDX files, gzipped or not, and the rows of Kaggle's CSV hold images that are transposed; a mapping
  file beside them, their name or the caller says which characters their class numbers stand for.
- An ``.npz`` holds upright images, labels and class names as arrays.
- A folder has a subfolder a character. It is named by its character (``A``), by two hexadecimal
  digits of its code as NIST's own folders are (``41``), or by ``U+0041``. Names of one character
  cannot hold ``a`` beside ``A`` on a file system that does not tell cases apart; the others can.
  Class numbers are no names here: ``41`` would be a character of its own.

Source: http://yann.lecun.com/exdb/mnist for IDX (the transposition is EMNIST's own);
https://www.kaggle.com/datasets/crawford/emnist for the CSV (its rows are those of the IDX files).
"""

from __future__ import annotations

import gzip
import math
import re
import warnings
import zipfile
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from contract.errors import ImageError, UserError
from recognition.images import open_image
from training.emnist.characters import (
    BALANCED_SYMBOLS,
    BY_CLASS_SYMBOLS,
    SIDE,
    SYMBOLS,
    Characters,
    Split,
    merge_cases,
)

FORMS = (
    "a folder with a subfolder a character, an .npz, a .csv, or the images-idx3-ubyte[.gz] file"
    " beside its labels-idx1-ubyte[.gz]"
)
SPLIT_IN_NAME = re.compile(r"emnist-([a-z]+)[-.]")
GZIP_MAGIC = b"\x1f\x8b"
UNSIGNED_BYTE = 8  # the third byte of an IDX file: the type of its values
COLUMNS = 1 + SIDE * SIDE
CODE = re.compile(r"(?:[Uu]\+)?([0-9A-Fa-f]{2,6})")
LIGHT_BACKGROUND = 128  # a border whose median is above: dark strokes on it


def load_characters(
    path: Path, *, part: str = "validation", split: Split | None = None
) -> Characters:
    """Read characters, in the 47 classes of the balanced set.

    A mapping file beside an IDX or CSV file (``emnist-byclass-mapping.txt``) names its classes;
    where there is none, ``split`` does, or ``byclass`` and ``balanced`` in the file's name.

    Args:
        path: a file or folder in one of ``FORMS``.
        part: of an ``.npz`` that holds several: ``train`` for its ``train_x`` and ``train_y``.
        split: what the classes of a file without mapping are.

    Raises:
        UserError: the path is none of these, or what it holds is damaged.
    """
    read = _read(path, part, split)
    if len(read) == 0:
        raise UserError(f"{path} holds no characters")
    if read.images.shape[1:] != (SIDE, SIDE):
        size = "x".join(map(str, read.images.shape[1:]))
        raise UserError(f"{path} holds images of {size}, EMNIST's are {SIDE}x{SIDE}")
    unknown = sorted(set(read.symbols) - set(SYMBOLS["byclass"]))
    if unknown:
        raise UserError(f"{path} has classes that EMNIST does not know: {unknown}")
    return read if read.symbols == BALANCED_SYMBOLS else merge_cases(read)


def _read(path: Path, part: str, split: Split | None) -> Characters:
    if path.is_dir():
        return _read_folder(path)
    if not path.is_file():
        raise UserError(f"{path} does not exist: give {FORMS}")
    name = path.name.lower()
    if name.endswith(".npz"):
        return _read_arrays(path, part)
    if name.endswith(".csv"):
        return _read_csv(path, split)
    if "images-idx3" in name:
        return _read_idx(path, split)
    raise UserError(f"{path} is in no form of EMNIST that is known: give {FORMS}")


def _symbols_beside(path: Path, split: Split | None) -> str:
    """Name the classes of a file: by the mapping beside it, by ``split``, or by its own name.

    Raises:
        UserError: the mapping cannot be read, or nothing names the classes.
    """
    found = SPLIT_IN_NAME.match(path.name.lower())
    named = found[1] if found else ""
    mapping = path.with_name(f"emnist-{named}-mapping.txt")
    if mapping.is_file():
        return _read_mapping(mapping)
    by_name: dict[str, Split] = {
        "byclass": "byclass",
        "balanced": "balanced",
        "bymerge": "balanced",
    }
    chosen = split or by_name.get(named)
    if chosen is None:
        raise UserError(f"{path} does not tell its classes: give --split balanced or byclass")
    return SYMBOLS[chosen]


def _check_labels(path: Path, labels: NDArray[np.int64], symbols: str) -> None:
    """Refuse labels that are no class of ``symbols``.

    Raises:
        UserError: names the first of them.
    """
    wrong = np.flatnonzero((labels < 0) | (labels >= len(symbols)))
    if len(wrong):
        row, label = int(wrong[0]), int(labels[wrong[0]])
        classes = f"of {len(symbols)} classes"
        raise UserError(f"{path}: image {row} has label {label}, {classes}; is it another split?")


def _read_mapping(path: Path) -> str:
    """Read lines of a class number and the decimal code point of its character."""
    try:
        rows = [line.split() for line in path.read_text("ascii").splitlines() if line.strip()]
        codes = {int(row[0]): int(row[1]) for row in rows}
        return "".join(chr(codes[number]) for number in range(len(codes)))
    except (OSError, ValueError, LookupError, OverflowError) as error:
        raise UserError(f"{path} is no mapping of class numbers to code points: {error}") from error


def _read_idx(images_path: Path, split: Split | None) -> Characters:
    """Read an images file and the labels file beside it.

    Raises:
        UserError: one of them cannot be read, or they do not fit together.
    """
    labels_path = _labels_beside(images_path)
    symbols = _symbols_beside(images_path, split)
    images = _read_array(images_path, dimensions=3)
    labels = _read_array(labels_path, dimensions=1).astype(np.int64)
    if len(images) != len(labels):
        counts = f"{len(images)} images and {len(labels)} labels"
        raise UserError(f"{images_path} and {labels_path.name} do not fit: {counts}")
    _check_labels(labels_path, labels, symbols)
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


def _read_csv(path: Path, split: Split | None) -> Characters:
    """Read a CSV; a first line of column names is passed over.

    Raises:
        UserError: it cannot be read, or a row is no label with 784 values of 0 to 255.
    """
    symbols = _symbols_beside(path, split)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # an empty file: said by who called
            table = np.loadtxt(
                path, delimiter=",", dtype=np.int16, ndmin=2, skiprows=_header_lines(path)
            )
    except (OSError, ValueError) as error:
        reason = str(error).split("\n")[0]
        raise UserError(f"{path} is no table of labels and pixels: {reason}") from error
    table = table.reshape(-1, COLUMNS) if table.size == 0 else table
    if table.shape[1] != COLUMNS:
        raise UserError(f"{path} has {table.shape[1]} columns, EMNIST has {COLUMNS}")
    labels, pixels = table[:, 0].astype(np.int64), table[:, 1:]
    if pixels.size and (pixels.min() < 0 or pixels.max() > 255):
        row = int(np.flatnonzero(((pixels < 0) | (pixels > 255)).any(axis=1))[0])
        raise UserError(f"{path}: image {row} has pixels outside 0 to 255")
    _check_labels(path, labels, symbols)
    upright = pixels.reshape(-1, SIDE, SIDE).transpose(0, 2, 1)
    return Characters(np.ascontiguousarray(upright, dtype=np.uint8), labels, symbols)


def _header_lines(path: Path) -> int:
    with path.open("rb") as file:
        first = file.readline(COLUMNS * 16).split(b",")[0].strip()
    return int(bool(first) and not first.isdigit())


def _read_arrays(path: Path, part: str) -> Characters:
    """Read ``PART_x`` (n, 28, 28) uint8, ``PART_y`` (n,) and ``classes``, a character each.

    Raises:
        UserError: an array is missing, or of another form.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            images, labels = arrays[f"{part}_x"], arrays[f"{part}_y"]
            symbols = "".join(str(name) for name in arrays["classes"])
    except KeyError as error:
        raise UserError(f"{path} lacks an array: {error.args[0]}") from error
    except (OSError, ValueError, zipfile.BadZipFile, EOFError) as error:
        raise UserError(f"{path} cannot be read as .npz: {error}") from error
    if images.ndim != 3 or images.dtype != np.uint8 or labels.shape != images.shape[:1]:
        found = f"{images.dtype} {images.shape} and {labels.dtype} {labels.shape}"
        raise UserError(f"{path}: {part} is {found}, not uint8 images with a label each")
    _check_labels(path, labels.astype(np.int64), symbols)
    return Characters(images, labels.astype(np.int64), symbols)


def _read_folder(folder: Path) -> Characters:
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
    return 255 - pixels if np.median(border) > LIGHT_BACKGROUND else pixels

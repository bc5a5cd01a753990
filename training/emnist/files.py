"""Read EMNIST in the forms it is published in, whichever a path holds."""

from __future__ import annotations

from pathlib import Path

from contract.errors import UserError
from training.emnist.arrays_file import read_arrays
from training.emnist.characters import (
    BALANCED_SYMBOLS,
    SIDE,
    SYMBOLS,
    Characters,
    Split,
    merge_cases,
)
from training.emnist.csv_file import read_csv
from training.emnist.idx_files import read_idx
from training.emnist.image_folder import read_folder

FORMS = (
    "a folder with a subfolder a character, an .npz, a .csv, or the images-idx3-ubyte[.gz] file"
    " beside its labels-idx1-ubyte[.gz]"
)


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
        return read_folder(path)
    if not path.is_file():
        raise UserError(f"{path} does not exist: give {FORMS}")
    name = path.name.lower()
    if name.endswith(".npz"):
        return read_arrays(path, part)
    if name.endswith(".csv"):
        return read_csv(path, split)
    if "images-idx3" in name:
        return read_idx(path, split)
    raise UserError(f"{path} is in no form of EMNIST that is known: give {FORMS}")

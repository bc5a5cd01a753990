"""EMNIST in each form that it is published in, made small."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from contract.errors import UserError
from training.emnist.characters import BALANCED_SYMBOLS, BY_CLASS_SYMBOLS, Characters
from training.emnist.published_files import load_characters

Spoil = Callable[[Path, NDArray[np.uint8]], Path]

TEXTS = "7Aatz"
MERGED = "7AatZ"


@pytest.fixture
def images() -> NDArray[np.uint8]:
    """Images that are no mirror image of themselves: a bar on top, a dot at its left end."""
    images = np.zeros((len(TEXTS), 28, 28), np.uint8)
    images[:, 4, 8:20] = 200
    images[:, 6, 8] = 255
    images[:, 20, 10] = np.arange(len(TEXTS)) * 50
    return images


def labels_of(texts: str, symbols: str) -> list[int]:
    return [symbols.index(text) for text in texts]


def write_idx(
    folder: Path, images: NDArray[np.uint8], labels: list[int], *, split: str, is_gzipped: bool
) -> Path:
    transposed = images.transpose(0, 2, 1)
    header = bytes((0, 0, 8, 3)) + np.array(images.shape, ">u4").tobytes()
    named = {
        f"emnist-{split}-train-images-idx3-ubyte": header + transposed.tobytes(),
        f"emnist-{split}-train-labels-idx1-ubyte": (
            bytes((0, 0, 8, 1)) + np.array([len(labels)], ">u4").tobytes() + bytes(labels)
        ),
    }
    ending = ".gz" if is_gzipped else ""
    for name, data in named.items():
        (folder / (name + ending)).write_bytes(gzip.compress(data) if is_gzipped else data)
    return folder / f"emnist-{split}-train-images-idx3-ubyte{ending}"


def write_mapping(folder: Path, split: str, symbols: str) -> None:
    lines = [f"{number} {ord(symbol)}\n" for number, symbol in enumerate(symbols)]
    (folder / f"emnist-{split}-mapping.txt").write_text("".join(lines))


def write_csv(
    path: Path, images: NDArray[np.uint8], labels: list[int], *, header: str = ""
) -> Path:
    rows = np.column_stack([labels, images.transpose(0, 2, 1).reshape(len(images), -1)])
    np.savetxt(path, rows, fmt="%d", delimiter=",", header=header, comments="")
    return path


def texts_of(characters: Characters) -> str:
    return "".join(characters.text(index) for index in range(len(characters)))


@pytest.mark.parametrize("is_gzipped", [True, False], ids=["gz", "plain"])
def test_idx_files_are_turned_upright(
    tmp_path: Path, images: NDArray[np.uint8], is_gzipped: bool
) -> None:
    labels = labels_of(MERGED, BALANCED_SYMBOLS)
    path = write_idx(tmp_path, images, labels, split="balanced", is_gzipped=is_gzipped)

    read = load_characters(path)

    np.testing.assert_array_equal(read.images, images)
    assert texts_of(read) == MERGED
    assert read.symbols == BALANCED_SYMBOLS


def test_by_class_is_merged_into_the_balanced_classes(
    tmp_path: Path, images: NDArray[np.uint8]
) -> None:
    labels = labels_of(TEXTS, BY_CLASS_SYMBOLS)
    path = write_idx(tmp_path, images, labels, split="byclass", is_gzipped=True)

    assert texts_of(load_characters(path)) == MERGED


def test_a_mapping_beside_the_file_names_its_classes(
    tmp_path: Path, images: NDArray[np.uint8]
) -> None:
    path = write_idx(tmp_path, images, [4, 3, 2, 1, 0], split="letters", is_gzipped=True)
    write_mapping(tmp_path, "letters", TEXTS[::-1])

    assert texts_of(load_characters(path)) == MERGED


def test_without_a_mapping_the_split_is_asked_for(
    tmp_path: Path, images: NDArray[np.uint8]
) -> None:
    path = write_csv(tmp_path / "mine.csv", images, labels_of(TEXTS, BY_CLASS_SYMBOLS))

    with pytest.raises(UserError, match="give --split balanced or byclass"):
        load_characters(path)
    assert texts_of(load_characters(path, split="byclass")) == MERGED


@pytest.mark.parametrize("header", ["", "label" + ",pixel" * 784], ids=["bare", "named"])
def test_the_rows_of_a_csv_are_turned_upright(
    tmp_path: Path, images: NDArray[np.uint8], header: str
) -> None:
    path = tmp_path / "emnist-balanced-test.csv"
    write_csv(path, images, labels_of(MERGED, BALANCED_SYMBOLS), header=header)

    read = load_characters(path)

    np.testing.assert_array_equal(read.images, images)
    assert texts_of(read) == MERGED


def test_a_folder_is_read_by_the_names_of_its_subfolders(
    tmp_path: Path, images: NDArray[np.uint8]
) -> None:
    for name, image in zip(("7", "41", "U+0061", "t", "z"), images, strict=True):
        (tmp_path / name).mkdir()
        Image.fromarray(image).save(tmp_path / name / "0.png")

    read = load_characters(tmp_path)

    assert sorted(texts_of(read)) == sorted(MERGED)
    np.testing.assert_array_equal(read.images[texts_of(read).index("A")], images[1])


def test_dark_ink_on_light_paper_is_turned_over(tmp_path: Path, images: NDArray[np.uint8]) -> None:
    (tmp_path / "7").mkdir()
    Image.fromarray(255 - images[0]).save(tmp_path / "7" / "0.png")

    np.testing.assert_array_equal(load_characters(tmp_path).images[0], images[0])


def test_a_part_of_an_npz_is_read(tmp_path: Path, images: NDArray[np.uint8]) -> None:
    np.savez(
        tmp_path / "set.npz",
        train_x=images[:3],
        train_y=labels_of(MERGED[:3], BALANCED_SYMBOLS),
        validation_x=images[3:],
        validation_y=labels_of(MERGED[3:], BALANCED_SYMBOLS),
        classes=np.array(list(BALANCED_SYMBOLS)),
    )

    assert texts_of(load_characters(tmp_path / "set.npz")) == MERGED[3:]
    assert texts_of(load_characters(tmp_path / "set.npz", part="train")) == MERGED[:3]
    with pytest.raises(UserError, match=r"set\.npz lacks an array: .*'?test_x"):
        load_characters(tmp_path / "set.npz", part="test")


def no_labels(folder: Path, images: NDArray[np.uint8]) -> Path:
    path = write_idx(folder, images, [0] * len(images), split="balanced", is_gzipped=True)
    (folder / "emnist-balanced-train-labels-idx1-ubyte.gz").unlink()
    return path


def cut_gzip(folder: Path, images: NDArray[np.uint8]) -> Path:
    path = write_idx(folder, images, [0] * len(images), split="balanced", is_gzipped=True)
    path.write_bytes(path.read_bytes()[:60])
    return path


def cut_idx(folder: Path, images: NDArray[np.uint8]) -> Path:
    path = write_idx(folder, images, [0] * len(images), split="balanced", is_gzipped=False)
    path.write_bytes(path.read_bytes()[:-9])
    return path


def header_alone(folder: Path, images: NDArray[np.uint8]) -> Path:
    path = write_idx(folder, images, [0] * len(images), split="balanced", is_gzipped=False)
    path.write_bytes(path.read_bytes()[:6])
    return path


def fewer_labels(folder: Path, images: NDArray[np.uint8]) -> Path:
    return write_idx(folder, images, [0], split="balanced", is_gzipped=True)


def label_of_another_split(folder: Path, images: NDArray[np.uint8]) -> Path:
    return write_idx(folder, images, [61] * len(images), split="balanced", is_gzipped=True)


def broken_mapping(folder: Path, images: NDArray[np.uint8]) -> Path:
    (folder / "emnist-balanced-mapping.txt").write_text("0 48\nx\n")
    return write_idx(folder, images, [0] * len(images), split="balanced", is_gzipped=True)


def short_rows(folder: Path, images: NDArray[np.uint8]) -> Path:
    (folder / "emnist-balanced.csv").write_text("1,2,3\n4,5,6\n")
    return folder / "emnist-balanced.csv"


def words_in_a_row(folder: Path, images: NDArray[np.uint8]) -> Path:
    (folder / "emnist-balanced.csv").write_text("1,2,3\n4,x,6\n")
    return folder / "emnist-balanced.csv"


def bright_pixels(folder: Path, images: NDArray[np.uint8]) -> Path:
    path = folder / "emnist-balanced.csv"
    return write_csv(path, images.astype(np.int64) * 2, [0] * len(images))  # type: ignore[arg-type]


def empty_csv(folder: Path, images: NDArray[np.uint8]) -> Path:
    (folder / "emnist-balanced.csv").write_text("")
    return folder / "emnist-balanced.csv"


def no_archive(folder: Path, images: NDArray[np.uint8]) -> Path:
    (folder / "x.npz").write_bytes(b"PK no archive")
    return folder / "x.npz"


def odd_subfolder(folder: Path, images: NDArray[np.uint8]) -> Path:
    (folder / "Ärger").mkdir()
    return folder


def wrong_size(folder: Path, images: NDArray[np.uint8]) -> Path:
    (folder / "A").mkdir()
    Image.new("L", (30, 20)).save(folder / "A" / "x.png")
    return folder


def no_image(folder: Path, images: NDArray[np.uint8]) -> Path:
    (folder / "A").mkdir()
    (folder / "A" / "x.png").write_text("no image")
    return folder


def empty_folder(folder: Path, images: NDArray[np.uint8]) -> Path:
    return folder


def other_form(folder: Path, images: NDArray[np.uint8]) -> Path:
    (folder / "x.mat").write_bytes(b"MATLAB")
    return folder / "x.mat"


def nothing_there(folder: Path, images: NDArray[np.uint8]) -> Path:
    return folder / "missing.npz"


BAD: dict[Spoil, str] = {
    no_labels: "has no emnist-balanced-train-labels-idx1-ubyte.gz beside it",
    cut_gzip: "cannot be read",
    cut_idx: r"is damaged: \d+ bytes where its header says 3936",
    header_alone: "is damaged",
    fewer_labels: "do not fit: 5 images and 1 labels",
    label_of_another_split: "image 0 has label 61, of 47 classes",
    broken_mapping: "is no mapping of class numbers to code points",
    short_rows: "has 3 columns, EMNIST has 785",
    words_in_a_row: "is no table of labels and pixels",
    bright_pixels: "image 0 has pixels outside 0 to 255",
    empty_csv: "holds no characters",
    no_archive: "cannot be read as .npz",
    odd_subfolder: "is named by no digit or letter: give A, 41",
    wrong_size: r"x\.png is 30x20, EMNIST's images are 28x28",
    no_image: r"x\.png cannot be read: not_an_image",
    empty_folder: "holds no images",
    other_form: "is in no form of EMNIST that is known",
    nothing_there: "does not exist",
}


@pytest.mark.parametrize(("make", "said"), BAD.items(), ids=[make.__name__ for make in BAD])
def test_a_bad_file_gives_one_clear_line(
    tmp_path: Path, images: NDArray[np.uint8], make: Spoil, said: str
) -> None:
    with pytest.raises(UserError, match=said) as caught:
        load_characters(make(tmp_path, images))

    assert "\n" not in str(caught.value)

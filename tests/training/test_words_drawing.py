"""Images of words: the same from (seed, index), boxes that hold their letters, and hold-outs."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from contract.errors import OutputError, SettingsError
from pifleet.cli import cli
from recognition.charset import Charset
from training.image_sets import read_labels, writing_into
from training.words.draw_set import (
    WORDS_SYMBOLS,
    as_read,
    describe_set,
    draw_files,
    draw_packed,
)
from training.words.fonts import WordFont, find_word_fonts
from training.words.held_out import is_family_held_out, is_text_held_out
from training.words.lettering import Style, font_glyph, set_letters
from training.words.packed import open_words
from training.words.samples import HAND_FONT, Purpose, WordSet, draw_sample
from training.words.scene import look_at
from training.words.texts import KINDS, MAX_LENGTH, pick_text, read_words

SHIPPED_FONTS = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
FONTS = ("DejaVuSans.ttf", "DejaVuSerif-Italic.ttf", "cmr10.ttf", "cmb10.ttf", "STIXGeneral.ttf")
ORNAMENTS = "STIXSizOneSymReg.ttf"  # brackets, and no letters
HELD_OUT_FAMILY = "cmb10"
WORDS = "house garden street train Monday seven harbour window table pencil market Anna O'Neill"


def ignore(_count: int) -> None:
    """Take no notice of progress."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a folder of five fonts, one of ornaments, a broken one, and a list of words."""
    path = tmp_path_factory.mktemp("fonts")
    for name in (*FONTS, ORNAMENTS):
        shutil.copy(SHIPPED_FONTS / name, path)
    (path / "broken.ttf").write_bytes(b"\0\1\0\0" * 30)
    (path / "words.txt").write_text("\n".join(WORDS.split()))
    return path


@pytest.fixture(scope="module")
def fonts(folder: Path) -> tuple[WordFont, ...]:
    return find_word_fonts([folder])


@pytest.fixture(scope="module")
def word_set(folder: Path, fonts: tuple[WordFont, ...]) -> WordSet:
    return WordSet(seed=3, fonts=fonts, words=(folder / "words.txt",), purpose=Purpose.TRAIN)


def test_an_image_is_drawn_again_from_its_seed_and_index(word_set: WordSet) -> None:
    first, again = draw_sample(word_set, 7), draw_sample(replace(word_set), 7)

    assert (first.text, first.font, first.kind) == (again.text, again.font, again.kind)
    np.testing.assert_array_equal(first.image, again.image)
    np.testing.assert_array_equal(first.boxes, again.boxes)
    assert draw_sample(replace(word_set, seed=4), 7).image.tobytes() != first.image.tobytes()


def test_a_set_does_not_depend_on_how_many_drew_it(word_set: WordSet, tmp_path: Path) -> None:
    for name, workers, n in (("one", 1, 260), ("two", 2, 260), ("short", 1, 40)):
        (tmp_path / name).mkdir()
        draw_packed(word_set, tmp_path / name, n=n, height=32, workers=workers, progress=ignore)
    one, two, short = (open_words(tmp_path / name) for name in ("one", "two", "short"))

    np.testing.assert_array_equal(one.columns, two.columns)
    np.testing.assert_array_equal(one.labels, two.labels)
    np.testing.assert_array_equal(one.image(39), short.image(39))
    assert one.text(39) == short.text(39)


@pytest.mark.parametrize("hardness", [0.0, 1.0])
def test_boxes_hold_the_ink_of_their_letters(fonts: tuple[WordFont, ...], hardness: float) -> None:
    for index, font in enumerate(fonts * 4):
        rng = np.random.default_rng(index)
        lettering = set_letters("Qagy7x", partial(font_glyph, font, 48), Style(48, 0.2), rng)
        view = look_at(lettering, 48, rng, hardness)

        inside = np.zeros(view.ink.shape, bool)
        for left, top, right, bottom in view.boxes:
            rows, columns = _px(top, bottom, 1), _px(left, right, 1)
            assert view.ink[rows, columns].max() > 0.5, (index, font.name)
            inside[rows, columns] = True
        assert view.ink[~inside].sum() < 0.01 * view.ink.sum()
        assert (np.diff(view.boxes[:, [0, 2]].mean(axis=1)) > 0).all()


def _px(low: float, high: float, around: int) -> slice:
    return slice(max(0, int(low) - around), int(np.ceil(high)) + around + 1)


def test_training_sees_no_font_and_no_text_that_is_held_out(word_set: WordSet) -> None:
    others = replace(word_set, held_out=True)
    seen = [draw_sample(word_set, index) for index in range(120)]
    unseen = [draw_sample(others, index) for index in range(60)]

    assert {sample.font.split()[0] for sample in unseen if sample.font} == {HELD_OUT_FAMILY}
    assert not any(sample.font.startswith(HELD_OUT_FAMILY) for sample in seen)
    assert not any(is_text_held_out(sample.text) for sample in seen)
    words = {sample.text.lower() for sample in unseen if sample.kind == "word"}
    assert words == {"house", "market"}


def test_the_rule_holds_out_a_twentieth_whatever_the_case() -> None:
    names = [f"Family {number}" for number in range(4000)]
    texts = [f"text{number}" for number in range(4000)]

    assert 0.04 < sum(map(is_family_held_out, names)) / 4000 < 0.06
    assert 0.04 < sum(map(is_text_held_out, texts)) / 4000 < 0.06
    assert is_text_held_out("House") == is_text_held_out("HOUSE") is True
    assert not is_text_held_out("A")  # or no reader could learn it


def test_fonts_are_taken_by_what_they_draw(
    folder: Path, fonts: tuple[WordFont, ...], tmp_path: Path
) -> None:
    assert {font.file.name for font in fonts} == set(FONTS)
    for name in ("one.ttf", "another.ttf"):
        shutil.copy(SHIPPED_FONTS / FONTS[0], tmp_path / name)
    assert len(find_word_fonts([tmp_path])) == 1  # a copy of a face is no other face


@pytest.mark.parametrize("what", ["empty", "without letters", "missing"])
def test_a_folder_without_fonts_gets_one_clear_line(tmp_path: Path, what: str) -> None:
    if what == "without letters":
        shutil.copy(SHIPPED_FONTS / ORNAMENTS, tmp_path)
    place = tmp_path / "no" if what == "missing" else tmp_path
    told = {
        "empty": r"folders that hold \.otf or \.ttf files",
        "without letters": "fonts with all letters and digits: none of 1 has them",
        "missing": "a folder of fonts",
    }

    with pytest.raises(SettingsError, match=told[what]):
        find_word_fonts([place])


def test_fonts_that_are_all_of_one_part_cannot_draw_the_other(
    word_set: WordSet, fonts: tuple[WordFont, ...]
) -> None:
    seen = tuple(font for font in fonts if not font.is_held_out)

    with pytest.raises(SettingsError, match="fonts of a family that is held out, beside"):
        replace(word_set, fonts=seen, held_out=True)


@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"line"}))
def test_every_kind_of_text_can_be_written(kind: str, folder: Path) -> None:
    words, rng = read_words((folder / "words.txt",)), np.random.default_rng(1)

    texts = [pick_text(kind, words, rng) for _ in range(200)]

    assert all(len(text) <= MAX_LENGTH and set(text) <= set(WORDS_SYMBOLS) for text in texts)
    assert (kind == "nothing") == (not any(texts))
    assert not any(map(is_text_held_out, texts))


def test_a_space_has_no_box_and_a_middle_between_its_neighbours(word_set: WordSet) -> None:
    phrases = replace(word_set, kinds={"phrase": 1.0}, hardness=0.0)
    sample = draw_sample(phrases, 0)
    space = sample.text.index(" ")
    packed = as_read(sample, 32)

    assert sample.boxes[space].tolist() == [-1.0] * 4
    assert packed.centres[space - 1] < packed.centres[space] < packed.centres[space + 1]
    assert packed.image.shape[0] == 32
    Charset(WORDS_SYMBOLS).encode(sample.text)


def test_hands_write_what_emnist_has(word_set: WordSet, tmp_path: Path) -> None:
    strokes = np.zeros((36, 28, 28), np.uint8)
    for index in range(36):
        strokes[index, 4:24, 4 + index % 12 : 9 + index % 12] = 255
    file = tmp_path / "hand.npz"
    classes = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    labels = np.arange(36)
    np.savez(
        file,
        classes=np.array(list(classes)),
        train_x=strokes,
        train_y=labels,
        validation_x=strokes,
        validation_y=labels,
    )

    hands = replace(word_set, hand=file, hand_share=1.0, kinds={"code": 1.0})
    drawn = [draw_sample(hands, index) for index in range(20)]

    by_hand = [sample for sample in drawn if set(sample.text) <= set(classes)]
    assert by_hand
    assert {sample.font for sample in by_hand} == {HAND_FONT}


def test_the_command_writes_files_annotations_and_a_sheet(folder: Path, tmp_path: Path) -> None:
    sheet, out = tmp_path / "sheet.png", tmp_path / "out"
    options = ["--fonts", folder, "--words", folder / "words.txt", "--sheet", sheet]

    done = CliRunner().invoke(
        cli, [str(part) for part in ("generate", "words", "-n", 30, "-o", out, *options)]
    )

    assert done.exit_code == 0, done.output
    told = [json.loads(line) for line in (out / "annotations.jsonl").read_text().splitlines()]
    texts = read_labels(out)
    assert len(told) == 30
    assert {one["file"]: one["text"] for one in told if one["text"]} == texts
    for one in told:
        assert len(one["boxes"]) == len(one["text"])
        with Image.open(out / one["file"]) as image:
            assert image.height >= 18
    with Image.open(sheet) as page:
        assert page.width > 1000


def test_texts_of_ones_own_are_written_and_no_others(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "texts.txt").write_text("Rue 12\nQuai 7\nÉté\n")
    options = ("--fonts", folder, "--texts", tmp_path / "texts.txt", "--kind", "code")

    done = CliRunner().invoke(
        cli, [str(p) for p in ("generate", "words", "-n", 12, "-o", tmp_path / "o", *options)]
    )

    assert done.exit_code == 0, done.output
    assert set(read_labels(tmp_path / "o").values()) == {"Rue 12", "Quai 7"}
    assert "1 lines are left out" in caplog.text


@pytest.mark.parametrize("held_out", [False, True])
def test_a_text_of_ones_own_is_never_cut(tmp_path: Path, held_out: bool) -> None:
    (tmp_path / "texts.txt").write_text("Anna's garden\n")
    words = read_words((tmp_path / "texts.txt",))
    rng = np.random.default_rng(1)

    assert pick_text("line", words, rng, held_out=held_out) == "Anna's garden"


def test_texts_that_no_font_draws_are_said_and_not_searched_for_ever(
    fonts: tuple[WordFont, ...], tmp_path: Path
) -> None:
    (tmp_path / "texts.txt").write_text("#1\n$5\n")
    bare = tuple(replace(font, glyphs=font.glyphs - set("#$")) for font in fonts)
    word_set = WordSet(seed=1, fonts=bare, words=(tmp_path / "texts.txt",), kinds={"line": 1.0})

    with pytest.raises(SettingsError, match=r"fonts with the glyphs of texts .* such as [#$]"):
        draw_sample(word_set, 0)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--kind", "poem"), "weights of word, marked"),
        (("--words", "none.txt"), "a file of words, one a line"),
        (("--cells", "nan"), "cells_share=nan is not accepted: give a share from 0 to 1"),
        (("--hardness", "nan"), "hardness=nan"),
    ],
)
def test_what_cannot_be_drawn_is_said_in_one_line(
    folder: Path, tmp_path: Path, options: tuple[str, ...], told: str
) -> None:
    arguments = ["generate", "words", "-n", "2", "-o", str(tmp_path / "o"), "--fonts", str(folder)]
    if "--words" not in options:
        arguments += ["--words", str(folder / "words.txt")]

    done = CliRunner().invoke(cli, [*arguments, *options])

    assert isinstance(done.exception, SettingsError)  # which the command says in one line
    assert told in str(done.exception)


def test_a_set_is_described_by_content_and_not_by_place(
    word_set: WordSet, folder: Path, tmp_path: Path
) -> None:
    shutil.copytree(folder, tmp_path / "elsewhere")
    moved = replace(
        word_set,
        fonts=find_word_fonts([tmp_path / "elsewhere"]),
        words=(tmp_path / "elsewhere" / "words.txt",),
    )

    assert describe_set(moved, n=5, height=32) == describe_set(word_set, n=5, height=32)


def test_files_hold_the_pixels_that_are_packed(word_set: WordSet, tmp_path: Path) -> None:
    draw_files(word_set, tmp_path, n=3, workers=1, progress=ignore)

    with Image.open(tmp_path / "000002.png") as image:
        np.testing.assert_array_equal(np.asarray(image), draw_sample(word_set, 2).image)


@pytest.mark.model
@pytest.mark.xdist_group("keras")
def test_records_hold_the_files_and_their_annotations(word_set: WordSet, tmp_path: Path) -> None:
    import tensorflow as tf

    from training.words.records import draw_records

    some = replace(word_set, kinds={"phrase": 1.0, "nothing": 1.0})
    draw_files(some, tmp_path, n=20, workers=1, progress=ignore)
    draw_records(some, tmp_path, n=20, workers=1, progress=ignore)

    texts = {key: tf.io.FixedLenFeature([], tf.string) for key in ("file", "text", "kind", "font")}
    images = {"cells": texts["file"], "image": texts["file"]}
    features = {**texts, **images, "boxes": tf.io.RaggedFeature(tf.float32)}
    records = tf.data.TFRecordDataset(str(tmp_path / "words.tfrecord"))
    read = [tf.io.parse_single_example(record, features) for record in records]
    told = [json.loads(line) for line in (tmp_path / "annotations.jsonl").read_text().splitlines()]
    assert len(read) == len(told) == 20
    assert "" in {one["text"] for one in told}  # an image of nothing is among them
    for example, one in zip(read, told, strict=True):
        assert {key: example[key].numpy().decode() for key in texts} == {k: one[k] for k in texts}
        boxes = example["boxes"].numpy().reshape(-1, 4)
        np.testing.assert_allclose(boxes, np.reshape(one["boxes"], (-1, 4)), atol=1e-4)
        pixels = tf.io.decode_png(example["image"]).numpy()
        with Image.open(tmp_path / one["file"]) as image:
            np.testing.assert_array_equal(pixels, np.asarray(image))


def test_a_set_has_one_form(folder: Path, tmp_path: Path) -> None:
    arguments = ["generate", "words", "-n", "2", "-o", str(tmp_path / "o"), "--fonts", str(folder)]

    done = CliRunner().invoke(cli, [*arguments, "--packed", "--tfrecord"])

    assert done.exit_code == 2
    assert "--packed and --tfrecord are two forms of a set: give one" in done.output
    assert not (tmp_path / "o").exists()


def test_a_full_disk_is_told_with_the_folder(tmp_path: Path) -> None:
    told = f"{tmp_path} cannot be written: No space left"
    with pytest.raises(OutputError, match=told), writing_into(tmp_path):
        Path("/dev/full").write_bytes(b"x")
    with pytest.raises(OSError, match="cannot open resource"), writing_into(tmp_path):
        raise OSError("cannot open resource")

"""Reading files and folders without a queue, and what people and programs take away of it."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from PIL import Image

from contract.errors import ModelError, OutputError, SourceError, UserError
from contract.reasons import Reason
from recognition.card import InputSpec, ModelCard, append_card
from recognition.charset import capitalise, code_points
from recognition.model_file import load_model
from tests.support.hand_drawn import page, photograph, strokes
from tests.support.make_tiny_model import TINY_MODEL
from tests.support.stripes import draw, encoded, png, some_text
from workers.classify import NamedImage, classify_files, find_images
from workers.cli import classify as classify_command


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Fill a folder with images in a few formats, one of them damaged, and other files."""
    root = tmp_path / "images"
    (root / "deep").mkdir(parents=True)
    (root / "b.png").write_bytes(png("BC"))
    (root / "deep" / "a.bmp").write_bytes(encoded(draw("XY"), "BMP"))
    (root / "deep" / "b.pbm").write_bytes(encoded(draw("g").convert("1"), "PPM"))
    (root / "a,1.PNG").write_bytes(png("A"))
    (root / "broken.png").write_bytes(png("A")[:60])
    (root / "labels.csv").write_text("no image")
    (root / ".hidden.png").write_bytes(png("A"))
    return root


def run(tiny_model: Path, *arguments: object) -> Result:
    command = ["--model", str(tiny_model), *map(str, arguments)]
    return CliRunner().invoke(classify_command, command, catch_exceptions=False)


def test_folder_is_searched_to_the_bottom_and_sorted_by_name(folder: Path) -> None:
    names = [image.name for image in find_images([folder])]
    assert names == ["a,1.PNG", "b.png", "broken.png", "deep/a.bmp", "deep/b.pbm"]


def test_several_paths_keep_their_folders_in_the_names(folder: Path) -> None:
    found = find_images([folder / "deep", folder / "b.png", folder / "b.png"])
    assert [image.name for image in found] == [
        (folder / "b.png").as_posix(),
        (folder / "deep" / "a.bmp").as_posix(),
        (folder / "deep" / "b.pbm").as_posix(),
    ]


def test_missing_path_and_empty_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"nothing\.png: no such file or folder"):
        find_images([tmp_path / "nothing.png"])
    with pytest.raises(SourceError, match="no image in it"):
        find_images([tmp_path])


def test_text_stands_beside_the_name_and_failures_on_stderr(folder: Path, tiny_model: Path) -> None:
    result = run(tiny_model, folder)
    assert result.stdout == "a,1.PNG\tA\nb.png\tBC\nbroken.png\t\ndeep/a.bmp\tXY\ndeep/b.pbm\tg\n"
    assert "broken.png: truncated" in result.stderr
    assert "1 of 5 images could not be read" in result.stderr
    assert result.exit_code == 1


def test_csv_is_written_whole(folder: Path, tiny_model: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    result = run(tiny_model, folder, "--csv", out)
    assert out.read_bytes() == b'"a,1.PNG",A\nb.png,BC\nbroken.png,\ndeep/a.bmp,XY\ndeep/b.pbm,g\n'
    assert result.stdout == ""
    names = sorted(path.name for path in tmp_path.iterdir() if path.is_file())
    assert names == ["out.csv", "out.failures.csv"]
    header, failure = (tmp_path / "out.failures.csv").read_text().splitlines()
    assert header == "name,reason,detail"
    assert failure.startswith("broken.png,truncated,")


def test_texts_are_those_of_the_pattern_and_the_confidence_stands_behind_them(
    folder: Path, tiny_model: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.csv"
    result = run(tiny_model, folder, "--pattern", "[A-Z]{2}", "--confidence", "--csv", out)
    rows = [line.split(",") for line in out.read_text().replace('"a,1.PNG"', "a").splitlines()]
    assert {name: text for name, text, _ in rows}["b.png"] == "BC"
    assert all(re.fullmatch("[A-Z]{2}", text) for _, text, _ in rows if text)
    assert {name: confidence for name, _, confidence in rows}["broken.png"] == ""
    assert float({name: confidence for name, _, confidence in rows}["b.png"]) > 0.9
    assert "pattern: [A-Z]{2}" in result.stderr


def test_texts_are_words_of_the_lexicon(folder: Path, tiny_model: Path, tmp_path: Path) -> None:
    words = tmp_path / "words.txt"
    words.write_text("BC\nBD\nXY\n")
    result = run(tiny_model, folder, "--lexicon", words, "--pattern", "B.|XY")
    texts = [line.split("\t")[1] for line in result.stdout.splitlines()]
    assert texts[1] == "BC"
    assert set(texts) <= {"BC", "BD", "XY", ""}
    assert "lexicon: 3 words; 3 of them match" in result.stderr


def test_json_is_one_object_an_image(folder: Path, tiny_model: Path) -> None:
    lines = run(tiny_model, folder, "--json").stdout.splitlines()
    rows = [json.loads(line) for line in lines]
    assert [row["text"] for row in rows] == ["A", "BC", None, "XY", "g"]
    assert rows[2]["reason"] == Reason.TRUNCATED
    assert rows[0]["confidence"] > 0.9


def test_single_file_is_read_whatever_it_is_called(tiny_model: Path, tmp_path: Path) -> None:
    path = tmp_path / "image"
    path.write_bytes(png("Z"))
    result = run(tiny_model, path)
    assert (result.stdout, result.exit_code) == ("image\tZ\n", 0)


def test_only_allowed_symbols_are_written(tiny_model: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(png("AB"))
    text = run(tiny_model, path, "--symbols", "AC").stdout.split("\t")[1].strip()
    assert set(text) <= set("AC")


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        (["--symbols", "Ä"], UserError, "not in the charset"),
        (["--model", "nonsense"], ModelError, "no model 'nonsense'"),
        (["--csv", "/nowhere/out.csv"], OutputError, "cannot be written"),
        (["--pattern", "A{"], UserError, "begins no repeat"),
        (["--pattern", "A{129}"], UserError, "takes 257 frames, and model tiny has at most 128"),
        (["--lexicon", "/bin/sh"], UserError, "/bin/sh is no text"),
    ],
    ids=["symbol", "model", "output", "pattern", "long", "lexicon"],
)
def test_bad_input_is_one_sentence(
    tiny_model: Path, folder: Path, arguments: list[str], error: type[UserError], words: str
) -> None:
    with pytest.raises(error, match=words):
        run(tiny_model, folder, *arguments)


def test_file_that_cannot_be_opened_is_a_row(tiny_model: Path, tmp_path: Path) -> None:
    gone = NamedImage("gone.png", tmp_path / "gone.png")
    (answer,) = classify_files([gone], load_model(str(tiny_model)).data, symbols=None)
    assert answer.row.reason is Reason.DAMAGED
    assert os.strerror(2) in answer.row.detail


@pytest.mark.timeout(60)
def test_processes_read_what_one_process_reads(tiny_model: Path, tmp_path: Path) -> None:
    texts = [some_text(seed) for seed in range(150)]
    for number, text in enumerate(texts):
        (tmp_path / f"{number:03}.png").write_bytes(png(text))
    model = load_model(str(tiny_model)).data
    answers = list(classify_files(find_images([tmp_path]), model, symbols=None, processes=2))
    assert [answer.row.text for answer in answers] == texts


@pytest.fixture
def letters(tmp_path: Path) -> Path:
    """Write three images, the last of which is none."""
    root = tmp_path / "images"
    root.mkdir()
    (root / "a.png").write_bytes(png("g"))
    (root / "b.png").write_bytes(png("hi"))
    (root / "c.png").write_bytes(b"nothing")
    return root


def test_code_points_stand_behind_the_text(letters: Path, tiny_model: Path) -> None:
    result = run(tiny_model, letters, "--code-points")
    assert result.stdout == "a.png\tg\tU+0067\nb.png\thi\tU+0068 U+0069\nc.png\t\t\n"


def test_capitals_are_written_where_they_are_wanted(letters: Path, tiny_model: Path) -> None:
    assert run(tiny_model, letters).stdout == "a.png\tg\nb.png\thi\nc.png\t\n"
    result = run(tiny_model, letters, "--capitalise", "--code-points")
    assert result.stdout == "a.png\tG\tU+0047\nb.png\tHI\tU+0048 U+0049\nc.png\t\t\n"


def test_csv_is_printed_as_it_is_written(letters: Path, tiny_model: Path, tmp_path: Path) -> None:
    shown = run(tiny_model, letters, "--format", "csv", "--capitalise", "--code-points").stdout
    run(tiny_model, letters, "--csv", tmp_path / "out.csv", "--capitalise", "--code-points")
    assert shown == "a.png,G,U+0047\nb.png,HI,U+0048 U+0049\nc.png,,\n"
    assert (tmp_path / "out.csv").read_text() == shown


def test_json_has_the_code_points(letters: Path, tiny_model: Path) -> None:
    lines = run(tiny_model, letters, "--format", "json", "--code-points").stdout.splitlines()
    rows = [json.loads(line) for line in lines]
    assert [row["code_points"] for row in rows] == ["U+0067", "U+0068 U+0069", None]
    assert [row["text"] for row in rows] == ["g", "hi", None]


def test_json_flag_is_short_for_the_format(letters: Path, tiny_model: Path) -> None:
    plain = run(tiny_model, letters, "--json").stdout
    assert plain == run(tiny_model, letters, "--format", "json").stdout
    assert list(json.loads(plain.splitlines()[0])) == ["name", "text", "confidence", "reason"]


@pytest.mark.parametrize(
    ("text", "capitals", "points"),
    [
        ("a", "A", "U+0061"),
        ("q9-", "Q9-", "U+0071 U+0039 U+002D"),
        ("ß", "ß", "U+00DF"),
        ("é", "É", "U+00E9"),
        ("😀", "😀", "U+1F600"),
        ("", "", ""),
    ],
)
def test_letters_are_folded_one_for_one(text: str, capitals: str, points: str) -> None:
    assert (capitalise(text), code_points(text)) == (capitals, points)


@pytest.fixture
def character_model(tmp_path: Path) -> Path:
    """Write the tiny model as one of single characters: what it reads in them is of no matter."""
    tiny = load_model(str(TINY_MODEL))
    card = ModelCard("one", tiny.card.symbols + "@", "argmax", InputSpec(64, 128, fit="character"))
    plain = tiny.data[: tiny.data.index(b"PK\x03\x04")]
    path = tmp_path / "one.tflite"
    path.write_bytes(append_card(plain, card, {}))
    return path


def test_model_of_single_characters_names_code_points(
    character_model: Path, tmp_path: Path
) -> None:
    photograph(page(strokes("K"))).save(tmp_path / "k.png")
    name, text, point = run(character_model, tmp_path / "k.png").stdout.rstrip("\n").split("\t")
    assert (name, len(text), point) == ("k.png", 1, code_points(text))
    plain = run(character_model, tmp_path / "k.png", "--no-code-points").stdout
    assert plain == f"k.png\t{text}\n"


def test_blank_page_is_a_row_and_a_reason(character_model: Path, tmp_path: Path) -> None:
    Image.new("L", (90, 70), 240).save(tmp_path / "page.png")
    result = run(character_model, tmp_path / "page.png")
    assert (result.stdout, result.exit_code) == ("page.png\t\t\n", 1)
    assert "page.png: blank (no mark stands out from its background)" in result.stderr
    row = json.loads(run(character_model, tmp_path / "page.png", "--json").stdout)
    assert (row["text"], row["code_points"], row["reason"]) == (None, None, "blank")


@pytest.mark.timeout(60)
def test_processes_read_characters_as_one_process_does(
    character_model: Path, tmp_path: Path
) -> None:
    root = tmp_path / "many"
    root.mkdir()
    for number in range(70):  # more than one batch
        photograph(page(strokes("AKLOT15i"[number % 8]))).save(root / f"{number:02}.png")
    images, model = find_images([root]), character_model.read_bytes()
    alone = list(classify_files(images, model, symbols=None, processes=1))
    assert list(classify_files(images, model, symbols=None, processes=2)) == alone
    assert all(answer.row.text for answer in alone)

"""What is read in single characters, as people and programs take it away."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from PIL import Image

from recognition.card import InputSpec, ModelCard, append_card
from recognition.charset import capitalise, code_points
from recognition.model_file import load_model
from tests.support.hand_drawn import page, photograph, strokes
from tests.support.make_tiny_model import TINY_MODEL
from tests.support.stripes import png
from workers.classify import classify_files, find_images
from workers.cli import classify as classify_command


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Give three images, the last of which is none."""
    root = tmp_path / "images"
    root.mkdir()
    (root / "a.png").write_bytes(png("g"))
    (root / "b.png").write_bytes(png("hi"))
    (root / "c.png").write_bytes(b"nothing")
    return root


def run(tiny_model: Path, *arguments: object) -> Result:
    command = ["--model", str(tiny_model), *map(str, arguments)]
    return CliRunner().invoke(classify_command, command, catch_exceptions=False)


def test_code_points_stand_behind_the_text(folder: Path, tiny_model: Path) -> None:
    result = run(tiny_model, folder, "--code-points")
    assert result.stdout == "a.png\tg\tU+0067\nb.png\thi\tU+0068 U+0069\nc.png\t\t\n"


def test_capitals_are_written_where_they_are_wanted(folder: Path, tiny_model: Path) -> None:
    assert run(tiny_model, folder).stdout == "a.png\tg\nb.png\thi\nc.png\t\n"
    result = run(tiny_model, folder, "--capitalise", "--code-points")
    assert result.stdout == "a.png\tG\tU+0047\nb.png\tHI\tU+0048 U+0049\nc.png\t\t\n"


def test_csv_is_printed_as_it_is_written(folder: Path, tiny_model: Path, tmp_path: Path) -> None:
    shown = run(tiny_model, folder, "--format", "csv", "--capitalise", "--code-points").stdout
    run(tiny_model, folder, "--csv", tmp_path / "out.csv", "--capitalise", "--code-points")
    assert shown == "a.png,G,U+0047\nb.png,HI,U+0048 U+0049\nc.png,,\n"
    assert (tmp_path / "out.csv").read_text() == shown


def test_json_has_the_code_points(folder: Path, tiny_model: Path) -> None:
    lines = run(tiny_model, folder, "--format", "json", "--code-points").stdout.splitlines()
    rows = [json.loads(line) for line in lines]
    assert [row["code_points"] for row in rows] == ["U+0067", "U+0068 U+0069", None]
    assert [row["text"] for row in rows] == ["g", "hi", None]


def test_json_flag_is_short_for_the_format(folder: Path, tiny_model: Path) -> None:
    plain = run(tiny_model, folder, "--json").stdout
    assert plain == run(tiny_model, folder, "--format", "json").stdout
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
    """Give the tiny model as one of single characters: what it reads in them is of no matter."""
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

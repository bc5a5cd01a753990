"""Data sets: the same for the same seed, and readable again."""

from __future__ import annotations

import re
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from contract.errors import FleetError, OutputError, SettingsError, UserError
from recognition.card import InputSpec
from training import cli
from training.captcha.drawer import PRESETS, Size, parse_size
from training.captcha.samples import (
    CaptchaSet,
    draw_files,
    draw_new_set,
    draw_packed,
    draw_sample,
)
from training.image_sets import open_packed, read_labels, write_labels
from training.measuring.evaluation import open_labelled

SMALL = CaptchaSet(seed=4, presets={"0.7.1": 0.5, "0.3": 0.5}, size=Size(64, 32))


def ignore(_: int) -> None:
    pass


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "set"
    path.mkdir()
    return path


def test_a_set_does_not_depend_on_the_number_of_workers(tmp_path: Path) -> None:
    for workers in (1, 2):
        (tmp_path / str(workers)).mkdir()
        draw_packed(SMALL, tmp_path / str(workers), n=300, workers=workers, progress=ignore)

    one, two = (open_packed(tmp_path / name) for name in ("1", "2"))

    np.testing.assert_array_equal(one.images, two.images)
    np.testing.assert_array_equal(one.labels, two.labels)
    np.testing.assert_array_equal(one.centres, two.centres)


def test_the_images_of_a_seed_stay_what_they_are() -> None:
    captcha_set = CaptchaSet(seed=11, presets=dict.fromkeys(PRESETS, 1.0))
    digest = sha256()

    for index in range(24):
        sample = draw_sample(captcha_set, index)
        digest.update(sample.text.encode() + sample.drawn.image.tobytes())

    expected = "54ee2f43b859cd1e5031bf0dea7b7a83730c8a99072702f91e2a7bb93c7225b8"
    assert digest.hexdigest() == expected, "trained models can no longer be reproduced"


def test_a_longer_set_begins_with_the_shorter_one(folder: Path, tmp_path: Path) -> None:
    draw_packed(SMALL, folder, n=5, workers=1, progress=ignore)
    longer = tmp_path / "longer"
    longer.mkdir()
    draw_packed(SMALL, longer, n=9, workers=1, progress=ignore)

    np.testing.assert_array_equal(open_packed(longer).images[:5], open_packed(folder).images)


def test_a_mixture_holds_each_release_by_its_share() -> None:
    presets = [draw_sample(SMALL, index).preset for index in range(200)]

    assert 70 < presets.count("0.3") < 130
    assert set(presets) == {"0.3", "0.7.1"}


def test_no_two_seeds_and_indices_share_their_random_numbers() -> None:
    """In one list [1, 2] and [1, 2, 0] are the same to numpy, and so are 5 + 2**32 and [5, 1]."""
    sets = [CaptchaSet(seed=seed, max_length=20, min_length=20) for seed in (1, 5, 5 + 2**32)]

    texts = {draw_sample(one, index).text for one in sets for index in range(3)}

    assert len(texts) == 9


def test_a_text_is_made_of_one_charset() -> None:
    charsets = {"0123456789": 3.0, "ABC": 1.0}
    mixed = CaptchaSet(seed=2, symbols="ABC0123456789", charsets=charsets, min_length=3)

    texts = [draw_sample(mixed, index).text for index in range(200)]

    of_digits = [text for text in texts if set(text) <= set("0123456789")]
    assert 120 < len(of_digits) < 180
    assert all(set(text) <= set("ABC") for text in texts if text not in of_digits)


@pytest.mark.parametrize(
    "charsets", [{"AB": 1.0}, {"": 1.0}, {"A": 0.0}], ids=["unknown symbol", "empty", "no weight"]
)
def test_a_charset_that_cannot_be_drawn_is_refused(charsets: dict[str, float]) -> None:
    with pytest.raises(SettingsError, match="charsets"):
        CaptchaSet(seed=1, symbols="AC", charsets=charsets)


def test_files_hold_the_images_and_texts_of_the_set(folder: Path) -> None:
    draw_files(SMALL, folder, n=4, workers=1, progress=ignore)

    labels = read_labels(folder)
    sample = draw_sample(SMALL, 3)
    assert list(labels) == ["000000.png", "000001.png", "000002.png", "000003.png"]
    assert labels["000003.png"] == sample.text
    with Image.open(folder / "000003.png") as image:
        assert image.tobytes() == sample.drawn.image.tobytes()


def test_texts_of_any_symbol_come_back_from_the_labels_file(folder: Path) -> None:
    texts = {"0.png": '/\\"', "1.png": "#%{}", "2.png": "a b"}

    write_labels(folder, texts)

    assert read_labels(folder) == texts


@pytest.mark.parametrize("line", ["x.png", "x.png\t", "\tA"], ids=["no tab", "no text", "no name"])
def test_a_bad_label_is_named_by_its_line(folder: Path, line: str) -> None:
    (folder / "labels.tsv").write_text(f"0.png\tA\n{line}\n")

    with pytest.raises(UserError, match=r"labels\.tsv, line 2"):
        read_labels(folder)


def test_a_half_drawn_set_is_refused(folder: Path) -> None:
    draw_packed(SMALL, folder, n=2, workers=1, progress=ignore)
    (folder / "set.json").unlink()

    with pytest.raises(UserError, match="no complete packed set"):
        open_packed(folder)


def test_a_folder_in_use_is_left_alone(folder: Path) -> None:
    (folder / "mine.txt").write_text("keep")

    with pytest.raises(OutputError, match="is not empty"):
        draw_new_set(SMALL, folder, n=2, is_packed=False, workers=1)

    assert [path.name for path in folder.iterdir()] == ["mine.txt"]


def test_the_command_draws_what_it_is_asked_for(tmp_path: Path) -> None:
    out = tmp_path / "images"
    wanted = f"captcha -n 3 -o {out} --seed 9 --preset 0.3 --symbols AB --min-length 2 --workers 1"

    done = CliRunner().invoke(cli.generate, wanted.split(), catch_exceptions=False)

    assert done.exit_code == 0
    assert re.fullmatch(rf"{out}: 3 images, \d+ images/s\n", done.stdout)
    assert all(set(text) <= set("AB") and len(text) >= 2 for text in read_labels(out).values())


@pytest.mark.parametrize(
    "bad",
    [
        "--symbols A\x7f",
        "--preset 9",
        "--symbols AA",
        "--min-length 7",
        "--size 12",
        "--max-length 0",
        "--size 1x1",
    ],
)
def test_bad_options_are_one_line_and_leave_nothing(tmp_path: Path, bad: str) -> None:
    arguments = f"captcha -n 3 -o {tmp_path / 'p'} {bad}".split()

    with pytest.raises(FleetError) as caught:
        CliRunner().invoke(cli.generate, arguments, catch_exceptions=False)

    assert "\n" not in str(caught.value)
    assert not (tmp_path / "p").exists()


def test_a_size_is_read_as_width_by_height() -> None:
    assert parse_size("160x60") == Size(width=160, height=60)


def test_the_script_that_uses_the_library_itself_makes_a_readable_set(tmp_path: Path) -> None:
    script = Path(__file__).parents[2] / "training" / "measuring" / "draw_with_library.py"

    subprocess.run([sys.executable, "-I", script, "-n", "3", "-o", tmp_path / "t"], check=True)

    images = list(open_labelled(tmp_path / "t", InputSpec(height=64, width=128)).images)
    assert [image.tensor.shape for image in images] == [(64, 128, 1)] * 3
    assert [image.text for image in images] == list(read_labels(tmp_path / "t").values())

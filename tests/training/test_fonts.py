"""Any fonts, symbols, lengths and sizes: drawn as the captcha library draws them."""

from __future__ import annotations

import json
import shutil
from itertools import product
from pathlib import Path

import captcha.image
import matplotlib
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from contract.errors import SettingsError
from tests.support.captcha_replay import ITALIC_NUMBERS, ITALIC_TEXT, draw_by_library, numbers_for
from training import cli
from training.captcha.config import CaptchaConfig, CaptchaDataConfig
from training.captcha.data import training_set_of
from training.captcha.drawer import PRESETS, Size, Uniforms, draw_with
from training.captcha.experiment import CaptchaExperiment
from training.captcha.glyphs import FONT_SIZES, check_font, faces_of, find_fonts
from training.captcha.samples import CaptchaSet, describe_set, draw_packed, draw_sample
from training.image_sets import is_described_as

DATA = Path(__file__).parents[1] / "data"
SHIPPED_FONTS = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
UPRIGHT, ITALIC, SERIFS = "DejaVuSansMono.ttf", "DejaVuSans-Oblique.ttf", "DejaVuSerif-Italic.ttf"
SIZES = (Size(128, 64), Size(160, 60), Size(200, 80), Size(64, 32), Size(300, 100))
TEXTS = ("jfÅ/|y", "éß%", "x-:.,'_", "Ω", "a1B2c3D4e5F6g7H8", "0123456789ABCDEFGHIJabcdefghij")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Make a folder of three fonts, and a file that is none."""
    path = tmp_path / "fonts"
    path.mkdir()
    for name in (UPRIGHT, ITALIC, SERIFS):
        shutil.copy(SHIPPED_FONTS / name, path)
    (path / "LICENSE.txt").write_text("Free.")
    return path


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size.width}x{size.height}")
@pytest.mark.parametrize("font_sizes", [FONT_SIZES, (18, 33, 70)], ids=["usual", "other sizes"])
def test_same_numbers_give_the_pixels_of_the_library(
    folder: Path, size: Size, font_sizes: tuple[int, ...]
) -> None:
    fonts = find_fonts(folder)
    options = {"width": size.width, "height": size.height, "font_sizes": font_sizes}
    choices = (fonts[:1], fonts[1:2], fonts)
    for index, (text, chosen) in enumerate(product(TEXTS, choices)):
        numbers = numbers_for(index, 1_000)
        faces = faces_of(chosen, font_sizes)

        drawn = draw_with(text, Uniforms(numbers), preset=PRESETS["0.7.1"], size=size, faces=faces)

        files = [str(font.file) for font in chosen]
        library = draw_by_library(captcha.image, text, numbers, fonts=files, **options)
        np.testing.assert_array_equal(np.asarray(drawn.image), np.asarray(library))


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size.width}x{size.height}")
def test_same_numbers_give_the_pixels_of_the_library_in_its_own_font(size: Size) -> None:
    for index, text in enumerate(TEXTS[2:]):
        numbers = numbers_for(index, 1_000)

        drawn = draw_with(text, Uniforms(numbers), preset=PRESETS["0.7.1"], size=size)

        options = {"width": size.width, "height": size.height}
        library = draw_by_library(captcha.image, text, numbers, **options)
        np.testing.assert_array_equal(np.asarray(drawn.image), np.asarray(library))


@pytest.mark.parametrize("release", PRESETS)
def test_each_release_is_followed_where_italics_leave_their_tile(release: str) -> None:
    italic = find_fonts(SHIPPED_FONTS)
    faces = faces_of(tuple(font for font in italic if font.name == ITALIC))
    numbers = Uniforms(numbers_for(ITALIC_NUMBERS))

    drawn = draw_with(ITALIC_TEXT, numbers, preset=PRESETS[release], size=Size(), faces=faces)

    with Image.open(DATA / f"captcha-{release}-italic.png") as by_release:
        np.testing.assert_array_equal(np.asarray(drawn.image), np.asarray(by_release))


def test_fonts_are_found_by_name_and_known_by_content(folder: Path, tmp_path: Path) -> None:
    moved = tmp_path / "elsewhere"
    shutil.copytree(folder, moved)

    here, there = (CaptchaSet(seed=1, fonts=find_fonts(path)) for path in (folder, moved))

    assert [font.name for font in here.fonts] == [ITALIC, UPRIGHT, SERIFS]
    assert describe_set(here, n=5) == describe_set(there, n=5)
    assert str(folder) not in json.dumps(describe_set(here, n=5))
    (moved / UPRIGHT).write_bytes((moved / ITALIC).read_bytes())
    assert describe_set(CaptchaSet(seed=1, fonts=find_fonts(moved)), n=5) != describe_set(here, n=5)


def test_a_set_that_was_drawn_before_there_were_fonts_is_found_again() -> None:
    told = describe_set(CaptchaSet(seed=1), n=5)

    assert not {"fonts", "font_sizes"} & set(told)
    assert describe_set(CaptchaSet(seed=1, font_sizes=(20,)), n=5)["font_sizes"] == [20]


def test_a_packed_set_of_several_fonts_is_found_again(folder: Path, tmp_path: Path) -> None:
    captcha_set = CaptchaSet(seed=1, fonts=find_fonts(folder), font_sizes=(30, 40))
    out = tmp_path / "set"
    out.mkdir()

    draw_packed(captcha_set, out, n=3, workers=1, progress=lambda _: None)

    assert is_described_as(out, describe_set(captcha_set, n=3))
    assert not is_described_as(out, describe_set(CaptchaSet(seed=1), n=3))


def test_a_symbol_that_a_font_lacks_is_named_with_the_font(folder: Path) -> None:
    with pytest.raises(SettingsError, match=rf"fonts='{ITALIC}'.*it lacks '漢', '字'$"):
        CaptchaSet(seed=1, symbols="a漢字", fonts=find_fonts(folder))


def test_a_broken_font_is_named(folder: Path) -> None:
    (folder / "broken.ttf").write_bytes(b"no font")

    with pytest.raises(SettingsError, match=r"fonts='broken\.ttf'.*give TrueType or OpenType"):
        check_font(find_fonts(folder)[-1], "a")


@pytest.mark.parametrize("name", ["empty", "nowhere"])
def test_a_folder_without_fonts_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()

    with pytest.raises(SettingsError, match=r"a folder that holds \.otf, \.ttc, \.ttf files"):
        find_fonts(tmp_path / name)


def test_font_sizes_are_checked() -> None:
    with pytest.raises(SettingsError, match="font_sizes"):
        CaptchaSet(seed=1, font_sizes=(0,))


def test_a_configuration_names_a_folder_of_fonts(folder: Path) -> None:
    data = CaptchaDataConfig(fonts=str(folder), font_sizes=(30,), symbols="aé")

    captcha_set = training_set_of(CaptchaConfig(data=data))

    assert captcha_set.fonts == find_fonts(folder)
    assert captcha_set.font_sizes == (30,)
    assert training_set_of(CaptchaConfig()).fonts == ()


def test_a_run_tells_its_fonts_by_name_and_content(folder: Path) -> None:
    config = CaptchaConfig(data=CaptchaDataConfig(fonts=str(folder)))

    told = CaptchaExperiment(config).described_data()["fonts"]

    assert told == ", ".join(f"{font.name} {font.sha256[:12]}" for font in find_fonts(folder))
    assert "fonts" not in CaptchaExperiment(CaptchaConfig()).described_data()


def test_the_command_draws_with_the_fonts_of_a_folder(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "images"
    wanted = f"captcha -n 2 -o {out} --seed 3 --workers 1 --max-length 9 --size 200x80"

    done = CliRunner().invoke(
        cli.generate,
        [*wanted.split(), "--fonts", str(folder), "--font-size", "30", "--font-size", "44"],
        catch_exceptions=False,
    )

    assert done.exit_code == 0
    fonts = find_fonts(folder)
    captcha_set = CaptchaSet(
        seed=3, max_length=9, size=Size(200, 80), fonts=fonts, font_sizes=(30, 44)
    )
    with Image.open(out / "000001.png") as image:
        assert image.tobytes() == draw_sample(captcha_set, 1).drawn.image.tobytes()

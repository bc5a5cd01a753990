"""The command ``evaluate``, and the sets that the captcha library draws for it."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from contract.errors import FleetError, ServiceError, SettingsError, UserError
from recognition.card import InputSpec
from recognition.model_file import load_model
from tests.support.make_tiny_model import TINY_MODEL
from training.cli import evaluate
from training.emnist.characters import BALANCED_SYMBOLS
from training.image_sets import read_labels
from training.measuring import library
from training.measuring.evaluation import open_labelled
from training.measuring.library import (
    RELEASES,
    LibrarySet,
    drawn_set,
    find_release,
    publish,
    release_python,
    set_for,
)

WANTED = LibrarySet("0.7.0", n=6, seed=4, symbols="AB-", width=64, height=40)


def draw(wanted: LibrarySet, out: Path, *, workers: int) -> None:
    """Draw with the library that is installed here: the tests fetch nothing."""
    library._draw(wanted, Path(sys.executable), out, workers=workers)


def test_a_seed_gives_the_same_texts_whoever_draws_them(tmp_path: Path) -> None:
    draw(WANTED, tmp_path / "one", workers=1)
    draw(WANTED, tmp_path / "two", workers=2)

    texts = read_labels(tmp_path / "one")
    assert texts == read_labels(tmp_path / "two")
    assert list(texts) == [f"{index:06d}.png" for index in range(6)]
    assert {symbol for text in texts.values() for symbol in text} <= set("AB-")
    assert sorted(path.name for path in (tmp_path / "one").glob("*.png")) == list(texts)


def test_a_library_that_fails_is_named_with_its_last_words(tmp_path: Path) -> None:
    with pytest.raises(FleetError, match=r"captcha 0\.7\.0 does not draw: .*Error"):
        draw(replace(WANTED, symbols=""), tmp_path / "set", workers=1)


def test_sets_that_differ_in_anything_have_names_that_differ() -> None:
    names = {
        replace(WANTED, **change).name
        for change in (
            {},
            {"n": 7},
            {"seed": 5},
            {"symbols": "AB"},
            {"width": 65},
            {"release": "0.3"},
        )
    }

    assert len(names) == 6
    assert WANTED.name.startswith("0.7.0-n6-seed4-")


def test_a_kept_set_is_found_again_without_an_environment(tmp_path: Path) -> None:
    kept = tmp_path / "captcha-library" / "sets" / WANTED.name
    kept.mkdir(parents=True)

    assert drawn_set(WANTED, tmp_path, workers=1) == kept
    assert list((tmp_path / "captcha-library").iterdir()) == [kept.parent]


def test_a_model_is_measured_in_its_own_size_and_symbols() -> None:
    card = load_model("captcha").card

    wanted = set_for(card, release="0.3", n=10, seed=1, allowed=None)
    fewer = set_for(card, release="0.3", n=10, seed=1, allowed="AB")

    assert (wanted.width, wanted.height, wanted.symbols) == (128, 64, card.symbols)
    assert fewer.symbols == "AB"
    with pytest.raises(UserError, match="not in the charset"):
        set_for(card, release="0.3", n=10, seed=1, allowed="ü")
    with pytest.raises(UserError, match="single characters"):
        set_for(replace(card, decoder="argmax"), release="0.3", n=10, seed=1, allowed=None)


def test_an_unknown_release_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(SettingsError, match=r"0\.3, 0\.5\.0, 0\.7\.0, 0\.7\.1"):
        find_release("0.6")


def test_a_python_too_new_for_a_release_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    old = replace(RELEASES["0.3"], newest_python=(3, 9))

    with pytest.raises(UserError, match=r"made for python3\.9 at most: install python3\.9"):
        release_python(old, tmp_path)


def test_an_environment_that_cannot_be_made_is_one_line_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "python3.9"
    broken.write_text("#!/bin/sh\necho WARNING: slow >&2\necho ERROR: no network >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(ServiceError, match=r"\(ERROR: no network\): does `.*` work") as caught:
        release_python(replace(RELEASES["0.3"], newest_python=(3, 9)), tmp_path / "cache")

    assert "\n" not in str(caught.value)
    assert list((tmp_path / "cache").iterdir()) == []


def test_the_process_that_was_quicker_is_kept(tmp_path: Path) -> None:
    made, final = tmp_path / "made", tmp_path / "final"
    for folder in (made, final):
        folder.mkdir()
        (folder / "whose").write_text(folder.name)

    publish(made, final)

    assert (final / "whose").read_text() == "final"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "nothing to measure on"),
        (["somewhere", "--library", "0.3"], "leave somewhere out"),
        (["--library", "9"], "one of 0.3"),
        (["nowhere.npz"], "nowhere.npz does not exist"),
    ],
)
def test_a_command_that_cannot_be_done_says_so(arguments: list[str], message: str) -> None:
    with pytest.raises(FleetError, match=message):
        CliRunner().invoke(evaluate, ["captcha", *arguments], catch_exceptions=False)


def test_the_command_measures_a_set_and_draws_what_is_asked_for(tmp_path: Path) -> None:
    wanted = LibrarySet("0.7.1", 4, 1, "AB", width=64, height=32)
    draw(wanted, tmp_path / "set", workers=1)
    images = ("plot", "confusions", "mistakes")
    options = [f"--{name}={tmp_path / name}.png" for name in images]

    done = CliRunner().invoke(
        evaluate,
        [str(TINY_MODEL), str(tmp_path / "set"), "--json", *options],
        catch_exceptions=False,
    )

    figures = json.loads(done.stdout)
    assert figures["n"] == 4
    assert 0.0 <= figures["calibration"]["ece"] <= 1.0
    assert all((tmp_path / f"{name}.png").stat().st_size > 1000 for name in images)


def test_emnist_is_measured_in_the_form_it_is_published_in(tmp_path: Path) -> None:
    images = np.zeros((2, 28, 28), np.uint8)
    images[:, 4:24, 10:14] = 255
    labels = np.array([1, 0])
    classes = np.array(list(BALANCED_SYMBOLS))
    np.savez(tmp_path / "e.npz", validation_x=images, validation_y=labels, classes=classes)

    opened = open_labelled(tmp_path / "e.npz", InputSpec(28, 28, fit="character"))

    read = list(opened.images)
    assert (opened.n, [image.text for image in read]) == (2, ["1", "0"])
    assert np.array_equal(read[0].tensor[:, :, 0], images[0])


def test_a_folder_of_neither_kind_names_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"holds no labels\.tsv"):
        open_labelled(tmp_path, InputSpec(28, 28))

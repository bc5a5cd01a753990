"""Labelled images of one's own: learnt beside drawn ones, measured before and after."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from contract.errors import FleetError, SettingsError, UserError
from pifleet.cli import cli
from recognition.card import read_card
from training.captcha.config import CaptchaConfig
from training.captcha.own_images import MixedSource, new_symbols, read_own
from training.captcha.samples import CaptchaSet, draw_files
from training.config import build_config
from training.image_sets import read_labels, read_labels_file
from training.own_images import OwnConfig

TINY = """
name: tiny-own
data: {images: 256, validation_images: 8, symbols: AB, max_length: 2}
own: {steps: 40}
network: {channels: [4, 4, 8, 8, 8, 8, 16], context_layers: 1}
schedule: {epochs: 3, batch: 32, learning_rate: 1.0e-2, average_momentum: 0.9}
"""
MINE = CaptchaSet(seed=5, symbols="AB7", max_length=2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Draw 60 images that stand for a person's own, with a symbol that no start knows."""
    path = tmp_path_factory.mktemp("mine")
    draw_files(MINE, path, n=60, workers=1, progress=lambda _: None)
    return path


def config_of(folder: Path, **own: float) -> CaptchaConfig:
    config = build_config(CaptchaConfig, {"data": {"symbols": "AB7", "images": 64}})
    mine = OwnConfig(folder=str(folder), labels=str(folder / "labels.tsv"))
    return replace(config, own=replace(mine, **own))  # type: ignore[arg-type]


@pytest.mark.model
@pytest.mark.timeout(180)
@pytest.mark.xdist_group("keras")
def test_images_of_ones_own_are_learnt_from_a_start_and_measured(
    folder: Path, tmp_path: Path
) -> None:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    (tmp_path / "tiny.yaml").write_text(TINY)
    config, begin, run = tmp_path / "tiny.yaml", tmp_path / "begin", tmp_path / "run"
    invoke("train", "captcha", "--config", config, "--out", begin)

    done = invoke(
        *("train", "captcha", "--config", config, "--start", begin, "--out", run),
        *("--data", folder, "--labels", folder / "labels.tsv", "--mix", "0.5"),
    )
    invoke("export", run, "-o", tmp_path / "own.tflite", "--check-images", "60")

    first = next(name for name, text in read_labels(folder).items() if "7" in text)
    assert f"1 symbol that tiny-own does not read yet: 7 ({first})" in done.stderr
    assert "% before, " in done.stdout
    card = read_card((tmp_path / "own.tflite").read_bytes())
    assert card.symbols == "AB7"
    assert "exact_match_held_out_and_drawn" in card.metrics
    assert card.provenance["data"].startswith(f"48 images of {folder.name}, 12 more held out; 50 %")
    epochs = json.loads((run / "curves.json").read_text())
    assert epochs[-1]["loss"] < epochs[0]["loss"]


def test_what_is_held_out_is_never_trained_on_even_if_it_stands_twice(folder: Path) -> None:
    for name in ("000000.png", "000001.png"):
        (folder / f"copy-of-{name}").write_bytes((folder / name).read_bytes())
    texts = read_labels(folder)
    labels = folder / "twice.tsv"
    copies = {f"copy-of-{name}": texts[name] for name in ("000000.png", "000001.png")}
    rows = [f"{name}\t{text}\n" for name, text in (texts | copies).items()]
    labels.write_text("".join(rows))

    config = config_of(folder)
    own = read_own(replace(config, own=replace(config.own, labels=str(labels))))

    parts = [{image.tobytes() for image in one.images} for one in (own.training, own.held_out)]
    assert not parts[0] & parts[1]
    assert len(own.training) + len(own.held_out) == 62
    assert len(parts[1]) == 12


def test_a_batch_holds_its_share_of_drawn_images_whose_middles_are_known(
    folder: Path, tmp_path: Path
) -> None:
    config = config_of(folder, mix=0.25, steps=3)
    config = replace(config, schedule=replace(config.schedule, frame_share=1.0, batch=40))
    source = MixedSource(config)
    source.prepare(tmp_path, workers=1)
    batches = source.batches()

    order = batches.order(0)
    _, targets = batches.take(order[0], done=0.0)

    assert order.shape == (3, 40)
    assert [(step >= 48).sum() for step in order] == [10, 10, 10]
    assert set(order[order < 48]) == set(range(48))  # each of one's own comes
    np.testing.assert_array_equal(targets["frame_share"], [0.0] * 30 + [1.0] * 10)
    np.testing.assert_array_equal(order, batches.order(0))


def test_without_a_mixture_nothing_is_drawn(folder: Path, tmp_path: Path) -> None:
    source = MixedSource(config_of(folder, mix=0.0))
    source.prepare(tmp_path, workers=1)

    assert (source.batches().order(0) < 48).all()
    assert source.check_set(1000).name == "held_out"
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    "content",
    [
        "a.png\tA\nb.png\t#,B\n",
        'a.png,A\nb.png,"#,B"\n',
        'name,text\na.png,A\nb.png,"#,B"\n',
        'bob\nconfidence,name,text\n0.9,a.png,A\n0.1,c.png,\n1,b.png,"#,B"\n',
        '\ufeffa.png,A\r\nb.png,"#,B"\r\n',
    ],
    ids=["tabs", "CSV", "header", "submission of a user", "of a spreadsheet"],
)
def test_labels_are_read_in_any_form(tmp_path: Path, content: str) -> None:
    path = tmp_path / "labels"
    path.write_bytes(content.encode())

    assert read_labels_file(path) == {"a.png": "A", "b.png": "#,B"}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "holds no text"),
        ("a.png\n", "row 1: .* has no name and text"),
        ("a.png,A\na.png,B\n", "row 2: 'a.png' stands twice"),
        ("a.png\tA\nb.png\n", "line 2"),
    ],
    ids=["empty", "one field", "twice", "no tab"],
)
def test_bad_labels_are_named_by_their_line(tmp_path: Path, content: str, said: str) -> None:
    (tmp_path / "labels.csv").write_text(content)

    with pytest.raises(UserError, match=rf"labels\.csv.*{said}"):
        read_labels_file(tmp_path / "labels.csv")


def test_a_character_that_is_no_symbol_is_named_with_its_image(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("a.png,A\nb.png,A B\n")

    with pytest.raises(UserError, match=r"the text of b\.png, 'A B', has ' ' in it"):
        new_symbols(tmp_path / "labels.csv", "A")
    with pytest.raises(UserError, match="cannot be read: No such file"):
        new_symbols(tmp_path / "none.csv", "A")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("none.png\tA\n", r"none\.png cannot be read: No such file"),
        ("labels.tsv\tA\n", r"labels\.tsv cannot be read: not_an_image"),
        (f"000000.png\t{'A' * 17}\n", r"000000\.png, 'A{17}', is too long: there are 32 frames"),
        ("000000.png\tA\n", "own.held_out=0.2 is not accepted"),
    ],
    ids=["missing", "no image", "too long", "one image"],
)
def test_what_cannot_be_learnt_is_named(folder: Path, tmp_path: Path, line: str, said: str) -> None:
    (tmp_path / "bad.tsv").write_text(line)
    config = config_of(folder)

    with pytest.raises(FleetError, match=said):
        read_own(replace(config, own=replace(config.own, labels=str(tmp_path / "bad.tsv"))))


def test_labels_without_images_are_refused() -> None:
    done = CliRunner().invoke(cli, ["train", "captcha", "--mix", "0.5"])

    assert done.exit_code == 2
    assert "--labels and --mix belong to --data" in done.output


def invoke(*arguments: object) -> Result:
    done = CliRunner().invoke(cli, [str(one) for one in arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done


def test_folds_hold_out_each_image_once(folder: Path) -> None:
    config = config_of(folder, held_out=0.25)
    folds = [
        read_own(replace(config, own=replace(config.own, fold=fold))).held_out for fold in range(4)
    ]

    held = [image.tobytes() for fold in folds for image in fold.images]
    own = read_own(config)
    assert [len(fold) for fold in folds] == [15, 15, 15, 15]
    assert len(set(held)) == len(own.training) + len(own.held_out) == 60


@pytest.mark.parametrize(
    ("own", "told"),
    [
        ({"mix": float("nan")}, "mix=nan"),
        ({"held_out": float("nan")}, "a share between 0 and 1"),
        ({"held_out": 0.2, "fold": 5}, "own.fold=5 is not accepted: give 0 to 4"),
    ],
)
def test_parts_that_do_not_exist_are_refused(own: dict[str, float], told: str) -> None:
    with pytest.raises(SettingsError, match=told):
        OwnConfig(**own)  # type: ignore[arg-type]

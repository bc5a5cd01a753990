"""Words from drawing to a model of any width: batches, own images, training, export, reading."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from contract.errors import FleetError, SettingsError, UserError
from pifleet.cli import cli
from recognition.card import InputSpec, read_card
from recognition.charset import Charset
from recognition.images import to_tensor
from recognition.recogniser import KEPT_SHAPES, Recogniser, verify_golden
from training.config import build_config
from training.ctc_batches import PX_PER_FRAME, frame_targets
from training.experiment import load_experiment
from training.image_sets import NO_CENTRE, read_labels
from training.own_images import OwnConfig
from training.words.config import WordsConfig, WordsSchedule
from training.words.data import WordsBatches, padded
from training.words.draw_set import WORDS_SYMBOLS, draw_files
from training.words.fonts import find_word_fonts
from training.words.own_images import MixedBatches, MixedWords, read_own
from training.words.packed import PackedWord, PackedWords, open_words, pack_words
from training.words.samples import WordSet
from training.words.sources import DrawnWords

SHIPPED_FONTS = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
CHARSET = Charset(WORDS_SYMBOLS)
TINY = """
task: words
name: tiny-words
data: {images: 120, validation_images: 8}
own: {steps: 5}
network: {channels: [4, 8, 8, 8, 16, 16], context_layers: 1, context_frames: 3}
schedule: {epochs: 2, batch: 16, learning_rate: 5.0e-3, average_momentum: 0.9, frame_share: 0.0}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a folder of three fonts, one held out, and a list of words."""
    path = tmp_path_factory.mktemp("fonts")
    for name in ("DejaVuSans.ttf", "DejaVuSerif.ttf", "cmb10.ttf"):
        shutil.copy(SHIPPED_FONTS / name, path)
    (path / "words.txt").write_text("house\ngarden\nstreet\nmarket\nseven\n")
    return path


@pytest.fixture(scope="module")
def mine(tmp_path_factory: pytest.TempPathFactory, folder: Path) -> Path:
    """Draw 40 images that stand for a person's own."""
    path = tmp_path_factory.mktemp("mine")
    drawn = WordSet(seed=9, fonts=find_word_fonts([folder]), words=(folder / "words.txt",))
    draw_files(replace(drawn, kinds={"word": 1.0}), path, n=40, workers=1, progress=lambda _: None)
    return path


def packed_of(widths: list[int], texts: list[str] | None = None) -> PackedWords:
    words = [
        PackedWord(
            np.full((32, width), number % 256, np.uint8),
            text,
            np.linspace(4, width - 4, len(text), dtype=np.float32),
        )
        for number, (width, text) in enumerate(
            zip(widths, texts or ["ab"] * len(widths), strict=True)
        )
    ]
    return pack_words(words, CHARSET)


def test_batches_hold_images_of_about_one_width_and_each_at_most_once() -> None:
    widths = np.random.default_rng(1).integers(20, 500, 600).tolist()
    batches = WordsBatches(packed_of(widths), WordsSchedule(batch=32), seed=1)

    order = batches.order(0)

    assert len(order) == batches.steps_per_epoch
    seen = np.concatenate(order)
    assert len(set(seen.tolist())) == len(seen) > 560
    assert all(np.ptp(np.array(widths)[batch]) < 130 for batch in order)
    assert all(a.tolist() == b.tolist() for a, b in zip(order, batches.order(0), strict=True))
    assert any(a.tolist() != b.tolist() for a, b in zip(order, batches.order(1), strict=True))


def test_a_batch_is_padded_with_its_edges_and_targets_follow_the_stretch() -> None:
    batches = WordsBatches(packed_of([70, 90, 120]), WordsSchedule(batch=3, frame_share=1.0), 1)

    pixels, targets = batches.take(np.array([0, 1, 2]), done=0.0)

    assert pixels.shape[0] == 3
    assert pixels.shape[1:] == (32, pixels.shape[2], 1)
    assert pixels.shape[2] % 16 == 0
    assert targets["frames"].shape == (3, pixels.shape[2] // PX_PER_FRAME)
    assert (targets["frame_share"] == 1.0).all()
    last = [np.flatnonzero(row)[-1] for row in targets["frames"]]
    assert last[0] < last[1] < last[2]


def test_a_text_that_its_frames_cannot_hold_is_left_out() -> None:
    narrow, wide = packed_of([40] * 40, ["aaaaaaaa"] * 40), packed_of([100] * 40, ["aaaaaaaa"] * 40)

    assert len(WordsBatches(narrow, WordsSchedule(), 1).readable) == 0
    assert len(WordsBatches(wide, WordsSchedule(), 1).readable) == 40


def test_an_image_without_text_is_blank_in_all_frames() -> None:
    packed = packed_of([64, 64], ["", "a"])
    targets = frame_targets(packed.labels, packed.centres, frames=16)

    assert not targets.classes[0].any()
    assert packed.text(0) == ""
    assert (packed.centres[0] == NO_CENTRE).all()


def test_a_set_that_is_cut_short_is_refused(tmp_path: Path) -> None:
    (tmp_path / "set.json").write_text('{"height": 32, "symbols": "AB"}')

    with pytest.raises(UserError, match="no complete packed set of words"):
        open_words(tmp_path)


def own_config(mine: Path, labels: Path | None = None) -> WordsConfig:
    own = OwnConfig(folder=str(mine), labels=str(labels or mine / "labels.tsv"), steps=5)
    return replace(build_config(WordsConfig, {"schedule": {"batch": 16}}), own=own)


def test_own_images_are_held_out_in_part_and_come_in_their_share(mine: Path) -> None:
    config = own_config(mine)
    own = read_own(config, CHARSET)
    drawn = packed_of([80] * 50)
    both = WordsBatches(drawn, config.schedule, 1).packed
    assert len(own.training) + len(own.held_out) == 40
    assert len(own.held_out) == 8

    mixed = MixedBatches(both, config.schedule, 1, 10, replace(config.own, mix=0.25))
    order = np.concatenate(mixed.order(0))

    assert len(mixed.order(0)) == mixed.steps_per_epoch == 5
    assert len(order) == 80
    assert (order >= 10).sum() == 20


def test_a_text_that_does_not_fit_its_image_is_left_out(mine: Path, tmp_path: Path) -> None:
    texts = read_labels(mine)
    everywhere, once = tmp_path / "everywhere.tsv", tmp_path / "once.tsv"
    everywhere.write_text("".join(f"{name}\t{'i' * 32}\n" for name in texts))
    training = read_own(own_config(mine), CHARSET).training
    first = next(name for name in texts if texts[name] == training.text(0))
    once.write_text("".join(f"{n}\t{'i' * 32 if n == first else t}\n" for n, t in texts.items()))

    with pytest.raises(UserError, match="no text fits the width of its image"):
        read_own(own_config(mine, everywhere), CHARSET)
    source = MixedWords(own_config(mine, once))

    assert source.described()["too_narrow"] == "1"
    assert len(source.batches().readable) == len(training) - 1


@pytest.mark.parametrize(
    ("text", "told"),
    [("Straße", r"'ß' in it: words are written in printable ASCII"), ("x" * 33, "longer than 32")],
)
def test_labels_that_cannot_be_written_get_one_clear_line(
    mine: Path, tmp_path: Path, text: str, told: str
) -> None:
    name = next(iter(read_labels(mine)))
    (tmp_path / "labels.tsv").write_text(f"{name}\t{text}\n")

    with pytest.raises(UserError, match=rf"the text of {name}.*{told}"):
        read_own(own_config(mine, tmp_path / "labels.tsv"), CHARSET)


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ("schedule: {learning_rate: .nan}", "schedule.learning_rate=nan"),
        ("own: {mix: .inf}", "own.mix=inf"),
        ("data: {kinds: {word: .nan}}", "data.kinds="),
    ],
)
def test_numbers_that_are_none_are_refused(tmp_path: Path, config: str, told: str) -> None:
    (tmp_path / "x.yaml").write_text(f"task: words\n{config}\n")

    with pytest.raises(SettingsError, match=rf"{told}.*: give a finite number"):
        load_experiment(tmp_path / "x.yaml")


def test_the_order_of_labels_belongs_to_data(tmp_path: Path) -> None:
    done = CliRunner().invoke(cli, ["train", "words", "--mix", "0.5", "--out", str(tmp_path)])

    assert done.exit_code == 2
    assert "--labels and --mix belong to --data" in done.output


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory, folder: Path, mine: Path) -> Path:
    """Train a tiny reader of own and drawn images, and export it; gives the folder of both."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    path = tmp_path_factory.mktemp("run")
    (path / "tiny.yaml").write_text(TINY)
    invoke(
        *("train", "words", "--config", path / "tiny.yaml", "--out", path / "run"),
        *("--fonts", folder, "--words", folder / "words.txt", "--data", mine, "--mix", "0.5"),
    )
    exported = ("--check-images", "8", "--most-lost", "100")
    invoke("export", path / "run", "-o", path / "words.tflite", *exported)
    return path


def invoke(*arguments: object) -> Result:
    done = CliRunner().invoke(cli, [str(part) for part in arguments])
    if done.exception and not isinstance(done.exception, SystemExit | FleetError):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done


@pytest.mark.model
@pytest.mark.timeout(180)
@pytest.mark.xdist_group("keras")
def test_a_reader_of_words_is_trained_and_exported(model: Path, mine: Path) -> None:
    data = (model / "words.tflite").read_bytes()
    card = read_card(data)
    epochs = json.loads((model / "run" / "curves.json").read_text())

    assert epochs[-1]["loss"] < epochs[0]["loss"]
    assert card.symbols == WORDS_SYMBOLS
    assert (card.input.height, card.input.fit) == (32, "keep_aspect")
    told = f"32 images of {mine.name}, 8 more held out; 50 % of 120 images of words, drawn"
    assert card.provenance["data"].startswith(told)
    assert "exact_match_held_out" in card.metrics
    assert verify_golden(data) == len(card.golden)


def test_a_run_draws_what_it_learns_and_measures_with_what_is_held_out(
    folder: Path, tmp_path: Path
) -> None:
    data = {"fonts": str(folder), "words": str(folder / "words.txt"), "validation_images": 9}
    source = DrawnWords(build_config(WordsConfig, {"data": {**data, "images": 40}}))

    source.prepare(tmp_path, workers=1)
    drawn = (tmp_path / "data" / "train" / "set.json").stat().st_mtime_ns
    source.prepare(tmp_path, workers=1)

    assert (tmp_path / "data" / "train" / "set.json").stat().st_mtime_ns == drawn  # found again
    assert len(source.validation()) == 9
    assert len(source.batches().packed) == 40
    check = source.check_set(3)
    assert [image.shape[1] % 16 for image in check.images] == [0, 0, 0]
    assert source.check_image(2).height >= 18
    assert source.calibration_images(4).shape == (4, 32, 160)


@pytest.mark.model
@pytest.mark.xdist_group("keras")
def test_an_image_is_read_at_its_own_width_as_it_is_padded(model: Path) -> None:
    recogniser = Recogniser((model / "words.tflite").read_bytes())
    grey = np.full((32, 96), 200, np.uint8)
    grey[6:26, 10:80:9] = 20
    bare = recogniser.logits(grey[:, :, None])
    wide = recogniser.logits(np.pad(grey, ((0, 0), (0, 64)), mode="edge")[:, :, None])

    inner = slice(0, 16)  # away from the right edge, as far as the context layer sees
    assert bare.shape == (24, 96)
    assert wide.shape == (40, 96)
    scale = np.abs(bare).max()
    np.testing.assert_allclose(bare[inner], wide[inner], atol=0.02 * scale)


@pytest.mark.model
@pytest.mark.xdist_group("keras")
def test_widths_come_in_few_shapes_and_their_interpreters_are_kept(model: Path) -> None:
    recogniser = Recogniser((model / "words.tflite").read_bytes())
    spec = recogniser.card.input
    shapes = {to_tensor(Image.new("L", (width, 32)), spec).shape[1] for width in range(1, 400, 3)}

    assert shapes == set(range(16, 401, 16))
    assert to_tensor(Image.new("L", (9000, 32)), spec).shape[1] == spec.max_width
    first = recogniser.logits(np.zeros((32, 48, 1), np.uint8))
    for width in range(16, 16 * (KEPT_SHAPES + 4), 16):
        assert recogniser.logits(np.zeros((32, width, 1), np.uint8)).shape[0] == width // 4
    np.testing.assert_array_equal(first, recogniser.logits(np.zeros((32, 48, 1), np.uint8)))


def test_padding_continues_the_edge_as_a_worker_does() -> None:
    grey = np.random.default_rng(1).integers(0, 255, (32, 50), dtype=np.uint8)

    spec = InputSpec(32, 16, "keep_aspect", 1024, 16)
    np.testing.assert_array_equal(
        padded([grey])[0], to_tensor(Image.fromarray(grey), spec)[:, :, 0]
    )

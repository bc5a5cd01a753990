"""The symbols that `--symbols` names, alike in every command that takes it."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from contract.errors import UserError
from pifleet.cli import cli
from producer.submit import Request
from recognition.charset import CAPTCHA_SYMBOLS, PRESETS, Charset, parse_symbols
from tests.support.stripes import png
from training.image_sets import read_labels


@pytest.mark.parametrize(
    ("name", "size"),
    [("digits", 10), ("upper", 36), ("lower", 36), ("letters", 52), ("alnum", 62), ("seed-a", 44)],
)
def test_a_preset_stands_for_its_symbols(name: str, size: int) -> None:
    symbols = parse_symbols(name)

    assert symbols is not None
    assert len(Charset(symbols).symbols) == size
    assert set(PRESETS["seed-a"]) == set(CAPTCHA_SYMBOLS) - set("ixz/<")


@pytest.mark.parametrize("symbols", [None, "", "0123456789", "idgts", "UPPER"])
def test_what_is_no_preset_stays_as_it_is(symbols: str | None) -> None:
    assert parse_symbols(symbols) == symbols


def test_what_a_model_cannot_write_is_named_with_what_it_can() -> None:
    with pytest.raises(UserError, match=r"not in the charset: \['0', .*it holds AB"):
        Charset("AB").mask(PRESETS["digits"])


def test_a_job_is_given_the_symbols_of_the_preset() -> None:
    assert Request("urls.txt", Path("out.csv"), symbols="digits").symbols == "0123456789"


def test_classify_takes_a_preset(tmp_path: Path, tiny_model: Path) -> None:
    (tmp_path / "a.png").write_bytes(png("A7"))

    done = run("classify", tmp_path, "--model", tiny_model, "--symbols", "digits")

    assert set(done.split("\t")[1].strip()) <= set("0123456789")


def test_generate_takes_a_preset(tmp_path: Path) -> None:
    out = tmp_path / "set"

    run("generate", "captcha", "-n", 5, "-o", out, "--symbols", "digits", "--workers", 1)

    assert set("".join(read_labels(out).values())) <= set("0123456789")


def test_symbols_takes_a_preset(tmp_path: Path, tiny_model: Path) -> None:
    (tmp_path / "out.csv").write_text("a.png,A7\n")

    with pytest.raises(UserError, match="'A' in the text of a"):
        run("symbols", tmp_path / "out.csv", "--model", tiny_model, "--symbols", "digits")


def run(*arguments: object) -> str:
    done = CliRunner().invoke(cli, [str(one) for one in arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout

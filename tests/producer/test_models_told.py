"""What a model reads is said where it is chosen: in the list, and before a job is sent."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from pifleet.cli import cli
from recognition.model_file import load_model, shipped_models


def test_the_list_holds_every_symbol_at_80_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")

    lines = CliRunner().invoke(cli, ["models", "list"]).stdout.splitlines()

    cells = "".join([line.split("│")[2].strip() for line in lines if line.count("│") == 4])
    assert max(map(len, lines)) <= 80
    for name in shipped_models():
        assert load_model(name).card.shown_symbols in cells
        assert any(f"│ {name} " in line for line in lines)


@pytest.mark.redis
def test_a_job_begins_by_saying_what_its_model_reads(
    tmp_path: Path, tiny_model: Path, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIFLEET_STATE_DIR", str(tmp_path / "state"))
    (tmp_path / "urls.txt").write_text("http://127.0.0.1:9/a.png\n")
    urls, out = str(tmp_path / "urls.txt"), str(tmp_path / "out.csv")
    job = ["submit", urls, "-o", out, "--model", str(tiny_model), "--symbols", "digits"]
    card = load_model(str(tiny_model)).card

    shown = CliRunner().invoke(cli, [*job, "--dry-run"]).stdout.splitlines()
    told = CliRunner().invoke(cli, [*job, "--detach", "--redis-url", redis_url])

    reads = f"model {card.name} reads {len(card.symbols)} symbols: {card.symbols}"
    line = f"{reads}; allowed: 0123456789"
    assert shown[1] == line
    assert told.stderr.splitlines()[0] == line, told.output
    assert told.stdout.startswith("sent; next:")


@pytest.mark.parametrize("page", ["README.md", "docs/models.md"])
def test_the_symbols_stand_beside_the_figures(page: str) -> None:
    lines = (Path(__file__).parents[2] / page).read_text("utf-8").splitlines()

    assert f"    {load_model('captcha').card.symbols}" in lines
    assert load_model("captcha").card.symbols == load_model("captcha-small").card.symbols

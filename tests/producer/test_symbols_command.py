"""`pifleet symbols` from a submission or a ledger to the flag for the next job, and to a sheet."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from broker.results import ChunkResult, Outcome, Row
from contract.errors import FleetError, LedgerError, ModelError, OutputError, SourceError, UserError
from contract.files import write_rows
from producer.job.deliveries import Deliveries
from producer.job.spec import JobSpec
from producer.job.store import Ledger
from producer.sources.image import SourceImage
from producer.symbols.cli import symbols
from recognition.model_file import load_model
from tests.support.read_ledger import take
from tests.support.stripes import png

IMAGES = 240


@pytest.fixture
def texts(tiny_model: Path) -> dict[str, str]:
    """Draw texts of all symbols of the tiny model but its last two; one is misread as the last."""
    known = load_model(str(tiny_model)).card.symbols
    rng = np.random.default_rng(4)
    drawn = {f"{n:03}.png": "".join(rng.choice(list(known[:-2]), size=3)) for n in range(IMAGES)}
    drawn["007.png"] = known[-1] + drawn["007.png"][1:]
    return drawn


def run(*arguments: object) -> Result:
    return CliRunner().invoke(symbols, list(map(str, arguments)), catch_exceptions=False)


def said(*arguments: object) -> dict[str, object]:
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.output
    found: dict[str, object] = json.loads(result.stdout)
    return found


def write(path: Path, rows: list[list[str]], **layout: object) -> Path:
    write_rows(path, rows, **layout)  # type: ignore[arg-type]  # as the test names them
    return path


def submission(folder: Path, texts: dict[str, str]) -> Path:
    return write(folder / "out.csv", [[name, text] for name, text in texts.items()])


def test_it_ends_with_a_flag_that_a_shell_takes(
    tmp_path: Path, tiny_model: Path, texts: dict[str, str]
) -> None:
    known = load_model(str(tiny_model)).card.symbols

    result = run(submission(tmp_path, texts), "--model", tiny_model)

    assert result.exit_code == 0
    *table, last = result.stdout.splitlines()
    assert shlex.split(last) == ["--symbols", known[:-2]]
    assert sum("absent" in line and "│" in line for line in table) == 2
    assert f"{len(known)} symbols looked for in {IMAGES} texts" in result.stdout


def test_json_says_what_was_counted_and_expected(
    tmp_path: Path, tiny_model: Path, texts: dict[str, str]
) -> None:
    known = load_model(str(tiny_model)).card.symbols
    found = said(submission(tmp_path, {**texts, "failed.png": ""}), "--model", tiny_model)

    assert (found["symbols"], found["absent"]) == (known[:-2], known[-2:])
    assert (found["doubtful"], found["texts"], found["unread"]) == ("", IMAGES, 1)
    estimates = found["estimates"]
    assert isinstance(estimates, list)
    assert [one["readings"] for one in estimates[-2:]] == [0, 1]
    assert estimates[-1]["if_absent"] < 2 < estimates[-1]["if_present"]


def test_every_layout_of_a_submission_is_understood(
    tmp_path: Path, tiny_model: Path, texts: dict[str, str]
) -> None:
    rows = [[name, text] for name, text in texts.items()]
    scored = [[*row, "0.9"] for row in rows]
    turned = [["pi", text, "0.9", name] for name, text in texts.items()]
    files = [
        write(tmp_path / "plain.csv", rows),
        write(tmp_path / "user.csv", rows, first_line="bob"),
        write(tmp_path / "header.csv", rows, first_line="bob", header=("name", "text")),
        write(tmp_path / "scored.csv", scored),
        write(tmp_path / "turned.csv", turned, header=("worker", "text", "confidence", "name")),
    ]
    found = [said(file, "--model", tiny_model)["symbols"] for file in files]
    assert len(set(map(str, found))) == 1


def test_a_ledger_knows_its_model_and_its_symbols(
    tmp_path: Path, tiny_model: Path, texts: dict[str, str]
) -> None:
    model = load_model(str(tiny_model))
    allowed = model.card.symbols[:-2] + model.card.symbols[-1]
    spec = JobSpec("j", "list", model.digest, "tiny", allowed, attempts=1)
    with Ledger(tmp_path / "a.ledger") as ledger:
        listed = (SourceImage(name, f"http://h/{name}") for name in [*texts, "waiting.png"])
        ledger.seal(spec, listed, model=model.data)
        delivery, items = take(Deliveries(ledger), IMAGES)
        rows = tuple(
            Row(item.index, texts[item.url.rpartition("/")[2]], confidence=0.9) for item in items
        )
        result = ChunkResult(delivery, "pi", Outcome.DONE, "token", rows)
        Deliveries(ledger).record([result], position="1-0", forgive=set())

    found = said(tmp_path / "a.ledger")

    assert found["symbols"] == model.card.symbols[:-2]
    assert (found["absent"], found["unread"]) == (allowed[-1], 1)
    assert found["model"] == model.digest


def test_measured_scores_are_taken_as_evaluate_writes_them(
    tmp_path: Path, tiny_model: Path, texts: dict[str, str]
) -> None:
    known = load_model(str(tiny_model)).card.symbols
    scores = tmp_path / "scores.json"
    pair = {"truth": known[0], "read": known[-1], "n": 3, "share": 0.03}
    put_in = {"truth": "", "read": known[1], "n": 3, "share": 0.0}
    scores.write_text(json.dumps({"confusions": [pair, put_in]}))

    file = submission(tmp_path, texts)
    guessed = said(file, "--model", tiny_model)["estimates"]
    measured = said(file, "--model", tiny_model, "--scores", scores)["estimates"]

    assert isinstance(guessed, list)
    assert isinstance(measured, list)
    assert measured[-1]["if_absent"] > measured[-2]["if_absent"]
    assert guessed[-1]["if_absent"] == pytest.approx(guessed[-2]["if_absent"], rel=0.1)


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_scores_with_a_share_that_is_none_are_refused(
    tmp_path: Path, tiny_model: Path, texts: dict[str, str], share: float
) -> None:
    scores = tmp_path / "scores.json"
    scores.write_text(json.dumps({"confusions": [{"truth": "A", "read": "B", "share": share}]}))
    with pytest.raises(SourceError, match="holds no scores"):
        run(submission(tmp_path, texts), "--model", tiny_model, "--scores", scores)


def test_the_sheet_shows_the_images_of_what_was_dropped(
    tmp_path: Path, tiny_model: Path, texts: dict[str, str]
) -> None:
    folder, sheet = tmp_path / "images", tmp_path / "sheet.png"
    folder.mkdir()
    for name, text in texts.items():
        (folder / name).write_bytes(png(text))
    file = submission(tmp_path, texts)

    result = run(file, "--model", tiny_model, "--images", folder, "--sheet", sheet)

    assert result.exit_code == 0
    with Image.open(sheet) as drawn:
        shown = np.asarray(drawn.convert("RGB"))
    assert shown.shape[1] > 1000
    with Image.open(folder / "007.png") as image:
        darkest = int(np.asarray(image.convert("L")).min())
    row = shown[-230:-90, 40:310].mean(axis=2)
    assert row.min() <= darkest + 40  # the image is in the only row
    assert (shown == (178, 58, 72)).all(axis=2).sum() > 1000  # the plate of a dropped symbol
    assert not list(tmp_path.glob(".sheet*"))


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        (b"", "is empty: give a submission, name,text"),
        (b"# a document\nwith words\n", "is no submission: row 1 has no name,text"),
        (b"a.png,A\nb.png\n", "is no submission: row 2 has no name,text"),
        (b"\xff\xd8\xff\xe0", "is no submission: it is no CSV in UTF-8"),
        (b"a.png,\xc3\xa9\n", "has 'é' in the text of a.png, which"),
        (b"a.png,\nb.png,\n", "holds no text"),
        (b"a,b,c,d\n1,2,3,4\n", "has 4 columns and no header"),
    ],
)
def test_what_is_no_submission_is_said_in_one_line(
    tmp_path: Path, tiny_model: Path, content: bytes, parts: str
) -> None:
    file = tmp_path / "out.csv"
    file.write_bytes(content)
    with pytest.raises(SourceError) as refused:
        run(file, "--model", tiny_model)
    assert parts in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("flags", "kind", "words"),
    [
        (["--images", "nothing"], SourceError, "nothing: no such folder"),
        (["--images", "."], SourceError, "image 007.png is not in ."),
        (["--scores", "out.csv"], SourceError, "out.csv holds no scores"),
        (["--scores", "nothing"], SourceError, "nothing cannot be read"),
        (["--symbols", "é"], UserError, "'é'"),
        (["--model", "nothing"], ModelError, "no model 'nothing'"),
    ],
)
def test_a_flag_that_does_not_fit_is_said_in_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    tiny_model: Path,
    texts: dict[str, str],
    flags: list[str],
    kind: type[FleetError],
    words: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    submission(tmp_path, texts)
    with pytest.raises(kind) as refused:
        run("out.csv", "--model", tiny_model, *flags)
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_missing_file_another_database_and_a_sheet_without_images_are_refused(
    tmp_path: Path, tiny_model: Path, texts: dict[str, str]
) -> None:
    with pytest.raises(SourceError, match="cannot be read: No such file"):
        run(tmp_path / "nothing.csv")
    (tmp_path / "other.db").write_bytes(b"SQLite format 3\0" + bytes(100))
    with pytest.raises(LedgerError):
        run(tmp_path / "other.db")
    result = run(submission(tmp_path, texts), "--model", tiny_model, "--sheet", "a.png")
    assert result.exit_code == 2
    assert "give their folder with --images" in result.output


def test_a_sheet_that_cannot_be_written_leaves_nothing(
    tmp_path: Path, tiny_model: Path, texts: dict[str, str]
) -> None:
    for name, text in texts.items():
        (tmp_path / name).write_bytes(png(text))
    file, sheet = submission(tmp_path, texts), tmp_path / "no" / "sheet.png"
    with pytest.raises(OutputError, match="cannot be written"):
        run(file, "--model", tiny_model, "--images", tmp_path, "--sheet", sheet)

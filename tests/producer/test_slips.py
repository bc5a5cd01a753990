"""A slip at the command line costs nothing: no list, no ledger, and no wrong submission."""

from __future__ import annotations

import io
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from broker.connection import connect
from contract.errors import FleetError, LedgerError, OutputError
from contract.exit_codes import exit_code
from contract.files import check_output
from contract.settings import Settings
from pifleet.cli import main
from producer.job.store import Ledger
from producer.registry import find_output, known_jobs
from producer.submission import ledger_path
from producer.submit import Request, detach, prepared
from tests.conftest import Pifleet, StartWorker
from tests.producer.test_jobs import finished
from tests.support.faulty_origin import FaultyOrigin
from tests.support.read_ledger import read_ledger
from tests.support.stripes import png

FIRST = "http://h/a.png\nhttp://h/b.png\n"
SECOND = "http://h/c.png\n"
Begin = Callable[..., str]


@pytest.fixture
def begin(
    redis_url: str, tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> Begin:
    """Return a function that begins a job, or goes on with it, and tells its id."""
    monkeypatch.chdir(tmp_path)

    def submit(
        source: str, *, output: str = "s.csv", stdin: str = "", **options: str | bool | Path
    ) -> str:
        monkeypatch.setattr("sys.stdin", io.StringIO(stdin))
        wanted = {"model": str(tiny_model), **options}
        request = Request(source, tmp_path / output, **wanted)  # type: ignore[arg-type]
        settings = Settings(redis_url=redis_url, state_dir=tmp_path / "state")
        with prepared(request, settings) as ledger:
            return ledger.spec.job

    return submit


@pytest.fixture
def run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str]]:
    """Return a function that runs the command; tells its exit code and stderr."""
    monkeypatch.setenv("PIFLEET_STATE_DIR", str(tmp_path / "state"))

    def invoke(*arguments: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["pifleet", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        return int(ended.value.code or 0), capsys.readouterr().err

    return invoke


def names(path: Path) -> list[str]:
    with Ledger(path, read_only=True) as ledger:
        return [name for (name,) in ledger.rows(["name"])]


def damage(path: Path, *, after: int = 4096) -> None:
    """Overwrite all pages of a ledger but the first."""
    data = path.read_bytes()
    assert len(data) > after
    path.write_bytes(data[:after] + b"\xaa" * (len(data) - after))


@pytest.mark.redis
def test_another_list_on_standard_input_is_refused(begin: Begin) -> None:
    job = begin("-", stdin=FIRST)
    assert begin("-", stdin=FIRST) == job
    with pytest.raises(LedgerError, match=f"holds job {job} with another source.*--restart"):
        begin("-", stdin=SECOND)


@pytest.mark.redis
def test_list_that_was_changed_is_refused_and_a_moved_one_is_not(
    begin: Begin, tmp_path: Path
) -> None:
    (tmp_path / "list.txt").write_text(FIRST)
    job = begin("list.txt")
    (tmp_path / "moved.txt").write_text("# the same\n" + FIRST)
    assert begin("moved.txt") == job
    (tmp_path / "list.txt").write_text(SECOND)
    with pytest.raises(LedgerError, match="another source"):
        begin("list.txt")
    (tmp_path / "list.txt").unlink()
    assert begin("list.txt") == job  # the ledger holds the images; the list is not needed any more


@pytest.mark.redis
def test_other_demands_of_the_texts_are_refused(begin: Begin, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text(FIRST)
    words = tmp_path / "words.txt"
    words.write_text("AB\nCD\n")
    job = begin("list.txt", pattern="[A-Z]{2}", lexicon=words)
    words.write_text("CD\r\nAB\nAB\n\n")
    assert begin("list.txt", pattern="[A-Z]{2}", lexicon=words) == job  # the same words
    with pytest.raises(LedgerError, match=f"holds job {job} with another pattern and lexicon"):
        begin("list.txt")
    with pytest.raises(LedgerError, match="another pattern:"):
        begin("list.txt", pattern="[A-Z]{1,2}", lexicon=words)
    words.write_text("AB\nCE\n")
    with pytest.raises(LedgerError, match="another lexicon:"):
        begin("list.txt", pattern="[A-Z]{2}", lexicon=words)


@pytest.mark.redis
def test_lexicon_is_never_overwritten(begin: Begin, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text(FIRST)
    words = tmp_path / "words.csv"
    words.write_text("AB\n")
    with pytest.raises(OutputError, match="is what is read here"):
        begin("list.txt", output="words.csv", lexicon=words)
    assert words.read_text() == "AB\n"


@pytest.mark.redis
def test_folder_with_other_images_is_refused(begin: Begin, tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.png").touch()
    job = begin("images")
    assert begin("images") == job
    (tmp_path / "images" / "b.png").touch()
    with pytest.raises(LedgerError, match="another source"):
        begin("images")


@pytest.mark.redis
@pytest.mark.parametrize(
    "wrong",
    [
        {"source": "bad.txt"},
        {"source": "missing.txt"},
        {"source": "list.txt", "symbols": "Ä"},
        {"source": "list.txt", "model": "nonsense"},
    ],
    ids=["malformed", "missing", "symbols", "model"],
)
def test_restart_keeps_the_ledger_until_the_new_one_is_whole(
    begin: Begin, tmp_path: Path, wrong: dict[str, str]
) -> None:
    (tmp_path / "list.txt").write_text(FIRST)
    (tmp_path / "bad.txt").write_text(SECOND + "nonsense\n")
    begin("list.txt")
    before = (tmp_path / "s.ledger").read_bytes()
    with pytest.raises(FleetError):
        begin(**wrong, restart=True)
    assert (tmp_path / "s.ledger").read_bytes() == before
    assert not list(tmp_path.glob("*.ledger-*"))


@pytest.mark.redis
def test_restart_takes_the_place_of_a_ledger_even_if_that_is_damaged(
    begin: Begin, tmp_path: Path
) -> None:
    (tmp_path / "list.txt").write_text(FIRST)
    first = begin("list.txt")
    damage(tmp_path / "s.ledger")
    (tmp_path / "list.txt").write_text(SECOND)
    assert begin("list.txt", restart=True) != first
    assert names(tmp_path / "s.ledger") == ["c.png"]


@pytest.mark.redis
def test_restart_does_not_replace_what_is_no_ledger(begin: Begin, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text(FIRST)
    (tmp_path / "s.ledger").write_text("accounts of 1923")
    with pytest.raises(LedgerError, match="is no ledger of pifleet"):
        begin("list.txt", restart=True)
    assert (tmp_path / "s.ledger").read_text() == "accounts of 1923"


@pytest.mark.redis
def test_restart_waits_for_a_producer_that_is_at_work(begin: Begin, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text(FIRST)
    begin("list.txt")
    with Ledger(tmp_path / "s.ledger"), pytest.raises(LedgerError, match="in use"):
        begin("list.txt", restart=True)
    assert len(names(tmp_path / "s.ledger")) == 2


@pytest.mark.redis
@pytest.mark.parametrize(
    ("source", "output"),
    [
        ("list.csv", "list.csv"),
        ("list.failures.csv", "list.csv"),
        ("./list.csv", "../{here}/list.csv"),
        ("list.csv", "list.ledger"),
        ("link.csv", "list.csv"),
        ("list.csv", "folder"),
    ],
    ids=["same", "failures", "other spelling", "ledger", "link", "folder"],
)
def test_submission_never_overwrites_its_source_or_a_ledger(
    begin: Begin, tmp_path: Path, source: str, output: str
) -> None:
    text = "url,name\nhttp://h/a.png,a.png\n"
    for name in ("list.csv", "list.failures.csv"):
        (tmp_path / name).write_text(text)
    (tmp_path / "link.csv").symlink_to(tmp_path / "list.csv")
    (tmp_path / "folder").mkdir()
    with pytest.raises(OutputError):
        begin(source, output=output.format(here=tmp_path.name))
    assert (tmp_path / source).read_text() == text
    assert not list(tmp_path.glob("*.ledger"))


def test_output_is_neither_what_is_read_nor_a_ledger(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    image = tmp_path / "images" / "a.png"
    image.touch()
    for output, reads in ((image, [image]), (image, [tmp_path / "images"])):
        with pytest.raises(OutputError, match="is what is read here"):
            check_output(output, reads=reads)
    Ledger(tmp_path / "old.ledger").close()
    (tmp_path / "old.ledger").rename(tmp_path / "old.csv")
    with pytest.raises(OutputError, match="is a ledger"):
        check_output(tmp_path / "old.csv")
    check_output(tmp_path / "images" / "again.csv", reads=[tmp_path / "images"])


@pytest.mark.parametrize(
    "arguments",
    [
        ("classify", "{image}", "--csv", "{image}"),
        ("classify", "{folder}", "--csv", "{image}"),
        ("symbols", "{csv}", "--images", "{folder}", "--sheet", "{image}"),
        ("symbols", "{csv}", "--images", "{folder}", "--sheet", "{csv}"),
        ("models", "sign", "captcha", "--key", "{image}", "-o", "{image}"),
        ("evaluate", "captcha", "{folder}", "--plot", "{image}"),
    ],
    ids=lambda arguments: " ".join(arguments[:2]),
)
def test_every_command_asks_before_it_overwrites(
    run: Callable[..., tuple[int, str]], tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    places = {"folder": folder, "image": folder / "a.png", "csv": tmp_path / "s.csv"}
    places["image"].write_bytes(b"precious")
    places["csv"].write_text("a.png,A\n")
    code, said = run(*(argument.format(**places) for argument in arguments))
    assert code == 2
    assert "is what is read here" in said
    assert places["image"].read_bytes() == b"precious"


@pytest.mark.redis
def test_job_that_is_named_by_its_list_is_collected_into_its_csv(
    begin: Begin, tmp_path: Path
) -> None:
    (tmp_path / "s.txt").write_text(FIRST)
    begin("s.txt")
    for name in ("s.txt", "s.csv", "s.ledger"):
        assert find_output(tmp_path / "state", str(tmp_path / name)) == tmp_path / "s.csv"


@pytest.mark.parametrize("after", [4096, 262_144], ids=["its notes", "its images"])
def test_damaged_ledger_is_one_sentence_and_the_exit_code_of_a_setting(
    tmp_path: Path, after: int
) -> None:
    images = {f"{number:06}.png": "A" for number in range(5000)}
    with read_ledger(tmp_path / "s.ledger", images):
        pass
    damage(tmp_path / "s.ledger", after=after)
    with (
        pytest.raises(LedgerError, match=r"s\.ledger.*(damaged|no ledger)") as caught,
        Ledger(tmp_path / "s.ledger") as ledger,
    ):
        list(ledger.rows(["name", "url"]))
    assert exit_code(caught.value) == 2
    assert not list(tmp_path.glob("*-lock"))


@pytest.mark.redis
def test_jobs_goes_on_past_what_is_damaged(
    begin: Begin,
    tmp_path: Path,
    run: Callable[..., tuple[int, str]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    (tmp_path / "list.txt").write_text(FIRST)
    bad, good = begin("list.txt", output="bad.csv"), begin("list.txt", output="good.csv")
    damage(tmp_path / "bad.ledger")
    notes = tmp_path / "state" / "jobs"
    (notes / "broken.json").write_text("{")
    (notes / "odd.json").write_text(json.dumps({"output": 7}))
    assert [job.spec.job for job in known_jobs(tmp_path / "state")] == [good]
    assert "bad.ledger" in caplog.text
    assert "broken.json" in caplog.text
    assert "odd.json" in caplog.text
    for job in ("broken", bad):
        code, said = run("collect", job)
        ours = [line for line in said.splitlines() if line.startswith("pifleet:")]
        assert (code, len(ours)) == (2, 1), said


def test_ledger_with_a_damaged_note_is_one_sentence(tmp_path: Path) -> None:
    with read_ledger(tmp_path / "s.ledger", {"a.png": "A"}) as ledger:
        ledger.put("spec", "{")
    with Ledger(tmp_path / "s.ledger") as ledger, pytest.raises(LedgerError, match="damaged"):
        _ = ledger.spec
    with Ledger(ledger_path(tmp_path / "s.csv")) as ledger:
        ledger.put("clock", "noon")
    with pytest.raises(LedgerError):
        Ledger(tmp_path / "s.ledger")


@pytest.mark.redis
def test_everything_of_a_detached_job_ends_by_itself(
    tmp_path: Path, tiny_model: Path, redis_url: str
) -> None:
    (tmp_path / "list.txt").write_text(FIRST)
    request = Request(
        str(tmp_path / "list.txt"), tmp_path / "s.csv", str(tiny_model), rate=5.0, per_host=1.0
    )
    job = detach(request, Settings(redis_url=redis_url, state_dir=tmp_path / "state"))
    with connect(redis_url) as redis:
        kept = [key for key in redis.scan_iter() if job.encode() in key or b":rate:" in key]
        assert len(kept) == 4  # its stream, its one chunk, its bucket and the host's
        assert all(redis.ttl(key) > 0 for key in kept), kept


@pytest.mark.redis
@pytest.mark.timeout(120)
def test_slips_as_a_person_types_them_leave_all_files_as_they_were(
    pifleet: Pifleet, start_worker: StartWorker, origin: FaultyOrigin, tmp_path: Path
) -> None:
    start_worker()
    for number in range(3):
        (tmp_path / f"list{number}.txt").write_text(origin.add(f"/{number}.png", png("AB")) + "\n")
    (tmp_path / "bad.txt").write_text("no address at all\n")
    finished(pifleet("submit", "list1.txt", "-o", "s.csv"))
    shutil.copy(tmp_path / "s.ledger", tmp_path / "damaged.ledger")
    damage(tmp_path / "damaged.ledger")
    before = contents(tmp_path)
    for said, *arguments in (
        ("another source", "list2.txt", "-o", "s.csv"),
        ("another source", "-", "-o", "s.csv"),
        ("bad.txt", "bad.txt", "-o", "s.csv", "--restart"),
        ("missing.txt", "missing.txt", "-o", "s.csv", "--restart"),
        ("is what is read here", "list2.txt", "-o", "list2.txt"),
        ("is a ledger", "list2.txt", "-o", "s.ledger", "--restart"),
        ("damaged.ledger", "list2.txt", "-o", "damaged.csv"),
    ):
        with (tmp_path / "list2.txt").open() as piped:
            _, err = (process := pifleet("submit", *arguments, stdin=piped)).communicate(timeout=30)
        lines = [line for line in err.splitlines() if line.startswith("pifleet:")]
        assert (process.returncode, len(lines)) == (2, 1), err
        assert said in lines[0]
        assert contents(tmp_path) == before, arguments
    assert "s.csv" in finished(pifleet("jobs"))
    assert names(tmp_path / "s.ledger") == ["1.png"]


def contents(folder: Path) -> dict[str, bytes]:
    """Read the files of a folder; of a ledger only its name, for whoever looks at it writes."""
    files = [path for path in folder.iterdir() if path.is_file() and path.suffix != ".log"]
    return {path.name: b"" if path.suffix == ".ledger" else path.read_bytes() for path in files}

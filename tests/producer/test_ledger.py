"""The ledger: the first terminal row wins, and nothing is forgotten."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from broker.results import ChunkResult, Crash, Outcome, Row
from contract.errors import LedgerError, OutputError, SourceError
from contract.reasons import Reason
from producer.job.deliveries import NOT_SENT, Deliveries
from producer.job.policy import MOST_SENT, SEEN
from producer.job.reconciler import Cause
from producer.job.spec import Change, JobSpec
from producer.job.store import Ledger, is_in_use
from producer.sources.image import SourceImage
from tests.support.read_ledger import take

UNSHARE = ("unshare", "--user", "--map-root-user", "--mount")
READ_ONLY = """
mount --bind "$1" "$1" && mount -o remount,bind,ro "$1" && exec "$2" -c "$3" "$4"
"""
TELL = """
import pathlib, sys
from producer.registry import describe
print(describe(pathlib.Path(sys.argv[1])).state)
"""

SPEC = JobSpec("job1", "urls.txt", "0" * 64, "tiny", None, attempts=2)


def make(tmp_path: Path, images: int = 4) -> Ledger:
    ledger = Ledger(tmp_path / "a.ledger")
    listed = (SourceImage(f"{i}.png", f"http://h/{i}.png") for i in range(images))
    ledger.seal(SPEC, listed, model=b"model")
    return ledger


def done(delivery: int, *rows: Row) -> ChunkResult:
    return ChunkResult(delivery, "pi", Outcome.DONE, "token", rows)


def record(ledger: Ledger, result: ChunkResult, forgive: set[int] | None = None) -> Change:
    position = f"{result.delivery}-0"
    return Deliveries(ledger).record([result], position=position, forgive=forgive or set())


def texts(ledger: Ledger) -> list[list[str]]:
    return list(ledger.rows(["name", "text", "reason"]))


def test_first_terminal_row_wins_over_a_second_delivery(tmp_path: Path) -> None:
    with make(tmp_path, 1) as ledger:
        deliveries = Deliveries(ledger)
        delivery, _ = take(deliveries, 1)
        deliveries.give_up(delivery, "straggler")
        second, _ = take(deliveries, 1)

        first = record(ledger, done(delivery, Row(0, "first", 0.9)))
        later = record(ledger, done(second, Row(0, "second", 0.9)))

        assert (first.read, later.read, later.repeats) == (1, 0, 1)
        assert texts(ledger) == [["0.png", "first", ""]]


def test_rows_and_stream_position_survive_a_reopening(tmp_path: Path) -> None:
    with make(tmp_path) as ledger:
        deliveries = Deliveries(ledger)
        delivery, items = take(deliveries, 2)
        record(ledger, done(delivery, *(Row(item.index, "x", 1.0) for item in items)))

    with Ledger(tmp_path / "a.ledger") as ledger:
        assert ledger.get("position") == f"{delivery}-0"
        assert ledger.counts().read == 2
        assert Deliveries(ledger).out() == {}
        assert ledger.model == b"model"
        assert ledger.spec == SPEC


def test_delivery_is_noted_before_it_is_sent(tmp_path: Path) -> None:
    with make(tmp_path) as ledger:
        deliveries = Deliveries(ledger)
        take(deliveries, 3)

    with Ledger(tmp_path / "a.ledger") as ledger:
        assert list(Deliveries(ledger).out().values()) == [3]
        assert ledger.counts().out == 3


def test_failure_that_may_pass_waits_and_then_fails_for_good(tmp_path: Path) -> None:
    with make(tmp_path, 1) as ledger:
        deliveries = Deliveries(ledger)
        delivery, _ = take(deliveries, 1)
        assert record(ledger, done(delivery, Row(0, None, reason=Reason.TIMEOUT))).again == 1
        assert take(deliveries, 1) == (0, ())

        ledger.db.execute("UPDATE image SET ready_at = 0")
        delivery, _ = take(deliveries, 1)
        assert record(ledger, done(delivery, Row(0, None, reason=Reason.TIMEOUT))).failed == 1
        assert texts(ledger) == [["0.png", "", "timeout"]]


def test_failure_that_cannot_pass_is_final_at_once(tmp_path: Path) -> None:
    with make(tmp_path, 1) as ledger:
        deliveries = Deliveries(ledger)
        delivery, _ = take(deliveries, 1)

        change = record(
            ledger, done(delivery, Row(0, None, reason=Reason.TRUNCATED, detail="bytes"))
        )

        assert change == Change(failed=1)
        assert ledger.counts().open == 0


def test_forgiven_failure_costs_no_attempt(tmp_path: Path) -> None:
    with make(tmp_path, 1) as ledger:
        deliveries = Deliveries(ledger)
        for _ in range(5):  # more than the two attempts of the job
            ledger.db.execute("UPDATE image SET ready_at = 0")
            delivery, _items = take(deliveries, 1)
            row = Row(0, None, reason=Reason.CONNECT)
            assert record(ledger, done(delivery, row), forgive={delivery}).again == 1


def test_late_failure_of_an_old_delivery_does_not_end_a_newer_one(tmp_path: Path) -> None:
    with make(tmp_path, 1) as ledger:
        deliveries = Deliveries(ledger)
        old, _ = take(deliveries, 1)
        deliveries.give_up(old, "straggler")
        new, _ = take(deliveries, 1)

        assert record(ledger, done(old, Row(0, None, reason=Reason.TIMEOUT))).repeats == 1
        assert record(ledger, done(new, Row(0, "text", 1.0))).read == 1


def test_poison_is_isolated_while_its_neighbours_are_read(tmp_path: Path) -> None:
    poison = 5
    with make(tmp_path, 64) as ledger:
        deliveries = Deliveries(ledger)
        deliveries_of_poison = 0
        while ledger.counts().open:
            delivery, items = take(deliveries, 64)
            indexes = [item.index for item in items]
            if poison in indexes:
                deliveries_of_poison += 1
                deliveries.give_up(delivery, "crashed", crash=Crash())
            else:
                record(ledger, done(delivery, *(Row(index, "ok", 1.0) for index in indexes)))

        assert deliveries_of_poison == 4  # in its delivery, in an eighth of one, and twice alone
        assert ledger.counts().read == 63
        assert [row for row in texts(ledger) if row[2]] == [["5.png", "", "poison"]]


def test_revived_image_has_all_its_attempts_again(tmp_path: Path) -> None:
    with make(tmp_path, 2) as ledger:
        deliveries = Deliveries(ledger)
        delivery, _ = take(deliveries, 2)
        gone = Row(0, None, reason=Reason.HTTP_STATUS)
        record(ledger, done(delivery, gone, Row(1, None, reason=Reason.EMPTY)))

        assert Deliveries(ledger).revive(Reason.HTTP_STATUS) == 1

        assert [item.index for item in take(deliveries, 2)[1]] == [0]
        assert ledger.counts().failed == 1


def test_half_a_source_leaves_an_unsealed_ledger(tmp_path: Path) -> None:
    twice = [SourceImage("a", "http://h/1"), SourceImage("b", "http://h/2")] * 2
    with Ledger(tmp_path / "a.ledger") as ledger:
        with pytest.raises(SourceError, match="name 'a' stands twice"):
            ledger.seal(SPEC, twice, model=b"")
        assert not ledger.is_sealed
        assert ledger.counts().total == 0


def test_empty_source_is_refused(tmp_path: Path) -> None:
    with (
        Ledger(tmp_path / "a.ledger") as ledger,
        pytest.raises(SourceError, match=r"source urls\.txt names no image"),
    ):
        ledger.seal(SPEC, [], model=b"")


def test_second_producer_is_refused(tmp_path: Path) -> None:
    with make(tmp_path) as ledger:
        assert is_in_use(ledger.path)
        with pytest.raises(LedgerError, match="in use by another producer"):
            Ledger(ledger.path)
    assert not is_in_use(tmp_path / "a.ledger")


def test_running_job_is_seen_where_nothing_may_be_written(tmp_path: Path) -> None:
    """As under the exporter's unit, which may write nowhere."""
    with make(tmp_path) as ledger:
        output = ledger.path.with_suffix(".csv")
        command = ["sh", "-c", READ_ONLY, "sh", str(tmp_path), sys.executable, TELL, str(output)]
        looked = subprocess.run([*UNSHARE, *command], capture_output=True, text=True, check=False)
    if "unshare failed" in looked.stderr or "permission denied" in looked.stderr.lower():
        pytest.skip(f"no mounts of one's own here: {looked.stderr}")
    assert looked.stdout == "running\n", looked.stderr


def test_file_that_is_no_ledger_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.ledger"
    path.write_bytes(b"these bytes are of no database at all" * 100)

    with pytest.raises(LedgerError, match="is no ledger of pifleet"):
        Ledger(path)


def test_ledger_in_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot be written"):
        Ledger(tmp_path / "nowhere" / "a.ledger")


def test_rows_are_sorted_by_name_in_code_point_order(tmp_path: Path) -> None:
    listed = [SourceImage(name, f"http://h/{i}") for i, name in enumerate(["b", "é", "Z", "a10"])]
    with Ledger(tmp_path / "a.ledger") as ledger:
        ledger.seal(SPEC, listed, model=b"")

        assert [row[0] for row in ledger.rows(["name"])] == ["Z", "a10", "b", "é"]


def test_death_that_is_reported_twice_counts_once(tmp_path: Path) -> None:
    with make(tmp_path, 1) as ledger:
        deliveries = Deliveries(ledger)
        delivery, _ = take(deliveries, 1)

        for why in ("worker_gone", "crashed", "crashed", "crashed"):
            assert (
                deliveries.give_up(delivery, why, crash=Crash(was_seen=True, image=0)).failed == 0
            )

        assert ledger.db.execute("SELECT suspicion FROM image").fetchone() == (SEEN,)


def test_answer_that_comes_twice_costs_one_attempt(tmp_path: Path) -> None:
    with make(tmp_path, 1) as ledger:
        delivery, _ = take(Deliveries(ledger), 1)
        failed = done(delivery, Row(0, None, reason=Reason.TIMEOUT))

        assert record(ledger, failed) == Change(again=1)
        assert record(ledger, failed) == Change()


def test_image_that_a_full_broker_does_not_take_is_no_poison(tmp_path: Path) -> None:
    with make(tmp_path, 1) as ledger:
        deliveries = Deliveries(ledger)
        for _ in range(MOST_SENT + 1):
            delivery, _ = take(deliveries, 1)
            assert deliveries.give_up(delivery, NOT_SENT) == Change(again=1)


def test_image_whose_notices_a_thief_takes_is_no_poison(tmp_path: Path) -> None:
    with make(tmp_path, 1) as ledger:
        deliveries = Deliveries(ledger)
        for _ in range(MOST_SENT + 1):
            delivery, _ = take(deliveries, 1)
            change = deliveries.give_up(delivery, Cause.VANISHED, was_begun=False)
            assert change == Change(again=1)


@pytest.mark.parametrize("why", [Outcome.BAD_MODEL, Outcome.NO_MODEL])
def test_image_that_one_worker_refuses_waits_longer_each_time(tmp_path: Path, why: str) -> None:
    with make(tmp_path, 1) as ledger:
        deliveries = Deliveries(ledger)
        delivery, _ = take(deliveries, 1)

        deliveries.give_up(delivery, why)

        assert take(deliveries, 1) == (0, ())
        ((ready_at,),) = ledger.db.execute("SELECT ready_at FROM image")
        assert 1.0 < ready_at - ledger.now() <= 2.0


def test_second_worker_that_was_met_is_remembered_while_it_is_away(tmp_path: Path) -> None:
    with make(tmp_path, 1) as ledger:
        assert Deliveries(ledger).is_lone_worker
        Deliveries(ledger).meet_second_worker()
        assert not Deliveries(ledger).is_lone_worker

"""Who is taken for poison: what kills its worker, and nothing that was only there when it died."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from broker.messages import ChunkResult, Outcome, Row
from contract.reasons import Reason
from producer.job.ledger import Ledger
from producer.job.spec import JobSpec
from producer.sources.source import SourceImage

SPEC = JobSpec("job1", "urls.txt", "0" * 64, "tiny", None, attempts=2)


def make(tmp_path: Path, images: int) -> Ledger:
    ledger = Ledger(tmp_path / "a.ledger")
    listed = (SourceImage(f"{i}.png", f"http://h/{i}.png") for i in range(images))
    ledger.seal(SPEC, listed, model=b"model")
    ledger.begin_session()
    return ledger


def take(ledger: Ledger, size: int = 64) -> tuple[int, list[int]]:
    chunk, items = ledger.take(size, session=1)
    return chunk, [item.index for item in items]


def answer(ledger: Ledger, chunk: int, indexes: list[int]) -> None:
    rows = tuple(Row(index, "ok", 1.0) for index in indexes)
    result = ChunkResult(chunk, "pi", Outcome.DONE, rows)
    ledger.record([result], position=f"{chunk}-0", forgive=set())


def poisoned(ledger: Ledger) -> list[str]:
    rows = ledger.rows(["name", "reason"], only_failed=True)
    return [name for name, reason in rows if reason == Reason.POISON]


def test_image_seen_in_the_act_goes_alone_and_fails_at_its_third_death(tmp_path: Path) -> None:
    with make(tmp_path, 64) as ledger:
        deliveries: list[int] = []
        while ledger.counts().open:
            chunk, indexes = take(ledger)
            if 5 in indexes:
                deliveries.append(len(indexes))
                ledger.give_up(chunk, "crashed", is_death=True, suspects=[5])
            else:
                answer(ledger, chunk, indexes)

        assert deliveries == [64, 1, 1]
        assert poisoned(ledger) == ["5.png"]


def test_process_killed_between_two_images_makes_none_suspect(tmp_path: Path) -> None:
    with make(tmp_path, 64) as ledger:
        for _ in range(3):
            chunk, indexes = take(ledger)
            assert len(indexes) == 64
            ledger.give_up(chunk, "crashed", is_death=True, suspects=[])


def test_what_kills_unseen_is_isolated_in_the_end(tmp_path: Path) -> None:
    with make(tmp_path, 64) as ledger:
        while ledger.counts().open:
            chunk, indexes = take(ledger)
            if 5 in indexes:  # its download bursts the memory, say: nothing is being read then
                ledger.give_up(chunk, "crashed", is_death=True, suspects=[])
            else:
                answer(ledger, chunk, indexes)

        assert poisoned(ledger) == ["5.png"]


def test_one_image_job_fails_at_the_fourth_death_of_its_worker(tmp_path: Path) -> None:
    with make(tmp_path, 1) as ledger:
        failed = [
            ledger.give_up(take(ledger)[0], "worker_gone", is_death=True).failed for _ in range(4)
        ]
        assert failed == [0, 0, 0, 1]
        assert poisoned(ledger) == ["0.png"]


def test_suspects_and_the_others_go_in_turns(tmp_path: Path) -> None:
    with make(tmp_path, 256) as ledger:
        ledger.give_up(take(ledger)[0], "worker_gone", is_death=True)

        assert [len(take(ledger)[1]) for _ in range(6)] == [8, 64, 8, 64, 8, 64]


@pytest.mark.parametrize("suspects", [None, ()], ids=["whole-workers", "processes"])
def test_innocent_images_outlive_hundreds_of_deaths(
    tmp_path: Path, suspects: tuple[int, ...] | None
) -> None:
    """One delivery in eight dies, as in a run of `make chaos` with a kill a second."""
    rng = np.random.default_rng(1)
    deaths = 0
    with make(tmp_path, 20_000) as ledger:
        while (taken := take(ledger))[1]:
            chunk, indexes = taken
            # Most of the time is waiting: one image takes a third of what 64 take.
            if rng.random() < 0.125 * (0.3 + 0.7 * len(indexes) / 64):
                deaths += 1
                ledger.give_up(chunk, "killed", is_death=True, suspects=suspects)
            else:
                answer(ledger, chunk, indexes)
        assert deaths > 30
        assert poisoned(ledger) == []

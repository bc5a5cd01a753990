"""Who is taken for poison: what kills its worker, and nothing that was only there when it died."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from broker.results import ChunkResult, Crash, Outcome, Row
from contract.reasons import Reason
from producer.job.deliveries import Deliveries
from producer.job.spec import JobSpec
from producer.job.store import Ledger
from producer.sources.image import SourceImage
from tests.support import read_ledger

SPEC = JobSpec("job1", "urls.txt", "0" * 64, "tiny", None, attempts=2)


def make(tmp_path: Path, images: int) -> Ledger:
    ledger = Ledger(tmp_path / "a.ledger")
    listed = (SourceImage(f"{i}.png", f"http://h/{i}.png") for i in range(images))
    ledger.seal(SPEC, listed, model=b"model")
    return ledger


def take(deliveries: Deliveries, size: int = 64) -> tuple[int, list[int]]:
    delivery, items = read_ledger.take(deliveries, size)
    return delivery, [item.index for item in items]


def answer(deliveries: Deliveries, delivery: int, indexes: list[int]) -> None:
    rows = tuple(Row(index, "ok", 1.0) for index in indexes)
    result = ChunkResult(delivery, "pi", Outcome.DONE, "token", rows)
    deliveries.record([result], position=f"{delivery}-0", forgive=set())


def poisoned(ledger: Ledger) -> list[str]:
    rows = ledger.rows(["name", "reason"], only_failed=True)
    return [name for name, reason in rows if reason == Reason.POISON]


def test_image_seen_in_the_act_goes_alone_and_fails_at_its_third_death(tmp_path: Path) -> None:
    with make(tmp_path, 64) as ledger:
        deliveries = Deliveries(ledger)
        sizes: list[int] = []
        while ledger.counts().open:
            delivery, indexes = take(deliveries)
            if 5 in indexes:
                sizes.append(len(indexes))
                deliveries.give_up(delivery, "crashed", crash=Crash(was_seen=True, image=5))
            else:
                answer(deliveries, delivery, indexes)

        assert sizes == [64, 1, 1]
        assert poisoned(ledger) == ["5.png"]


def test_process_killed_between_two_images_makes_none_suspect(tmp_path: Path) -> None:
    with make(tmp_path, 64) as ledger:
        deliveries = Deliveries(ledger)
        for _ in range(3):
            delivery, indexes = take(deliveries)
            assert len(indexes) == 64
            deliveries.give_up(delivery, "crashed", crash=Crash(was_seen=True))


def test_what_kills_unseen_is_isolated_in_the_end(tmp_path: Path) -> None:
    with make(tmp_path, 64) as ledger:
        deliveries = Deliveries(ledger)
        while ledger.counts().open:
            delivery, indexes = take(deliveries)
            if 5 in indexes:  # its download bursts the memory, say: nothing is being read then
                deliveries.give_up(delivery, "crashed", crash=Crash(was_seen=True))
            else:
                answer(deliveries, delivery, indexes)

        assert poisoned(ledger) == ["5.png"]


def test_one_image_job_fails_at_the_fourth_death_of_its_worker(tmp_path: Path) -> None:
    with make(tmp_path, 1) as ledger:
        deliveries = Deliveries(ledger)
        failed = [
            deliveries.give_up(take(deliveries)[0], "worker_gone", crash=Crash()).failed
            for _ in range(4)
        ]
        assert failed == [0, 0, 0, 1]
        assert poisoned(ledger) == ["0.png"]


def test_suspects_and_the_others_go_in_turns(tmp_path: Path) -> None:
    with make(tmp_path, 256) as ledger:
        deliveries = Deliveries(ledger)
        deliveries.give_up(take(deliveries)[0], "worker_gone", crash=Crash())

        assert [len(take(deliveries)[1]) for _ in range(6)] == [8, 64, 8, 64, 8, 64]


@pytest.mark.parametrize("was_seen", [False, True], ids=["whole-workers", "processes"])
def test_innocent_images_outlive_hundreds_of_deaths(tmp_path: Path, *, was_seen: bool) -> None:
    """One delivery in eight dies, as in a run of `make chaos` with a kill a second."""
    rng = np.random.default_rng(1)
    deaths = 0
    with make(tmp_path, 20_000) as ledger:
        deliveries = Deliveries(ledger)
        while (taken := take(deliveries))[1]:
            delivery, indexes = taken
            # Most of the time is waiting: one image takes a third of what 64 take.
            if rng.random() < 0.125 * (0.3 + 0.7 * len(indexes) / 64):
                deaths += 1
                deliveries.give_up(delivery, "killed", crash=Crash(was_seen=was_seen))
            else:
                answer(deliveries, delivery, indexes)
        assert deaths > 30
        assert poisoned(ledger) == []

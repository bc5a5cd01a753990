"""Whose failures stand out of the fleet's, and whose do not."""

from __future__ import annotations

import pytest

from broker.results import ChunkResult, Outcome, Row
from contract.reasons import Reason
from producer.job.outliers import MIN_IMAGES, RESULTS_KEPT, Outliers


def answer(
    worker: str, *, failed: int, of: int = MIN_IMAGES, why: Reason = Reason.DNS
) -> ChunkResult:
    rows = [Row(n, None, reason=why) if n < failed else Row(n, "a", 0.9) for n in range(of)]
    return ChunkResult(1, worker, Outcome.DONE, "0" * 32, tuple(rows))


def found(*answers: ChunkResult) -> set[str]:
    outliers = Outliers()
    for one in answers:
        outliers.note(one)
    return set(outliers.find())


def test_worker_that_fails_half_of_what_others_read_stands_out() -> None:
    half = MIN_IMAGES // 2
    assert found(answer("sick", failed=half), answer("sound", failed=0)) == {"sick"}
    assert found(answer("poor", failed=half - 1), answer("sound", failed=0)) == set()


def test_nobody_stands_out_where_all_fail() -> None:
    """An origin that is down is no worker's fault."""
    assert found(answer("pi1", failed=MIN_IMAGES), answer("pi2", failed=2)) == set()
    assert found(answer("pi1", failed=MIN_IMAGES), answer("pi2", failed=MIN_IMAGES)) == set()


def test_nothing_is_said_of_a_worker_alone() -> None:
    assert found(answer("pi1", failed=MIN_IMAGES)) == set()
    assert found(answer("pi1", failed=MIN_IMAGES), answer("pi2", failed=0, of=1)) == set()


@pytest.mark.parametrize("why", [Reason.HTTP_STATUS, Reason.DAMAGED, Reason.BLANK])
def test_what_is_the_images_own_is_not_counted(why: Reason) -> None:
    assert found(answer("pi1", failed=MIN_IMAGES, why=why), answer("pi2", failed=0)) == set()


def test_what_is_long_ago_is_forgotten() -> None:
    outliers = Outliers()
    outliers.note(answer("pi1", failed=MIN_IMAGES))
    outliers.note(answer("pi2", failed=0))
    assert set(outliers.find()) == {"pi1"}
    for _ in range(RESULTS_KEPT):
        outliers.note(answer("pi1", failed=0))
    assert outliers.find() == {}


def test_worker_that_rested_begins_anew() -> None:
    outliers = Outliers()
    outliers.note(answer("pi1", failed=MIN_IMAGES))
    outliers.note(answer("pi2", failed=0))
    outliers.forget("pi1")
    assert outliers.find() == {}

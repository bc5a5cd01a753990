"""A submission is put right: what was said stays, and what is left is told honestly."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from contract.errors import FleetError, LedgerError, UserError
from producer.review.corrections import checked
from producer.review.estimate import Looks, estimate, wilson
from producer.review.review import Review, Said
from producer.submission import Layout, corrected_path, corrections_path
from tests.support.page import make_job

READINGS = {f"{i:03}.png": (f"A{i % 10}", 0.5 + i / 250) for i in range(100)}


@pytest.fixture
def review(tmp_path: Path) -> Review:
    return Review(make_job(tmp_path, READINGS, failed={"gone.png": "http_status"}))


def say(review: Review, index: int, text: str | None) -> None:
    review.say([Said(index, text)], who="ada", how="least sure")


def test_images_come_by_confidence_and_leave_when_they_were_looked_at(review: Review) -> None:
    say(review, 0, "A0")
    say(review, 2, "B2")

    assert [one.index for one in review.screen("least sure", most=3)] == [1, 3, 4]
    assert [one.index for one in review.screen("least sure", after=2, most=2)] == [4, 5]
    assert [one.index for one in review.screen("looked at")] == [2, 0]
    shuffled = [one.index for one in review.screen("random", most=200)]
    assert sorted(shuffled) == [1, *range(3, 100)]
    assert shuffled != sorted(shuffled)


def test_last_word_comes_first_though_a_clock_was_set_back(
    review: Review, monkeypatch: pytest.MonkeyPatch
) -> None:
    days = iter(("03", "02", "01"))
    monkeypatch.setattr("producer.review.review.now", lambda: f"2026-11-{next(days)}T00:00:00")
    for index in (0, 2, 0):
        say(review, index, "B0")

    assert [one.index for one in review.screen("looked at")] == [0, 2]


def test_the_first_answer_is_never_lost_and_the_last_word_counts(review: Review) -> None:
    for text in ("B0", "C0", None, "D0"):
        say(review, 0, text)

    lines = [json.loads(line) for line in review.corrections.path.read_text().splitlines()]

    assert [line["text"] for line in lines] == ["B0", "C0", None, "D0"]
    assert {(line["read"], line["who"], line["name"]) for line in lines} == {
        ("A0", "ada", "000.png")
    }
    assert review.images([0])[0].text == "D0"
    assert review.images([0])[0].read == "A0"


def test_the_corrected_submission_is_the_same_bytes_each_time(tmp_path: Path) -> None:
    layout = Layout(columns=("text", "name", "confidence"), header=True, first_line="bob")
    output = make_job(tmp_path, READINGS, failed={"gone.png": "dns"}, layout=layout)
    first = output.read_bytes()
    review = Review(output)
    say(review, 0, 'say "x", y')
    say(review, 1, "")

    written = review.write_corrected().read_bytes()

    assert written == Review(output).write_corrected().read_bytes()
    assert written.splitlines()[:4] == [
        *(b"bob", b"text,name,confidence"),
        *(b'"say ""x"", y",000.png,1.0', b",001.png,1.0"),
    ]
    assert len(written.splitlines()) == len(first.splitlines())
    assert output.read_bytes() == first
    assert corrected_path(output).name == "0a1b2c3d.corrected.csv"


def test_what_a_power_cut_left_of_a_line_harms_no_other(review: Review) -> None:
    say(review, 0, "B0")
    with review.corrections.path.open("ab") as file:
        file.write(b'{"job":"0a1b2c3d","index":1,"na')

    say(review, 2, "B2")

    seen = Review(review.output).corrections.current()
    assert {index: word.text for index, word in seen.items()} == {0: "B0", 2: "B2"}


def test_two_programs_may_speak_at_once_and_hear_each_other(review: Review) -> None:
    other = Review(review.output)
    say(review, 0, "B0")
    say(other, 1, "B1")

    assert set(review.corrections.current()) == set(other.corrections.current()) == {0, 1}


def test_a_job_that_was_begun_anew_keeps_no_words_about_other_images(review: Review) -> None:
    say(review, 0, "B0")
    for path in review.output.parent.glob("*.ledger"):
        path.unlink()
    make_job(review.output.parent, READINGS, job="ffffffff")
    corrections_path(review.output).rename(review.output.with_name("ffffffff.corrections.jsonl"))

    assert Review(review.output.with_name("ffffffff.csv")).corrections.current() == {}


@pytest.mark.parametrize("text", ["two\nlines", "a\tb", "\x1b[31m", "x" * 257, "a\u202eb"])
def test_what_no_image_shows_is_refused(review: Review, text: str) -> None:
    with pytest.raises(UserError, match="is no text of an image"):
        say(review, 0, text)
    assert not review.corrections.path.exists()


def test_an_accent_is_written_as_everybody_writes_it() -> None:
    assert checked(" e\u0301 ") == "\u00e9"


@pytest.mark.parametrize("index", [100, 4711, -1], ids=["failed", "unknown", "negative"])
def test_words_about_what_has_no_reading_are_refused_whole(review: Review, index: int) -> None:
    with pytest.raises(UserError, match="has no reading"):
        review.say([Said(0, "B0"), Said(index, "C")], who="ada", how="least sure")
    assert not review.corrections.path.exists()


def test_a_spoilt_line_is_one_sentence(review: Review) -> None:
    corrections_path(review.output).write_text('{"index": "x"}\n')

    with pytest.raises(LedgerError, match=r"corrections\.jsonl is damaged: .* mend the line"):
        review.screen("least sure")


def test_a_list_is_taken_as_what_somebody_saw(review: Review, tmp_path: Path) -> None:
    (tmp_path / "seen.csv").write_text('name,text\n000.png,A0\n001.png,"B,1"\n')

    assert review.take_list(tmp_path / "seen.csv", who="ada") == 2
    assert review.estimate().wrong == 1
    (tmp_path / "seen.csv").write_text("nobody.png,A\n")
    with pytest.raises(FleetError, match=r"has no reading of 'nobody\.png'"):
        review.take_list(tmp_path / "seen.csv", who="ada")


def looks(confidence: Sequence[float], *, seen: int = 0, wrong: int = 0, failed: int = 0) -> Looks:
    """Look at the first ``seen``, of which the first ``wrong`` are."""
    order = np.arange(len(confidence))
    return Looks(
        len(confidence) + failed,
        failed,
        np.array(confidence),
        order < seen,
        order < wrong,
        np.zeros(len(confidence), dtype=bool),
    )


def test_before_anybody_looked_the_errors_are_those_that_the_confidences_promise() -> None:
    found = estimate(looks([0.5] * 20 + [0.99] * 980))

    assert found.errors_left.value == pytest.approx(19.8, rel=0.1)
    assert found.errors_left.low < 12
    assert found.errors_left.high > 30
    assert found.exact_match.value == pytest.approx(0.9802, abs=0.003)


def test_what_is_found_moves_what_is_left_and_narrows_it() -> None:
    confidence = [0.5] * 200 + [0.95] * 800
    harder = estimate(looks(confidence, seen=200, wrong=180))
    kept = estimate(looks(confidence, seen=200, wrong=100))
    easier = estimate(looks(confidence, seen=200, wrong=20))

    assert easier.errors_left.value < kept.errors_left.value < harder.errors_left.value
    assert kept.errors_left.value == pytest.approx(40, rel=0.1)
    assert kept.exact_match_before == pytest.approx(1 - 0.14, abs=0.01)
    before = estimate(looks(confidence)).errors_left
    after = kept.errors_left
    assert after.high - after.low < before.high - before.low


def test_who_looked_at_all_has_no_errors_left_but_those_that_failed() -> None:
    found = estimate(looks([0.9] * 50, seen=50, wrong=7, failed=50))

    assert found.errors_left.high == 0
    assert found.exact_match.value == found.exact_match.high == 0.5
    assert found.exact_match_before == pytest.approx(0.43)


def test_no_image_is_certain_however_sure_the_model_is() -> None:
    assert estimate(looks([1.0] * 40_000)).errors_left.value == pytest.approx(1.0, abs=0.3)


def test_an_empty_job_is_estimated_as_nothing() -> None:
    assert estimate(looks([], failed=3)).exact_match.value == 0.0


@pytest.mark.parametrize("shift", [-0.7, 0.0, 1.3], ids=["easier", "as promised", "unseen font"])
def test_the_interval_holds_the_errors_that_are_really_left(shift: float) -> None:
    """In 100 jobs of any difficulty, the interval after 200 looks misses the truth in few."""
    rng = np.random.default_rng(7)
    held = 0
    for _ in range(100):
        confidence = np.sort(1 - rng.beta(0.4, 8.0, size=2_000).clip(1e-4, 1 - 1e-4))
        odds = np.exp(shift) * (1 - confidence) / confidence
        is_wrong = rng.random(2_000) < odds / (1 + odds)
        seen = np.arange(2_000) < 200
        nothing = np.zeros(2_000, dtype=bool)
        found = estimate(Looks(2_000, 0, confidence, seen, is_wrong & seen, nothing)).errors_left
        held += found.low <= (is_wrong & ~seen).sum() <= found.high
    assert held >= 90


def test_a_check_at_random_tells_without_believing_the_model() -> None:
    confidence = np.full(10_000, 0.9999)
    is_random = np.arange(10_000) < 100
    sure_and_wrong = np.arange(10_000) < 30

    found = estimate(Looks(10_000, 0, confidence, is_random, sure_and_wrong, is_random))

    assert found.spot_check is not None
    assert not found.spot_check.agrees
    assert found.spot_check.errors.low > 2_000


def test_images_that_were_sorted_out_do_not_count_for_the_sure_ones() -> None:
    """What was random among the least sure says nothing of the rest once all of these are seen."""
    confidence = np.repeat([0.1, 0.99], 100)
    seen = (np.arange(200) < 100) | (np.arange(200) >= 175)
    is_random = (np.arange(200) < 50) | (np.arange(200) >= 175)

    found = estimate(Looks(200, 0, confidence, seen, np.arange(200) < 90, is_random)).spot_check

    assert found is not None
    assert (found.n, found.wrong) == (25, 0)


def test_wilson_is_known_where_none_of_ten_went_wrong() -> None:
    found = wilson(0, 10)

    assert found.low == 0.0
    assert found.high == pytest.approx(0.2775, abs=1e-4)


def test_a_review_of_many_is_paged_without_gaps(tmp_path: Path) -> None:
    rng = random.Random(3)
    review = Review(make_job(tmp_path, {f"{i}.png": ("A", rng.random()) for i in range(500)}))
    met: list[int] = []
    while screen := review.screen("least sure", after=0, most=37):
        met += [one.index for one in screen]
        review.say([Said(one.index, one.read) for one in screen], who="ada", how="least sure")
    assert sorted(met) == list(range(500))

"""What fuzzing has found stays read or refused, and so do files that are like it."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.reader import PNG_SIGNATURE, Reader, mend_checksums
from tests.fuzz.seeds import CORPUS, seeds
from tests.support.bad_images import TEXT, wrong_checksum

MOST_BYTES = 300_000  # of the whole corpus: it is part of every checkout
FILES = sorted(CORPUS.iterdir())
EDITS = st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.binary(max_size=4)), max_size=6)


@pytest.fixture(scope="module")
def reader() -> Reader:
    return Reader()


def test_every_kept_file_is_read_or_refused(reader: Reader) -> None:
    for file in FILES:
        reader.read_twice(file.read_bytes())


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(file=st.sampled_from(FILES), edits=EDITS)
def test_changed_file_is_read_or_refused(
    file: Path, edits: list[tuple[float, bytes]], reader: Reader
) -> None:
    data = bytearray(file.read_bytes())
    for place, put in edits:
        at = int(place * len(data))
        data[at : at + len(put)] = put
    reader.read_twice(bytes(data))


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.sampled_from([PNG_SIGNATURE, b"BM", b"II*\0", b"P5 ", b"GIF89a"]), rest=st.binary())
def test_bytes_after_a_signature_are_read_or_refused(
    data: bytes, rest: bytes, reader: Reader
) -> None:
    reader.read_twice(data + rest)


def test_seeds_are_read_unless_they_move(reader: Reader) -> None:
    outcomes = [reader.read(seed) for seed in seeds()]
    assert outcomes.count("animated") == 4
    assert "damaged" not in outcomes


def test_checksums_are_mended(reader: Reader) -> None:
    broken = wrong_checksum(b"IHDR")
    assert reader.read(broken) == "damaged"
    assert reader.read(mend_checksums(broken)) == TEXT


def test_corpus_is_small_and_named_by_its_content() -> None:
    assert sum(file.stat().st_size for file in FILES) < MOST_BYTES
    assert all(hashlib.sha1(file.read_bytes()).hexdigest() == file.name for file in FILES)

"""What two machines say to each other survives the wire, and nonsense is refused by name."""

from __future__ import annotations

import json
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.chunks import Notice
from broker.claims import MAX_CHUNK, ChunkTask, Item, make_token
from broker.heartbeats import Heartbeat
from broker.results import MAX_DETAIL, ChunkResult, Outcome, Row
from contract.errors import MessageError
from contract.reasons import Reason

ITEMS = (Item(0, "http://h/0"), Item(7, "http://h/ä"))
TASK = ChunkTask("j", 3, "0" * 64, "AB", ITEMS, make_token("secret", 3))
NOTICE = TASK.notice
BEAT = Heartbeat(
    worker="pi1",
    pid=1,
    host="pi1",
    processes=8,
    in_hand=("j.1",),
    proofs=("0" * 32,),
    images=10,
    failed=1,
    images_per_s=12.5,
    started_at=1e9,
    temperature_c=None,
    throttled=0x50000,
    rss_mb=300.0,
    version="0.1.0",
    runtime="litert",
    models=("0" * 64,),
)
TEXTS = st.text(max_size=20)
DETAILS = TEXTS.filter(str.isprintable)  # of other letters a person gets to see a substitute
INDICES = st.integers(0, 2**40)
CONFIDENCES = st.integers(0, 10_000).map(lambda n: n / 10_000)  # as many digits as travel
ROWS = st.builds(Row, index=INDICES, text=TEXTS, confidence=CONFIDENCES) | st.builds(
    Row, index=INDICES, text=st.none(), reason=st.sampled_from(Reason), detail=DETAILS
)


def over_the_wire(fields: dict[str, Any]) -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads(json.dumps(fields))
    return parsed


def unpacked(**changes: Any) -> ChunkTask:
    """Read a chunk of which somebody changed some fields."""
    fields = {**json.loads(TASK.to_json()), **changes}
    return ChunkTask.unpack(zlib.compress(json.dumps(fields).encode()))


def test_chunk_and_its_notice_survive_the_wire() -> None:
    assert ChunkTask.unpack(TASK.pack()) == TASK
    assert Notice.from_wire(over_the_wire(NOTICE.to_wire())) == NOTICE
    assert NOTICE.task_id() == "j.3"


@given(st.lists(ROWS, max_size=20), st.sampled_from(Outcome), DETAILS)
def test_result_survives_the_wire(rows: list[Row], outcome: Outcome, detail: str) -> None:
    result = ChunkResult(3, "pi1", outcome, "token", tuple(rows), took_s=1.25, detail=detail)
    assert ChunkResult.from_json(result.to_json()) == result


def test_heartbeat_survives_the_wire() -> None:
    assert Heartbeat.from_json(BEAT.to_json()) == BEAT


def test_unknown_field_of_a_newer_version_is_ignored() -> None:
    assert unpacked(priority=5) == TASK
    assert Notice.from_wire({**NOTICE.to_wire(), "priority": 5}) == NOTICE
    newer = json.dumps({**json.loads(BEAT.to_json()), "fan_rpm": 2000})
    assert Heartbeat.from_json(newer) == BEAT


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"v": 1}, "version 1, this program knows 5"),
        ({"v": None}, r"Expected `int`, got `null` - at `\$\.v`"),
        ({"v": True}, r"got `bool` - at `\$\.v`"),
        ({"job": 5}, r"Expected `str`, got `int` - at `\$\.job`"),
        ({"delivery": "1"}, r"Expected `int`, got `str` - at `\$\.delivery`"),
        ({"symbols": ["A"]}, r"got `array` - at `\$\.symbols`"),
        ({"items": []}, r"length >= 1 - at `\$\.items`"),
        ({"items": [[0, "u"]] * (MAX_CHUNK + 1)}, f"length <= {MAX_CHUNK}"),
        ({"items": [["0", "u"]]}, "Expected `int`, got `str`"),
        ({"items": [None]}, "Expected `array`, got `null`"),
    ],
    ids=str,
)
def test_chunk_with_a_bad_field_is_refused_by_name(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(MessageError, match=words):
        unpacked(**changes)


@pytest.mark.parametrize("message", [None, "text", 5, [["v", 1]]])
def test_message_that_is_no_object_is_refused(message: Any) -> None:
    with pytest.raises(MessageError, match="Expected `object`"):
        Notice.from_wire(message)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"\xff", "malformed"),
        (b"", "truncated"),
        (b"[]", "Expected `object`, got `array`"),
        (b"{}", "missing required field `v`"),
    ],
)
def test_result_that_is_no_message_is_refused(text: bytes, words: str) -> None:
    with pytest.raises(MessageError, match=words):
        ChunkResult.from_json(text)


@pytest.mark.parametrize(
    "row",
    [
        [],
        [0],
        [0, None, 0.0, "nonsense", ""],
        [0, None, 1.0],
        "A",
        [0, "A", "1"],
        [0, "A", 1.5],
        [0, "A", 0.5, "dns"],
    ],
)
def test_row_that_is_none_is_refused(row: Any) -> None:
    fields = json.loads(ChunkResult(0, "pi1", Outcome.DONE, "token").to_json())
    with pytest.raises(MessageError):
        ChunkResult.from_json(json.dumps({**fields, "rows": [row]}))


def test_long_detail_is_cut_so_that_a_message_stays_small() -> None:
    row = Row(0, None, reason=Reason.DAMAGED, detail="x" * 10_000)
    result = ChunkResult(0, "pi1", Outcome.DONE, "token", (row,), detail="y" * 10_000)
    read = ChunkResult.from_json(result.to_json())
    assert (len(read.rows[0].detail), len(read.detail)) == (MAX_DETAIL, MAX_DETAIL)

"""Whatever comes over the wire, out of a file or from a person: an answer, or one of our errors."""

from __future__ import annotations

import json
import random
import zlib
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from broker.chunks import Notice
from broker.claims import ChunkTask
from broker.heartbeats import Heartbeat
from broker.results import ChunkResult, Outcome, Row
from contract.errors import ImageError, MessageError, ModelError, UserError
from contract.reasons import Reason
from recognition.card import MAX_INPUT_PIXELS, ModelCard, append_card, read_card
from recognition.charset import Charset
from recognition.model_file import load_model
from tests.broker.test_messages import BEAT, TASK
from tests.support.make_tiny_model import TINY_MODEL
from workers.fetch.fetcher import parse_url

HUGE = 10**400
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.just(HUGE)
    | st.just(2**63)
    | st.floats()
    | st.text(max_size=8)
    | st.just("\ud800")
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)
RESULT = ChunkResult(
    3, "pi1", Outcome.DONE, "token", (Row(0, "AB", 0.5), Row(1, None, reason=Reason.DNS))
)
MESSAGES: dict[str, tuple[Any, dict[str, Any]]] = {
    "chunk": (
        lambda text: ChunkTask.unpack(zlib.compress(text.encode())),
        json.loads(TASK.to_json()),
    ),
    "notice": (lambda text: Notice.from_wire(json.loads(text)), TASK.notice.to_wire()),
    "result": (ChunkResult.from_json, json.loads(RESULT.to_json())),
    "heartbeat": (Heartbeat.from_json, json.loads(BEAT.to_json())),
}
CARD = load_model(str(TINY_MODEL)).card
ROWS = st.lists(VALUES, min_size=1, max_size=4)
quick = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def storable(read: Any) -> bool:
    """Say whether what was read can be told again and kept: UTF-8, SQLite's integers, real numbers.

    Raises whatever SQLite, Redis or the CSV would raise.
    """
    if isinstance(read, ChunkTask):
        read.to_json().decode()
        numbers = [read.delivery, *(item.index for item in read.items)]
        read.notice.task_id().encode()
    else:
        read.to_json().decode()
        rows = read.rows if isinstance(read, ChunkResult) else ()
        numbers = [row.index for row in rows]
        numbers += [read.delivery] if isinstance(read, ChunkResult | Notice) else []
        assert all(0.0 <= row.confidence <= 1.0 for row in rows)
    return all(type(number) is int and abs(number) < 2**63 for number in numbers)


@pytest.mark.parametrize("kind", MESSAGES)
@quick
@given(st.data())
def test_message_with_a_field_of_nonsense_is_read_or_refused(
    kind: str, data: st.DataObject
) -> None:
    parse, good = MESSAGES[kind]
    name = data.draw(st.sampled_from(sorted(good)))
    message = {**good, name: data.draw(VALUES)}
    try:
        assert storable(parse(json.dumps(message)))
    except MessageError:
        return


@quick
@given(VALUES, ROWS)
def test_rows_and_items_of_nonsense_are_read_or_refused(first: Any, rest: list[Any]) -> None:
    for kind, name in (("chunk", "items"), ("result", "rows")):
        parse, good = MESSAGES[kind]
        try:
            assert storable(parse(json.dumps({**good, name: [[first, *rest]]})))
        except MessageError:
            continue


@pytest.mark.parametrize("parse", [ChunkResult.from_json, Heartbeat.from_json, ModelCard.from_json])
@quick
@given(text=st.binary(max_size=50) | VALUES.map(lambda value: json.dumps(value).encode()))
@example(text=b"[" * 200_000)
@example(text=b'{"v":2,"delivery":' + b"9" * 10_000 + b"}")
def test_text_that_is_no_message_is_refused(parse: Any, text: bytes) -> None:
    with pytest.raises((MessageError, ModelError)):
        parse(text.decode(errors="surrogateescape") if parse == ModelCard.from_json else text)


@pytest.mark.parametrize("section", [None, "input", "golden"])
@quick
@given(st.data())
def test_card_with_a_field_of_nonsense_is_read_or_refused(
    section: str | None, data: st.DataObject
) -> None:
    card = json.loads(CARD.to_json())
    part = {None: card, "input": card["input"], "golden": card["golden"][0]}[section]
    part[data.draw(st.sampled_from(sorted(part)))] = data.draw(VALUES)
    try:
        read = ModelCard.from_json(json.dumps(card))
    except ModelError:
        return
    assert ModelCard.from_json(read.to_json()) == read
    assert 0 < read.input.height * read.input.width <= MAX_INPUT_PIXELS
    assert read.charset.mask(None) is None


@quick
@given(st.integers(0, 2**32))
def test_model_file_with_damaged_card_is_read_or_refused(seed: int) -> None:
    rng = random.Random(seed)
    packed = bytearray(append_card(b"flatbuffer", replace(CARD, golden=()), {}))
    for _ in range(rng.randint(1, 6)):
        packed[rng.randrange(len(packed))] = rng.randrange(256)
    try:
        read_card(bytes(packed))
    except ModelError:
        return


@quick
@given(
    st.text(max_size=60)
    | st.text(max_size=40).map(lambda rest: "http://" + rest)
    | st.text(max_size=30).map(lambda rest: f"http://h:80/{rest}?{rest}")
)
@example("http://\ud800/")
@example("http://h/\udcff")
@example("http://[::1%25" + "a" * 5000 + "]/")
@example("http://" + "a." * 5000 + "/")
@example("http://xn--\u0800/")
def test_text_is_a_url_or_refused_with_a_reason(text: str) -> None:
    try:
        parsed = parse_url(text)
    except ImageError:
        return
    assert parsed.scheme in ("http", "https")
    assert parsed.raw_host
    parsed.raw_path_qs.encode("ascii")


@quick
@given(st.text(max_size=12), st.none() | st.text(max_size=12))
def test_symbols_make_an_charset_and_a_mask_or_are_refused(
    symbols: str, allowed: str | None
) -> None:
    try:
        mask = Charset(symbols).mask(allowed)
    except UserError:
        return
    if allowed is None:
        assert mask is None
    else:
        assert mask is not None
        assert mask.sum() == 1 + len(set(allowed))

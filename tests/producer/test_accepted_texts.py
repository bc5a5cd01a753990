"""A job that keeps its texts to a pattern and a lexicon, from the command to the last row."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from broker.automata import automaton_key
from broker.connection import connect
from producer.job.store import Ledger
from tests.conftest import Pifleet, StartWorker
from tests.producer.test_jobs import finished
from tests.support.faulty_origin import FaultyOrigin
from tests.support.stripes import png

pytestmark = [pytest.mark.redis, pytest.mark.timeout(90)]


def test_every_text_is_a_word_that_matches_and_resuming_needs_no_lexicon(
    pifleet: Pifleet,
    start_worker: StartWorker,
    origin: FaultyOrigin,
    tmp_path: Path,
    redis_url: str,
) -> None:
    start_worker()
    drawn = {"a.png": "A1", "b.png": "B8", "c.png": "C3", "d.png": "Zz"}
    urls = [origin.add(f"/{name}", png(text)) for name, text in drawn.items()]
    (tmp_path / "urls.txt").write_text("\n".join(urls))
    (tmp_path / "words.txt").write_text("A1\nB3\nC3\nC33\nxyz\n€\n")
    wanted = ("--pattern", "[A-C][0-9]", "--lexicon", "words.txt")
    columns = ("--columns", "name,text,confidence")

    finished(pifleet("submit", "urls.txt", "-o", "out.csv", *wanted, *columns))

    lines = (tmp_path / "out.csv").read_text().splitlines()
    rows = {name: (text, float(sure)) for name, text, sure in csv.reader(lines)}
    assert (rows["a.png"][0], rows["c.png"][0]) == ("A1", "C3")
    assert {text for text, _ in rows.values()} <= {"A1", "B3", "C3"}
    assert rows["b.png"][1] < 0.5 < rows["a.png"][1], "no word was drawn in it, and that shows"
    with Ledger(tmp_path / "out.ledger", read_only=True) as ledger, connect(redis_url) as client:
        spec = ledger.spec
        assert spec.automaton is not None
        assert client.ttl(automaton_key(spec.automaton)) > 0
    assert (spec.pattern, spec.words is not None) == ("[A-C][0-9]", True)

    (tmp_path / "words.txt").unlink()
    (tmp_path / "out.csv").unlink()
    finished(pifleet("collect", str(tmp_path / "out.csv")))
    assert (tmp_path / "out.csv").is_file()


def test_automaton_that_redis_lost_is_put_there_again(
    pifleet: Pifleet,
    start_worker: StartWorker,
    origin: FaultyOrigin,
    tmp_path: Path,
    redis_url: str,
) -> None:
    (tmp_path / "urls.txt").write_text(origin.add("/a.png", png("A1")))
    wanted = ("--pattern", "A[2-9]", "--detach")
    sent = finished(pifleet("submit", "urls.txt", "-o", "out.csv", *wanted))
    with Ledger(tmp_path / "out.ledger", read_only=True) as ledger, connect(redis_url) as client:
        client.delete(automaton_key(ledger.spec.automaton or ""))
    start_worker()
    finished(pifleet("collect", json.loads(sent)["job"]))
    assert (tmp_path / "out.csv").read_text().startswith("a.png,A")
    assert (tmp_path / "out.csv").read_text() != "a.png,A1\n"

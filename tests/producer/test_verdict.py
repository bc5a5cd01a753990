"""The last line of a job says what went wrong most, and what to do."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from contract.reasons import Reason
from producer.verdict import failure_words, next_step
from tests.conftest import Pifleet, StartWorker
from tests.support.commands import fleet_env, run_pifleet
from tests.support.faulty_origin import Answer, FaultyOrigin
from tests.support.stripes import png


def ended(process: subprocess.Popen[str], code: int) -> tuple[dict[str, object], str]:
    out, error = process.communicate(timeout=60)
    assert process.returncode == code, error
    return json.loads(out), error.splitlines()[-1] if error else ""


def test_commonest_reason_is_named_with_its_number_and_the_next_step() -> None:
    words = failure_words("7f3a9c21", {"forbidden_address": 298, "timeout": 2}, "o.failures.csv")
    assert words == (
        "300 failed, 298 of them with forbidden_address: start workers with PIFLEET_FETCH_ALLOW=lan"
        " or another network, then `pifleet dead replay 7f3a9c21 --reason forbidden_address`; see"
        " o.failures.csv"
    )


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_has_a_next_step(reason: Reason) -> None:
    assert next_step("7f3a9c21", reason)


@pytest.mark.redis
def test_job_of_which_everything_fails_says_why(
    pifleet: Pifleet, start_worker: StartWorker, origin: FaultyOrigin, tmp_path: Path
) -> None:
    start_worker(env={"PIFLEET_FETCH_ALLOW": ""})
    (tmp_path / "urls.txt").write_text("\n".join(f"http://127.0.0.1:9/{n}" for n in range(5)))

    summary, said = ended(pifleet("submit", "urls.txt", "-o", "out.csv"), code=1)

    assert summary["reasons"] == {"forbidden_address": 5}
    assert said.startswith("5 failed, all of them with forbidden_address: start workers with")


@pytest.mark.redis
def test_empty_texts_are_counted_apart(
    pifleet: Pifleet, start_worker: StartWorker, origin: FaultyOrigin, tmp_path: Path
) -> None:
    start_worker()
    urls = [origin.add(f"/{number}.png", png(text)) for number, text in enumerate(("A1", "", ""))]
    (tmp_path / "urls.txt").write_text("\n".join(urls))

    summary, said = ended(pifleet("submit", "urls.txt", "-o", "out.csv"), code=0)

    assert (summary["read"], summary["empty"]) == (3, 2)
    assert said == "2 of 3 texts are empty: the model sees no symbol there"
    assert (tmp_path / "out.csv").read_text() == "0.png,A1\n1.png,\n2.png,\n"


@pytest.mark.redis
def test_job_of_which_every_text_is_empty_is_no_success(
    pifleet: Pifleet, start_worker: StartWorker, origin: FaultyOrigin, tmp_path: Path
) -> None:
    start_worker()
    (tmp_path / "urls.txt").write_text(origin.add("/a.png", png("")))

    summary, said = ended(pifleet("submit", "urls.txt", "-o", "out.csv"), code=1)

    assert (summary["read"], summary["empty"], summary["failed"]) == (1, 1, 0)
    assert said.startswith("every text is empty, 1 of 1: the model sees no symbol")


@pytest.mark.redis
def test_replay_may_change_the_rate(
    pifleet: Pifleet,
    start_worker: StartWorker,
    origin: FaultyOrigin,
    redis_url: str,
    tmp_path: Path,
) -> None:
    start_worker()
    gone = Answer(status=404)
    urls = [origin.add(f"/{number}.png", answer=gone) for number in range(12)]
    (tmp_path / "urls.txt").write_text("\n".join(urls))
    ended(pifleet("submit", "urls.txt", "-o", "out.csv"), code=1)
    limits = ("--rate", "5", "--per-host", "1000", "--attempts", "1")

    done = run_pifleet(
        *("dead", "replay", "out.csv", "--json", *limits),
        folder=tmp_path,
        env=fleet_env(redis_url, tmp_path),
    )

    assert done.returncode == 1, done.stderr
    assert json.loads(done.stdout)["seconds"] >= 11 / 5

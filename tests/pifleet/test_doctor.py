"""The doctor names what is wrong, says what to do, and tells a machine from its broker."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import pytest

from broker.connection import connect
from contract.installing import install_command
from contract.settings import Settings
from pifleet.local import machine_checks
from pifleet.local.broker_checks import SUBJECT, check_clock, check_redis
from pifleet.local.doctor import findings_code
from pifleet.local.machine_checks import Finding, Level, fail, ok, warn


def _by_subject(findings: object) -> dict[str, Finding]:
    return {finding.subject: finding for finding in findings}  # type: ignore[attr-defined]


@pytest.mark.redis
def test_doctor_likes_a_broker_that_evicts_nothing_and_asks_for_a_password(redis_url: str) -> None:
    found = _by_subject(check_redis(redis_url))
    assert found["redis maxmemory-policy"].level is Level.OK
    assert found["redis access"].level is Level.OK
    assert found["clock"].level is Level.OK
    assert "appendonly" in found["redis appendonly"].advice


@pytest.mark.redis
def test_doctor_fails_a_broker_that_evicts(redis_url: str) -> None:
    with connect(redis_url) as redis:
        redis.config_set("maxmemory-policy", "allkeys-lru")
        try:
            found = _by_subject(check_redis(redis_url))
        finally:
            redis.config_set("maxmemory-policy", "noeviction")
    assert found["redis maxmemory-policy"].level is Level.FAIL
    assert "noeviction" in found["redis maxmemory-policy"].advice


@pytest.mark.redis
def test_doctor_sees_a_clock_that_is_wrong(redis_url: str) -> None:
    with connect(redis_url) as redis:
        seconds, _ = redis.time()
        found = check_clock(redis, seconds - 60.0)
    assert found.level is Level.WARN
    assert "behind the broker's" in found.text


@pytest.mark.redis
def test_doctor_command_tells_a_wrong_password_from_a_good_machine(
    redis_url: str, tmp_path: Path
) -> None:
    parts = urlsplit(redis_url)
    wrong = urlunsplit(parts._replace(netloc=f":wrong@127.0.0.1:{parts.port}"))
    done = subprocess.run(
        [sys.executable, "-m", "pifleet", "doctor", "--json", "--redis-url", wrong],
        check=False,
        env={**os.environ, "PIFLEET_CACHE_DIR": str(tmp_path), "PIFLEET_STATE_DIR": str(tmp_path)},
        stdout=subprocess.PIPE,
    )
    findings = {finding["subject"]: finding for finding in json.loads(done.stdout)}
    assert findings["python"]["level"] == "ok"
    assert "check the user and password" in findings["redis url"]["text"]
    assert "wrong" not in findings["redis url"]["text"].replace("WRONGPASS", "")


def test_broker_that_is_away_has_its_own_exit_code() -> None:
    assert findings_code([ok("python", "3.11"), warn("x", "y", "z")]) == 0
    assert findings_code([fail(SUBJECT, "away", "")]) == 3
    assert findings_code([fail(SUBJECT, "away", ""), fail("models", "none", "")]) == 2


@pytest.mark.redis
@pytest.mark.parametrize("url", ["nonsense", "http://127.0.0.1", "wrong password"])
def test_doctor_takes_a_url_that_somebody_has_to_mend_for_a_setting(
    url: str, redis_url: str
) -> None:
    url = f"redis://:wrong@{redis_url.rpartition('@')[2]}" if url == "wrong password" else url
    assert findings_code(list(check_redis(url))) == 2


def test_doctor_names_the_variable_of_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    settings = Settings(cache_dir=blocked / "cache", state_dir=tmp_path / "state")
    cache, state = machine_checks.check_folders(settings)
    assert (cache.level, cache.advice) == (Level.FAIL, "set PIFLEET_CACHE_DIR")
    assert state.level is Level.OK


def test_doctor_says_which_extra_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    needs = ['absent-package>=1; extra == "demo"', "click>=8"]
    monkeypatch.setattr("importlib.metadata.requires", lambda name: needs)
    found = _by_subject(machine_checks.check_extras())
    assert found["extra demo"].text == f"not installed ({install_command('demo')})"


def test_doctor_runs_from_a_checkout_that_is_not_installed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def absent(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr("importlib.metadata.version", absent)
    (finding,) = machine_checks.check_extras()
    assert (finding.level, finding.text) == (Level.WARN, "this checkout is not installed")


def test_doctor_fails_a_model_that_reads_its_golden_images_wrongly(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.tflite"
    broken.write_bytes(b"no model at all")
    monkeypatch.setattr("recognition.model_file.shipped_models", lambda: {"broken": broken})
    (finding,) = machine_checks.check_models()
    assert (finding.subject, finding.level) == ("model broken", Level.FAIL)

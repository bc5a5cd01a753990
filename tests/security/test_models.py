"""Signed models: a worker with trusted keys runs what one of them vouches for, and nothing else."""

from __future__ import annotations

import json
import shutil
import stat
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from broker.connection import connect
from broker.models import model_key, push_model, signature_key
from broker.values import put_value
from contract.errors import ModelError, OutputError, SettingsError, UserError
from contract.installing import install_command
from recognition.model_file import ModelFile, load_model, parse_model
from recognition.signing import load_trusted, make_key, sign_digest, signature_path
from tests.conftest import StartWorker
from tests.support.commands import fleet_env, run_pifleet
from tests.support.faulty_origin import FaultyOrigin
from tests.support.stripes import png
from tests.workers.test_model_store import other_model
from workers.model_store import ModelStore, NoModel, cached_digests


@pytest.fixture
def model(tiny_model: Path) -> ModelFile:
    return load_model(str(tiny_model))


@pytest.fixture
def key(tmp_path: Path) -> Path:
    make_key(tmp_path / "mine.key")
    return tmp_path / "mine.key"


@pytest.fixture
def trusted_key(key: Path) -> Path:
    return key.with_name("mine.key.pub")


def test_private_key_is_for_its_owner_and_never_overwritten(key: Path) -> None:
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    with pytest.raises(OutputError, match="exists"):
        make_key(key)


def test_signature_of_a_trusted_key_is_accepted(model: ModelFile, key: Path) -> None:
    load_trusted(key.with_name("mine.key.pub")).check(model.digest, sign_digest(model.digest, key))


def test_any_key_of_a_folder_may_have_signed(model: ModelFile, tmp_path: Path) -> None:
    for name in ("anna", "ben"):
        make_key(tmp_path / name)
    (tmp_path / "notes.txt").write_text("not a key")
    load_trusted(tmp_path).check(model.digest, sign_digest(model.digest, tmp_path / "ben"))


@pytest.mark.parametrize(
    "signature",
    [None, "", "no base64!", "AAAA", "A" * 86 + "=="],
    ids=["none", "empty", "nonsense", "short", "of nobody"],
)
def test_model_that_nobody_signed_is_refused(
    model: ModelFile, trusted_key: Path, signature: str | None
) -> None:
    with pytest.raises(ModelError):
        load_trusted(trusted_key).check(model.digest, signature)


def test_signature_of_another_model_or_by_another_key_is_refused(
    model: ModelFile, key: Path, trusted_key: Path, tmp_path: Path
) -> None:
    make_key(tmp_path / "stranger")
    for signature in (sign_digest("0" * 64, key), sign_digest(model.digest, tmp_path / "stranger")):
        with pytest.raises(ModelError, match="nobody whom we trust"):
            load_trusted(trusted_key).check(model.digest, signature)


@pytest.mark.parametrize("text", ["", "nonsense", "-----BEGIN PUBLIC KEY-----\nAAAA\n"])
def test_trusted_key_that_is_none_is_told_by_the_variable(tmp_path: Path, text: str) -> None:
    (tmp_path / "bad.pub").write_text(text)
    with pytest.raises(SettingsError, match="PIFLEET_TRUSTED_KEYS"):
        load_trusted(tmp_path)


def test_folder_without_keys_trusts_nobody_and_says_so(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="a folder with public keys"):
        load_trusted(tmp_path)


def test_public_key_cannot_sign(model: ModelFile, trusted_key: Path) -> None:
    with pytest.raises(UserError, match="no private key"):
        sign_digest(model.digest, trusted_key)


@pytest.mark.redis
def test_worker_refuses_before_it_looks_into_the_model(
    redis_url: str, tmp_path: Path, trusted_key: Path
) -> None:
    bomb = b"no network at all, and no card"
    digest = parse_digest(bomb)
    with connect(redis_url) as redis:
        push_model(redis, digest, bomb, None)
        store = ModelStore(tmp_path, redis, trusted=load_trusted(trusted_key))
        with pytest.raises(ModelError, match="is not signed"):
            store.recogniser(digest)
    assert cached_digests(tmp_path) == ()


@pytest.mark.redis
def test_worker_reads_with_a_signed_model_from_redis_and_from_its_cache(
    redis_url: str, tmp_path: Path, model: ModelFile, key: Path, trusted_key: Path
) -> None:
    trusted = load_trusted(trusted_key)
    with connect(redis_url) as redis:
        push_model(redis, model.digest, model.data, sign_digest(model.digest, key))
        assert ModelStore(tmp_path, redis, trusted=trusted).recogniser(model.digest)
        redis.delete(model_key(model.digest))
        assert ModelStore(tmp_path, redis, trusted=trusted).recogniser(model.digest)


@pytest.mark.redis
def test_altered_model_is_refused_whatever_its_signature(
    redis_url: str, tmp_path: Path, model: ModelFile, key: Path, trusted_key: Path
) -> None:
    altered = other_model(model, "altered")
    signature = sign_digest(model.digest, key)
    with connect(redis_url) as redis:
        put_value(redis, model_key(model.digest), altered.data, ttl_s=60)
        put_value(redis, signature_key(model.digest), signature, ttl_s=60)
        push_model(redis, altered.digest, altered.data, signature)
        store = ModelStore(tmp_path, redis, trusted=load_trusted(trusted_key))
        with pytest.raises(NoModel, match="another one"):
            store.recogniser(model.digest)
        with pytest.raises(ModelError, match="nobody whom we trust"):
            store.recogniser(altered.digest)


@pytest.mark.redis
def test_cached_model_from_before_the_keys_is_not_trusted(
    redis_url: str, tmp_path: Path, model: ModelFile, trusted_key: Path
) -> None:
    with connect(redis_url) as redis:
        push_model(redis, model.digest, model.data, None)
        assert ModelStore(tmp_path, redis).recogniser(model.digest)
        with pytest.raises(ModelError, match="is not signed"):
            ModelStore(tmp_path, redis, trusted=load_trusted(trusted_key)).recogniser(model.digest)


@pytest.mark.redis
def test_signature_that_redis_lost_is_asked_for_again(
    redis_url: str, tmp_path: Path, model: ModelFile, key: Path, trusted_key: Path
) -> None:
    trusted = load_trusted(trusted_key)
    with connect(redis_url) as redis:
        push_model(redis, model.digest, model.data, sign_digest(model.digest, key))
        ModelStore(tmp_path, redis, trusted=trusted).recogniser(model.digest)
        redis.flushall()
        with pytest.raises(NoModel):
            ModelStore(tmp_path, redis, trusted=trusted).recogniser(model.digest)


@pytest.mark.redis
def test_job_with_a_model_is_refused_until_it_is_signed(
    redis_url: str,
    start_worker: StartWorker,
    origin: FaultyOrigin,
    tmp_path: Path,
    tiny_model: Path,
    key: Path,
    trusted_key: Path,
) -> None:
    mine = tmp_path / "mine.tflite"
    shutil.copy(tiny_model, mine)
    start_worker(env={"PIFLEET_TRUSTED_KEYS": str(trusted_key)})
    urls = [origin.add(f"/{number}.png", png("A1")) for number in range(40)]
    (tmp_path / "urls.txt").write_text("\n".join(urls))
    run = partial(run_pifleet, folder=tmp_path, env=fleet_env(redis_url, tmp_path))
    submit = ("submit", "urls.txt", "-o", "out.csv", "--model", "mine.tflite", "--json")
    refused = run(*submit)
    assert refused.returncode == 2
    assert "is not signed: sign it with `pifleet models sign`" in refused.stderr
    assert not (tmp_path / "out.csv").exists()

    signed = run("models", "sign", "mine.tflite", "--key", str(key))
    assert signed.stdout == f"{signature_path(mine)}\n".replace(f"{tmp_path}/", "")
    accepted = run(*submit)
    assert accepted.returncode == 0, accepted.stderr
    assert json.loads(accepted.stdout)["read"] == 40


@pytest.mark.redis
def test_worker_with_unusable_keys_does_not_start(redis_url: str, tmp_path: Path) -> None:
    (tmp_path / "keys").mkdir()
    env = {**fleet_env(redis_url, tmp_path), "PIFLEET_TRUSTED_KEYS": str(tmp_path / "keys")}
    done = run_pifleet("worker", folder=tmp_path, env=env)
    assert done.returncode == 2
    assert "PIFLEET_TRUSTED_KEYS" in done.stderr.splitlines()[-1]


def test_signing_without_the_library_says_what_to_install() -> None:
    program = (
        "import sys; sys.modules['cryptography'] = None; from pifleet.cli import main;"
        "sys.argv = ['pifleet', 'models', 'keygen', '/dev/null/key']; main()"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 2
    assert install_command("security") in done.stderr


def test_reading_without_trusted_keys_needs_no_such_library(tiny_model: Path) -> None:
    program = (
        "import sys; sys.modules['cryptography'] = None; import workers.process;"
        f"from recognition.model_file import load_model; load_model({str(tiny_model)!r})"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def parse_digest(data: bytes) -> str:
    """Name bytes that are no model."""
    with pytest.raises(ModelError):
        parse_model(data)
    from recognition.model_file import digest_of

    return digest_of(data)

"""Models by digest: memory, disk, Redis."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from broker.connection import connect
from broker.models import model_key
from broker.values import put_value
from contract.errors import ModelError
from recognition.card import Golden, append_card
from recognition.model_file import ModelFile, load_model, parse_model
from tests.support.stripes import png
from workers.model_store import IN_MEMORY, ModelStore, NoModel, cached_digests, write_cached


@pytest.fixture
def model(tiny_model: Path) -> ModelFile:
    return load_model(str(tiny_model))


def plain(model: ModelFile) -> bytes:
    """Cut out the flatbuffer without the card; the zip begins with its first local header."""
    return model.data[: model.data.index(b"PK\x03\x04")]


def other_model(model: ModelFile, name: str, *, golden: str | None = None) -> ModelFile:
    """Put the same network under another card, and so another digest."""
    card = replace(model.card, name=name, golden=())
    files = {}
    if golden is not None:
        card = replace(card, golden=(Golden("0.png", golden),))
        files = {"0.png": png("AB")}
    return parse_model(append_card(plain(model), card, files))


def test_model_is_fetched_once_and_kept(redis_url: str, tmp_path: Path, model: ModelFile) -> None:
    with connect(redis_url) as redis:
        put_value(redis, model_key(model.digest), model.data, ttl_s=60)
        store = ModelStore(tmp_path, redis)
        first = store.recogniser(model.digest)
        redis.delete(model_key(model.digest))
        assert store.recogniser(model.digest) is first
        assert cached_digests(tmp_path) == (model.digest,)
        again = ModelStore(tmp_path, redis).recogniser(model.digest)
    assert again.card.name == "tiny"


def test_model_that_nobody_has_is_named(redis_url: str, tmp_path: Path, model: ModelFile) -> None:
    with connect(redis_url) as redis, pytest.raises(NoModel, match=model.digest[:12]):
        ModelStore(tmp_path, redis).recogniser(model.digest)


def test_another_model_under_the_digest_is_not_taken_and_asked_for_anew(
    redis_url: str, tmp_path: Path, model: ModelFile
) -> None:
    with connect(redis_url) as redis:
        put_value(redis, model_key(model.digest), other_model(model, "impostor").data, ttl_s=60)
        with pytest.raises(NoModel, match="another one"):
            ModelStore(tmp_path, redis).recogniser(model.digest)
    assert cached_digests(tmp_path) == ()


def test_model_that_reads_its_golden_images_otherwise_is_refused(
    redis_url: str, tmp_path: Path, model: ModelFile
) -> None:
    wrong = other_model(model, "wrong", golden="CD")
    with connect(redis_url) as redis:
        put_value(redis, model_key(wrong.digest), wrong.data, ttl_s=60)
        with pytest.raises(ModelError, match="reads 'AB'"):
            ModelStore(tmp_path, redis).recogniser(wrong.digest)
    assert cached_digests(tmp_path) == ()


def test_damaged_cache_is_thrown_away_and_filled_anew(
    redis_url: str, tmp_path: Path, model: ModelFile
) -> None:
    cached = tmp_path / "models" / f"{model.digest}.tflite"
    cached.parent.mkdir()
    cached.write_bytes(model.data[:-100])
    with connect(redis_url) as redis:
        put_value(redis, model_key(model.digest), model.data, ttl_s=60)
        store = ModelStore(tmp_path, redis)
        assert store.recogniser(model.digest).card.name == "tiny"
    assert cached.read_bytes() == model.data


def test_unwritable_cache_costs_only_the_cache(
    redis_url: str, tmp_path: Path, model: ModelFile
) -> None:
    in_the_way = tmp_path / "file"
    in_the_way.write_text("no folder")
    with connect(redis_url) as redis:
        put_value(redis, model_key(model.digest), model.data, ttl_s=60)
        assert ModelStore(in_the_way, redis).recogniser(model.digest).card.name == "tiny"


def test_nothing_is_left_beside_a_cached_model(tmp_path: Path, model: ModelFile) -> None:
    write_cached(tmp_path, model.digest, model.data)
    assert [path.name for path in tmp_path.iterdir()] == [f"{model.digest}.tflite"]


def test_memory_holds_a_few_models(redis_url: str, tmp_path: Path, model: ModelFile) -> None:
    models = [other_model(model, f"m{number}") for number in range(IN_MEMORY + 1)]
    with connect(redis_url) as redis:
        for one in models:
            put_value(redis, model_key(one.digest), one.data, ttl_s=60)
        store = ModelStore(tmp_path, redis)
        first = store.recogniser(models[0].digest)
        for one in models[1:]:
            store.recogniser(one.digest)
        assert store.recogniser(models[-1].digest) is store.recogniser(models[-1].digest)
        assert store.recogniser(models[0].digest) is not first


@pytest.mark.parametrize("digest", ["", "../../etc/passwd", "A" * 64, "0" * 63, "/" + "0" * 63])
def test_what_is_no_digest_never_becomes_a_path(
    redis_url: str, tmp_path: Path, digest: str
) -> None:
    with connect(redis_url) as redis, pytest.raises(ModelError, match="no SHA-256"):
        ModelStore(tmp_path, redis).recogniser(digest)

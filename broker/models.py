"""Models in Redis: the producer puts a file there once, under its digest; a worker takes it."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from broker.keys import Rights, key

if TYPE_CHECKING:
    from redis import Redis

MODEL_TTL_S = 7 * 24 * 3600  # a model nobody asks for any more leaves Redis after a week
_KEYS = (key("model", "*"), key("signature", "*"))
RIGHTS = {
    "producer": Rights(_KEYS, ("set", "expire")),
    "worker": Rights(_KEYS, ("get", "exists")),
}


def model_key(digest: str) -> str:
    """Name the key that holds a model's bytes."""
    return key("model", digest)


def signature_key(digest: str) -> str:
    """Name the key that holds the signature of a model, where it has one."""
    return key("signature", digest)


def push_model(client: Redis, digest: str, data: bytes, signature: str | None) -> None:
    """Put a model where workers find it, for as long as jobs ask for it.

    Its signature comes first: a worker that finds the model without one refuses it.
    """
    if signature is not None:
        client.set(signature_key(digest), signature, ex=MODEL_TTL_S)
    if not client.expire(model_key(digest), MODEL_TTL_S):
        client.set(model_key(digest), data, ex=MODEL_TTL_S)


def fetch_model(client: Redis, digest: str) -> bytes | None:
    """Fetch a model's bytes, unchecked; None where Redis does not hold them."""
    return cast(bytes | None, client.get(model_key(digest)))


def has_model(client: Redis, digest: str) -> bool:
    """Tell whether Redis holds a model."""
    return bool(client.exists(model_key(digest)))


def fetch_signature(client: Redis, digest: str) -> str | None:
    """Fetch the signature of a model; None where it has none."""
    signature = cast(bytes | None, client.get(signature_key(digest)))
    return None if signature is None else signature.decode(errors="replace")

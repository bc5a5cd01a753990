"""Models in Redis: the producer puts a file there once, under its digest; a worker takes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from broker.keys import Rights, key
from broker.values import PUT, READ, put_value, read_value

if TYPE_CHECKING:
    from redis import Redis

MODEL_TTL_S = 7 * 24 * 3600  # a model nobody asks for any more leaves Redis after a week
_KEYS = (key("model", "*"), key("signature", "*"))
RIGHTS = {
    "producer": Rights(_KEYS, PUT),
    "worker": Rights(_KEYS, (*READ, "exists")),
}


def model_key(digest: str) -> str:
    """Name the key that holds a model's bytes."""
    return key("model", digest)


def signature_key(digest: str) -> str:
    """Name the key that holds the signature of a model, where it has one."""
    return key("signature", digest)


def push_model(client: Redis, digest: str, data: bytes, signature: str | None) -> None:
    """Put a model where workers find it, for as long as jobs ask for it; in place of a damaged one.

    Its signature comes first: a worker that finds the model without one refuses it.
    """
    if signature is not None:
        put_value(client, signature_key(digest), signature, ttl_s=MODEL_TTL_S)
    put_value(client, model_key(digest), data, ttl_s=MODEL_TTL_S)


def fetch_model(client: Redis, digest: str) -> bytes | None:
    """Fetch a model's bytes, unchecked; None where Redis does not hold them."""
    return read_value(client, model_key(digest))


def has_model(client: Redis, digest: str) -> bool:
    """Tell whether Redis holds a model."""
    return bool(client.exists(model_key(digest)))


def fetch_signature(client: Redis, digest: str) -> str | None:
    """Fetch the signature of a model; None where it has none."""
    signature = read_value(client, signature_key(digest))
    return None if signature is None else signature.decode(errors="replace")

"""Values that a producer puts into Redis for workers to read: models, automata, a word to one.

An ACL of Redis 6.2 cannot tell which of its keys a user may only read. So a worker has no command
that reads a string: with GET it could read a chunk that another will claim, and its token. What it
is to read stands in a hash of one field. Workers may write hashes, so the size of what stands there
is asked before it is read, its digest after, and its producer puts it there anew.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from contract.errors import ModelError

if TYPE_CHECKING:
    from redis import Redis

FIELD = "value"
MAX_VALUE_BYTES = 64 * 1024 * 1024  # three million words, packed; the shipped models come to 1 MB
PUT = ("del", "hsetnx", "expire", "multi", "exec")  # the commands that it takes
READ = ("hget", "hstrlen")


def put_value(client: Redis, name: str, value: bytes | str, *, ttl_s: int) -> None:
    """Put a value under a key for a while, whatever stands there.

    Raises:
        ModelError: it is larger than any that is read.
    """
    if len(value) > MAX_VALUE_BYTES:
        raise ModelError(f"{name} has {len(value)} bytes, at most {MAX_VALUE_BYTES} are read")
    with client.pipeline(transaction=True) as pipeline:
        pipeline.delete(name)
        pipeline.hsetnx(name, FIELD, value)
        pipeline.expire(name, ttl_s)
        pipeline.execute()


def read_value(client: Redis, name: str) -> bytes | None:
    """Read what stands under a key; None where nothing does that a producer would put there.

    Raises:
        ResponseError: the key is of another type.
    """
    if client.hstrlen(name, FIELD) > MAX_VALUE_BYTES:
        return None
    return cast(bytes | None, client.hget(name, FIELD))

"""Automata in Redis: which texts a job accepts, under their digest, where it is not any text.

They are what a lexicon or a pattern comes to (``recognition.automaton``): a lexicon of a million
words has seven megabytes, so a chunk carries the digest, and a worker fetches what it lacks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from broker.keys import Rights, key
from broker.values import PUT, READ, put_value, read_value

if TYPE_CHECKING:
    from redis import Redis

AUTOMATON_TTL_S = 7 * 24 * 3600  # as a model's: one that nobody asks for any more leaves Redis
RIGHTS = {
    "producer": Rights((key("automaton", "*"),), PUT),
    "worker": Rights((key("automaton", "*"),), READ),
}


def automaton_key(digest: str) -> str:
    """Name the key that holds an automaton, packed."""
    return key("automaton", digest)


def push_automaton(client: Redis, digest: str, packed: bytes) -> None:
    """Put an automaton where workers find it; in place of one that is damaged, too."""
    put_value(client, automaton_key(digest), packed, ttl_s=AUTOMATON_TTL_S)


def fetch_automaton(client: Redis, digest: str) -> bytes | None:
    """Fetch a packed automaton, unchecked; None where Redis does not hold it."""
    return read_value(client, automaton_key(digest))

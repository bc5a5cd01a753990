"""Automata by digest: from memory, from a file that all processes map, or from Redis."""

from __future__ import annotations

import logging
import mmap
import os
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING

from broker.automata import fetch_automaton
from contract.errors import ModelError
from contract.files import atomic_write
from recognition.automaton import Automaton, digest_of, unpack
from workers.model_store import NoModel, check_digest

if TYPE_CHECKING:
    from redis import Redis

log = logging.getLogger(__name__)

IN_MEMORY = 3  # mapped, so that a lexicon's 70 MB are in memory once for all processes
ON_DISK = 4  # the last used; a card of a Pi is small


class AutomatonStore:
    """The automata of one process."""

    def __init__(self, cache_dir: Path, redis: Redis) -> None:
        """Begin with none in memory.

        Args:
            cache_dir: on disk.
            redis: where automata come from.
        """
        self._folder = cache_dir.expanduser() / "automata"
        self._redis = redis
        self._ready: OrderedDict[str, Automaton] = OrderedDict()

    def automaton(self, digest: str) -> Automaton:
        """Return an automaton that is ready to search with.

        Raises:
            NoModel: neither the cache nor Redis holds it whole.
            ModelError: it is of another version than this program's.
            RedisError: Redis does not answer.
        """
        if digest not in self._ready:
            self._ready[digest] = self._load(digest)
            if len(self._ready) > IN_MEMORY:
                self._ready.popitem(last=False)
        self._ready.move_to_end(digest)
        return self._ready[digest]

    def _load(self, digest: str) -> Automaton:
        check_digest(digest)  # what is no digest must never become a path
        path = self._folder / f"{digest}.automaton"
        mapped = _map(path, digest)
        if mapped is not None:
            return Automaton.from_buffer(mapped)
        data = self._fetch(digest)
        log.info("automaton-fetched digest=%s bytes=%d", digest[:12], len(data))
        self._write(path, data)
        return Automaton.from_buffer(_map(path, digest) or data)

    def _fetch(self, digest: str) -> bytes:
        """Fetch one whole; its producer puts one that is damaged there anew."""
        packed = fetch_automaton(self._redis, digest)
        if packed is None:
            raise NoModel(f"Redis holds no automaton {digest[:12]}")
        try:
            data = unpack(packed)
        except ModelError as error:
            raise NoModel(f"under {digest[:12]}: {error}") from error
        if digest_of(data) != digest:
            raise NoModel(f"the automaton under {digest[:12]} in Redis is another one")
        return data

    def _write(self, path: Path, data: bytes) -> None:
        """Keep it, and the last few others; a full or read-only disk costs the cache alone."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with atomic_write(path) as file:
                file.write(data)
            files = sorted(self._folder.glob("*.automaton"), key=lambda one: one.stat().st_mtime)
            for old in files[:-ON_DISK]:
                old.unlink(missing_ok=True)
        except OSError as error:
            log.warning("cache-unwritable folder=%s error=%s", self._folder, error)


def _map(path: Path, digest: str) -> memoryview | None:
    """Map a cached file into memory; one that is damaged is removed and counts as missing."""
    try:
        with path.open("rb") as file:
            mapped = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        if digest_of(mapped) == digest:
            os.utime(path)  # used now
            return mapped
        log.warning("cache-damaged path=%s action=removed", path)
        path.unlink(missing_ok=True)
    except (OSError, ValueError):  # not there, or empty
        return None
    return None

"""Models by digest: from memory, from the disk cache, or from Redis, checked at each step."""

from __future__ import annotations

import logging
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING

from broker.models import fetch_model, fetch_signature, has_model
from contract.errors import FleetError, ModelError
from contract.files import atomic_write
from contract.settings import Settings
from recognition.model_file import digest_of
from recognition.recogniser import Recogniser, verify_golden
from recognition.signing import TrustedKeys, load_trusted

if TYPE_CHECKING:
    from redis import Redis

log = logging.getLogger(__name__)

IN_MEMORY = 3  # jobs of several models may share a fleet; each costs a process a few MB
DIGEST_LENGTH = 64


class NoModel(FleetError):
    """Redis does not hold the model, or another under its name: its producer must put it there."""


class ModelStore:
    """The models of one process."""

    def __init__(
        self, cache_dir: Path, redis: Redis, *, trusted: TrustedKeys | None = None
    ) -> None:
        """Begin with no model in memory.

        Args:
            cache_dir: on disk.
            redis: where models come from.
            trusted: whoever may sign models; None asks for no signature.
        """
        self._trusted = trusted
        self._folder = models_folder(cache_dir)
        self._redis = redis
        self._ready: OrderedDict[str, Recogniser] = OrderedDict()

    def recogniser(self, digest: str) -> Recogniser:
        """Return a model that is ready to read.

        Raises:
            NoModel: neither the cache nor Redis holds it whole.
            ModelError: it is not signed by anybody trusted, or this machine reads its
                golden images otherwise.
            RedisError: Redis does not answer.
        """
        if digest not in self._ready:
            self._ready[digest] = self._load(digest)
            if len(self._ready) > IN_MEMORY:
                self._ready.popitem(last=False)
        self._ready.move_to_end(digest)
        return self._ready[digest]

    def _load(self, digest: str) -> Recogniser:
        data = read_cached(self._folder, digest)
        if data is not None:
            self._check_signature(digest)
            return Recogniser(data)
        data = self._fetch(digest)
        self._check_signature(digest)  # before any runtime looks into a stranger's network
        images = verify_golden(data)
        log.info("model-fetched digest=%s bytes=%d golden=%d", digest[:12], len(data), images)
        write_cached(self._folder, digest, data)
        return Recogniser(data)

    def _check_signature(self, digest: str) -> None:
        """Ask Redis each time a process loads the model: a key may be trusted no longer."""
        if self._trusted is None:
            return
        signature = fetch_signature(self._redis, digest)
        if signature is None and not has_model(self._redis, digest):
            raise NoModel(f"Redis holds neither model {digest[:12]} nor its signature")
        self._trusted.check(digest, signature)

    def _fetch(self, digest: str) -> bytes:
        data = fetch_model(self._redis, digest)
        if data is None:
            raise NoModel(f"Redis holds no model {digest[:12]}")
        if digest_of(data) != digest:
            raise NoModel(f"the model under {digest[:12]} in Redis is another one")
        return data


def trusted(settings: Settings) -> TrustedKeys | None:
    """Load the keys of those who may sign models, where a worker asks for signatures.

    Raises:
        SettingsError: there is none, or one that is none.
    """
    return None if settings.trusted_keys is None else load_trusted(settings.trusted_keys)


def models_folder(cache_dir: Path) -> Path:
    """Name the folder that models are cached in."""
    return cache_dir.expanduser() / "models"


def cached_digests(cache_dir: Path) -> tuple[str, ...]:
    """List what lies in the cache, unchecked, in order."""
    return tuple(sorted(path.stem for path in models_folder(cache_dir).glob("*.tflite")))


def read_cached(folder: Path, digest: str) -> bytes | None:
    """Read a cached model; one that is damaged is removed and counts as missing.

    A power cut of a Pi is enough to damage a file.
    """
    path = _path(folder, digest)
    try:
        data = path.read_bytes()
    except OSError:
        return None
    if digest_of(data) == digest:
        return data
    log.warning("cache-damaged path=%s action=removed", path)
    path.unlink(missing_ok=True)
    return None


def write_cached(folder: Path, digest: str, data: bytes) -> None:
    """Keep a model; a full or read-only disk costs the cache and not the chunk."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with atomic_write(_path(folder, digest)) as file:
            file.write(data)
    except OSError as error:
        log.warning("cache-unwritable folder=%s error=%s", folder, error)


def check_digest(digest: str) -> None:
    """Refuse what is no digest: it must never become a path.

    Raises:
        ModelError: it is none.
    """
    if len(digest) != DIGEST_LENGTH or set(digest) - set("0123456789abcdef"):
        raise ModelError(f"{digest!r:.80} is no SHA-256 in lower-case hex")


def _path(folder: Path, digest: str) -> Path:
    check_digest(digest)
    return folder / f"{digest}.tflite"

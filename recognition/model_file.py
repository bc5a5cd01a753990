"""Find a model by a shipped name or a path, and name it by its digest."""

from __future__ import annotations

import hashlib
import importlib.resources
from dataclasses import dataclass, replace
from pathlib import Path

from contract.errors import ModelError
from recognition.card import ModelCard, read_card
from recognition.signing import read_signature


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A model as it lies on disk or in Redis."""

    digest: str
    """SHA-256 of the whole file, card included, in lower-case hex."""
    data: bytes
    card: ModelCard
    signature: str | None = None
    """Of whoever vouches for it; it lies beside the file, see ``recognition.signing``."""


def load_model(name_or_path: str) -> ModelFile:
    """Load a shipped model by name, or any ``.tflite`` file by path.

    Raises:
        ModelError: there is none, it carries no card, or its signature cannot be read.
    """
    path = find_model(name_or_path)
    try:
        model = parse_model(path.read_bytes())
    except OSError as error:
        raise ModelError(f"model {path} cannot be read: {error.strerror}") from error
    return replace(model, signature=read_signature(path))


def parse_model(data: bytes) -> ModelFile:
    """Take a model file's bytes apart.

    Raises:
        ModelError: it carries no card.
    """
    return ModelFile(digest=digest_of(data), data=data, card=read_card(data))


def digest_of(data: bytes) -> str:
    """Compute the SHA-256 by which a model travels."""
    return hashlib.sha256(data).hexdigest()


def find_model(name_or_path: str) -> Path:
    """Find a model file by the name of a shipped one, or by its path.

    Raises:
        ModelError: neither exists; names the shipped ones.
    """
    shipped = shipped_models()
    if name_or_path in shipped:
        return shipped[name_or_path]
    path = Path(name_or_path)
    if path.is_file():
        return path
    known = ", ".join(sorted(shipped)) or "none"
    raise ModelError(
        f"no model {name_or_path!r}: give a shipped one ({known}) or the path of a .tflite file"
    )


def shipped_models() -> dict[str, Path]:
    """Map the names of the shipped models to their files, from a checkout or a wheel alike."""
    folder = Path(str(importlib.resources.files("models")))
    return {path.stem: path for path in sorted(folder.glob("*.tflite"))}

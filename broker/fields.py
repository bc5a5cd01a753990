"""Read typed fields out of JSON that came over the wire."""

from __future__ import annotations

import json
import math
from typing import Any, TypeVar

from contract.errors import MessageError

T = TypeVar("T")

INTEGERS = range(-(2**63), 2**63)  # what SQLite and Redis keep; JSON has no bounds


def parse_object(text: bytes | str, what: str) -> dict[str, Any]:
    """Parse a JSON object.

    Raises:
        MessageError: it is no JSON, or no object.
    """
    try:
        parsed = json.loads(text)
    except (ValueError, RecursionError) as error:  # a hundred thousand brackets, say
        raise MessageError(f"{what} is no JSON: {error}") from error
    if not isinstance(parsed, dict):
        raise MessageError(f"{what} is a JSON {type(parsed).__name__}, not an object")
    return parsed


def need(fields: dict[str, Any], name: str, kind: type[T]) -> T:
    """Give a field that must be there, of a type that it must have.

    An int is taken where a float is asked for, a bool never for a number. What could not be
    stored or told again is refused: NaN, infinity, integers over 64 bits, half a character.

    Raises:
        MessageError: it is missing, or of another type.
    """
    if name not in fields:
        raise MessageError(f"field {name!r} is missing")
    value = fields[name]
    if kind is float and type(value) is int and value in INTEGERS:
        value = float(value)
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise MessageError(f"field {name!r} is {type(value).__name__}, not {kind.__name__}")
    if not is_plain(value):
        raise MessageError(f"field {name!r} is {value!r:.80}, which cannot be stored")
    return value


def is_plain(value: object) -> bool:
    """Say whether a number or a text can be stored and told again."""
    if isinstance(value, int):
        return value in INTEGERS
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, str):
        return value.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in value)
    return True


def is_index(value: int) -> bool:
    """Say whether a number may be an image's index."""
    return type(value) is int and value >= 0 and value in INTEGERS


def need_or_none(fields: dict[str, Any], name: str, kind: type[T]) -> T | None:
    """Give a field that may be absent or null."""
    return None if fields.get(name) is None else need(fields, name, kind)


def need_version(fields: dict[str, Any], known: int, what: str) -> None:
    """Refuse a version that we do not know.

    Raises:
        MessageError: names both versions.
    """
    version = need(fields, "v", int)
    if version != known:
        raise MessageError(f"{what} is of version {version}, this program knows {known}")

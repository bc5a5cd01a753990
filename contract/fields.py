"""Read typed fields out of JSON that came over the wire."""

from __future__ import annotations

import json
from typing import Any, TypeVar

from contract.errors import MessageError

T = TypeVar("T")


def parse_object(text: bytes | str, what: str) -> dict[str, Any]:
    """Parse a JSON object.

    Raises:
        MessageError: it is no JSON, or no object.
    """
    try:
        parsed = json.loads(text)
    except ValueError as error:
        raise MessageError(f"{what} is no JSON: {error}") from error
    if not isinstance(parsed, dict):
        raise MessageError(f"{what} is a JSON {type(parsed).__name__}, not an object")
    return parsed


def need(fields: dict[str, Any], name: str, kind: type[T]) -> T:
    """Give a field that must be there, of a type that it must have.

    An int is taken where a float is asked for, a bool never for a number.

    Raises:
        MessageError: it is missing, or of another type.
    """
    if name not in fields:
        raise MessageError(f"field {name!r} is missing")
    value = fields[name]
    if kind is float and type(value) is int:
        value = float(value)
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise MessageError(f"field {name!r} is {type(value).__name__}, not {kind.__name__}")
    return value


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

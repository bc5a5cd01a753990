"""The description of a training run: one YAML file, frozen dataclasses, no unknown keys."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

import msgspec
import yaml

from contract.errors import SettingsError, UserError

Described = TypeVar("Described")

ACCEPTED: dict[Any, str] = {  # what a field takes, in words
    str: "a text",
    int: "a whole number",
    float: "a number",
    tuple[int, ...]: "a list of whole numbers",
    dict[str, float]: "a mapping of names to numbers",
}


def read_mapping(path: Path) -> dict[str, Any]:
    """Read a run's YAML.

    Raises:
        UserError: the file cannot be read, or is no YAML mapping.
    """
    try:
        mapping = yaml.safe_load(path.read_text("utf-8")) or {}
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())  # YAML's own message runs over many lines
        raise UserError(f"{path} is no YAML: {reason}") from error
    if not isinstance(mapping, dict):
        raise UserError(f"{path} is no mapping of keys to values")
    return mapping


def merged(mapping: dict[str, Any], changed: Mapping[str, Any]) -> dict[str, Any]:
    """Put values in place of those of a run's YAML, inside its sections too."""
    both = dict(mapping)
    for key, value in changed.items():
        section = both.get(key)
        if isinstance(section, dict) and isinstance(value, dict):
            value = {**section, **value}
        both[key] = value
    return both


def build_config(kind: type[Described], mapping: object, *, where: str = "") -> Described:
    """Build a run's description, or a section of it, from its mapping.

    Args:
        kind: a dataclass whose fields are of the types in ``ACCEPTED``, literals or dataclasses.
        mapping: keys to values, as YAML gives them.
        where: the path of the section, each name with a dot after it.

    Raises:
        SettingsError: a key is unknown, or a value of the wrong kind.
    """
    hints = get_type_hints(kind)
    if not isinstance(mapping, dict):
        raise SettingsError(
            where.rstrip(".") or "the file", mapping, "a mapping of " + ", ".join(hints)
        )
    for key in mapping:
        if key not in hints:
            raise SettingsError(f"{where}{key}", mapping[key], "one of " + str([*hints]))
    return kind(**{key: _value(hints[key], mapping[key], where=where + key) for key in mapping})


def load_config(kind: type[Described], path: Path) -> Described:
    """Read a run's description from its file; errors as of the two above."""
    return build_config(kind, read_mapping(path))


def dump_config(config: Any) -> str:
    """Write a run's description as it is read."""
    return yaml.safe_dump(_with_lists(asdict(config)), sort_keys=False, allow_unicode=True)


def _value(hint: Any, value: object, *, where: str) -> object:
    """Take a YAML value as a field's type, or refuse it; an integer may stand for a float."""
    if is_dataclass(hint) and isinstance(hint, type):
        return build_config(hint, value, where=where + ".")
    numbers = value.values() if isinstance(value, dict) else [value]
    if any(isinstance(number, float) and not math.isfinite(number) for number in numbers):
        raise SettingsError(where, value, "a finite number")  # .nan and .inf are YAML's
    try:
        return msgspec.convert(value, hint)
    except msgspec.ValidationError as error:
        words = ", ".join(get_args(hint)) if get_origin(hint) is Literal else None
        raise SettingsError(where, value, f"one of {words}" if words else ACCEPTED[hint]) from error


def _with_lists(plain: Any) -> Any:
    """Write tuples as YAML knows sequences."""
    if isinstance(plain, dict):
        return {key: _with_lists(value) for key, value in plain.items()}
    return list(plain) if isinstance(plain, tuple) else plain

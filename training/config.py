"""The description of a training run: one YAML file, frozen dataclasses, no unknown keys."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, is_dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

import yaml

from contract.errors import SettingsError, UserError

Settings = TypeVar("Settings")


@dataclass(frozen=True, slots=True)
class ScheduleConfig:
    """How long, and how fast, it learns.

    Attributes:
        epochs: passes over the images, at most.
        budget_minutes: of training; the schedule then runs by the clock where that is ahead of the
            steps, so that it always comes to its end. 0: no limit.
        batch: images a step.
        learning_rate: at its highest.
        learning_rate_warmup: share of the run in which it rises.
        weight_decay: of AdamW, decoupled.
        average_momentum: a step, of the averaged weights that are measured and exported.
        precision: Keras's policy. mixed_bfloat16 is 1.24 times as fast as float32 on a CPU with
            avx512_bf16 (677 against 545 images/s, two cores of Zen 5, TensorFlow 2.21).
        checkpoint_steps: steps between two states on disk.
        stop_step: end here, short of the schedule's end, for another configuration to resume from.
            0: at the schedule's end.
    """

    epochs: int = 5
    budget_minutes: float = 0.0
    batch: int = 128
    learning_rate: float = 2e-3
    learning_rate_warmup: float = 0.02
    weight_decay: float = 0.01
    average_momentum: float = 0.999
    precision: Literal["float32", "mixed_bfloat16"] = "float32"
    checkpoint_steps: int = 1_000
    stop_step: int = 0


@dataclass(frozen=True, slots=True)
class Kind:
    """A type of field: what it accepts of YAML, and how to say so."""

    words: str
    accepts: Callable[[Any], bool]


def _is_int(value: object) -> bool:
    return type(value) is int  # a bool is an int to isinstance


def _is_number(value: object) -> bool:
    return type(value) in (int, float)


KINDS: dict[type, Kind] = {
    str: Kind("a text", lambda value: isinstance(value, str)),
    int: Kind("a whole number", _is_int),
    float: Kind("a number", _is_number),
    tuple: Kind("a list of whole numbers", lambda v: isinstance(v, list) and all(map(_is_int, v))),
    dict: Kind(
        "a mapping of names to numbers",
        lambda v: isinstance(v, dict) and all(map(_is_number, v.values())),
    ),
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


def build_config(kind: type[Settings], mapping: dict[str, Any]) -> Settings:
    """Make a run's description of its mapping.

    Raises:
        SettingsError: a key is unknown, or a value of the wrong kind.
    """
    return _build(kind, mapping, where="")


def load_config(kind: type[Settings], path: Path) -> Settings:
    """Read a run's description from its file; errors as of the two above."""
    return build_config(kind, read_mapping(path))


def dump_config(config: Any) -> str:
    """Write a run's description as it is read."""
    return yaml.safe_dump(_plain(asdict(config)), sort_keys=False, allow_unicode=True)


def _build(kind: type[Settings], mapping: object, *, where: str) -> Settings:
    hints = get_type_hints(kind)
    if not isinstance(mapping, dict):
        raise SettingsError(
            where.rstrip(".") or "the file", mapping, "a mapping of " + ", ".join(hints)
        )
    unknown = sorted(set(mapping) - set(hints))
    if unknown:
        raise SettingsError(where + str(unknown[0]), mapping[unknown[0]], "one of " + str([*hints]))
    values = {key: _value(hints[key], value, where=where + key) for key, value in mapping.items()}
    return kind(**values)


def _value(hint: Any, value: object, *, where: str) -> object:
    """Take a YAML value as a field's type, or refuse it; an integer may stand for a float."""
    if is_dataclass(hint) and isinstance(hint, type):
        return _build(hint, value, where=where + ".")
    kind = get_origin(hint) or hint
    if kind is Literal:
        is_good, accepted = value in get_args(hint), "one of " + ", ".join(get_args(hint))
    else:
        is_good, accepted = KINDS[kind].accepts(value), KINDS[kind].words
    if not is_good:
        raise SettingsError(where, value, accepted)
    return value if kind is Literal else kind(value)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return list(value) if isinstance(value, tuple) else value

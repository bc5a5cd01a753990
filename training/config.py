"""The description of a training run: one YAML file, one frozen dataclass, no unknown keys."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, is_dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar, get_type_hints

import yaml

from contract.alphabet import CAPTCHA_SYMBOLS
from contract.errors import SettingsError, UserError

Settings = TypeVar("Settings")


@dataclass(frozen=True, slots=True)
class DataConfig:
    """What is drawn.

    Attributes:
        pictures: distinct training pictures; each is seen once an epoch.
        validation_pictures: drawn with another seed, never trained on.
        presets: release of the captcha library to its share.
        symbols: drawn uniformly.
        min_length: symbols a text.
        max_length: symbols a text.
        width: of a picture in px.
        height: of a picture in px.
    """

    pictures: int = 160_000
    validation_pictures: int = 8_000
    presets: dict[str, float] = field(default_factory=lambda: {"0.7.1": 1.0})
    symbols: str = CAPTCHA_SYMBOLS
    min_length: int = 1
    max_length: int = 6
    width: int = 128
    height: int = 64


@dataclass(frozen=True, slots=True)
class NetworkConfig:
    """The sizes of the network (see ``network.py``).

    Attributes:
        channels: of the seven stages, from the picture to the frames.
        context_frames: width of the depthwise kernels over the frames.
        context_layers: how many of them.
    """

    channels: tuple[int, ...] = (16, 24, 40, 48, 72, 96, 128)
    context_frames: int = 7
    context_layers: int = 2


@dataclass(frozen=True, slots=True)
class ScheduleConfig:
    """How long, and how fast, it learns.

    Attributes:
        epochs: passes over the pictures, at most.
        budget_minutes: of training; the schedule then runs by the clock where that is ahead of the
            steps, so that it always comes to its end. 0: no limit.
        batch: pictures a step.
        learning_rate: at its highest.
        learning_rate_warmup: share of the run in which it rises.
        weight_decay: of AdamW, decoupled.
        frame_share: share of the run in which the cross-entropy of frames at known glyph middles
            gives way to CTC. It takes away the plateau at which CTC alone starts.
        average_momentum: a step, of the averaged weights that are measured and exported.
        precision: Keras's policy. mixed_bfloat16 is 1.24 times as fast as float32 on a CPU with
            avx512_bf16 (677 against 545 pictures/s, two cores of Zen 5, TensorFlow 2.21).
        checkpoint_steps: steps between two states on disk.
    """

    epochs: int = 5
    budget_minutes: float = 0.0
    batch: int = 128
    learning_rate: float = 2e-3
    learning_rate_warmup: float = 0.02
    weight_decay: float = 0.01
    frame_share: float = 0.12
    average_momentum: float = 0.999
    precision: Literal["float32", "mixed_bfloat16"] = "float32"
    checkpoint_steps: int = 1_000


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """One experiment."""

    name: str = "captcha"
    seed: int = 1
    data: DataConfig = DataConfig()
    network: NetworkConfig = NetworkConfig()
    schedule: ScheduleConfig = ScheduleConfig()


def load_config(path: Path) -> TrainConfig:
    """Read a run's description.

    Raises:
        UserError: the file cannot be read, or is no YAML mapping.
        SettingsError: a key is unknown, or a value of the wrong kind.
    """
    try:
        mapping = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise UserError(f"{path} cannot be read as YAML: {error}") from error
    return _build(TrainConfig, mapping or {}, where="")


def dump_config(config: TrainConfig) -> str:
    """Write a run's description as ``load_config`` reads it."""
    return yaml.safe_dump(_plain(asdict(config)), sort_keys=False, allow_unicode=True)


def _build(kind: type[Settings], mapping: object, *, where: str) -> Settings:
    hints = get_type_hints(kind)
    if not isinstance(mapping, dict):
        raise SettingsError(where or "the file", mapping, "a mapping of " + ", ".join(hints))
    unknown = sorted(set(mapping) - set(hints))
    if unknown:
        raise SettingsError(where + str(unknown[0]), mapping[unknown[0]], "one of " + str([*hints]))
    values = {
        key: _value(hints[key], value, where=where + key) for key, value in mapping.items()
    }
    return kind(**values)


def _value(hint: Any, value: object, *, where: str) -> object:
    if is_dataclass(hint) and isinstance(hint, type):
        return _build(hint, value, where=where + ".")
    if hint == tuple[int, ...] and isinstance(value, list):
        value = tuple(value)
        if all(type(item) is int for item in value):
            return value
    if hint is float and type(value) is int:
        return float(value)
    if getattr(hint, "__origin__", None) is Literal:
        if value in hint.__args__:
            return value
        raise SettingsError(where, value, "one of " + ", ".join(hint.__args__))
    if hint == dict[str, float] and isinstance(value, dict):
        return {str(key): float(share) for key, share in value.items()}
    if isinstance(hint, type) and type(value) is hint:
        return value
    raise SettingsError(where, value, f"a value of type {getattr(hint, '__name__', hint)}")


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return list(value) if isinstance(value, tuple) else value

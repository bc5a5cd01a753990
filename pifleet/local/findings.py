"""What ``pifleet doctor`` finds: one line each, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How bad it is."""

    OK = "ok"
    """Nothing to do."""
    WARN = "warn"
    """It works, and will bite one day."""
    FAIL = "fail"
    """Something of pifleet does not work like this."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        subject: what was looked at.
        level: how bad it is.
        text: what was found.
        advice: what to do; empty where there is nothing to do.
    """

    subject: str
    level: Level
    text: str
    advice: str = ""


def ok(subject: str, text: str) -> Finding:
    """Note that something is as it should be."""
    return Finding(subject, Level.OK, text)


def warn(subject: str, text: str, advice: str) -> Finding:
    """Note something that works for now."""
    return Finding(subject, Level.WARN, text, advice)


def fail(subject: str, text: str, advice: str) -> Finding:
    """Note something that does not work."""
    return Finding(subject, Level.FAIL, text, advice)

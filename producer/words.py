"""How numbers are said to people."""

from __future__ import annotations


def counted(number: int, noun: str) -> str:
    """Write a number with its noun: 1 worker, 2 processes."""
    ending = "" if number == 1 else "es" if noun.endswith("s") else "s"
    return f"{number:,} {noun}{ending}"


def duration(seconds: float) -> str:
    """Write a time span as people say it: 42s, 5m, 3h 20m, 2d 4h."""
    whole = max(0, int(seconds))
    if whole < 60:
        return f"{whole}s"
    minutes, hours, days = whole // 60, whole // 3600, whole // 86400
    if hours == 0:
        return f"{minutes}m"
    return f"{hours}h {minutes % 60}m" if days == 0 else f"{days}d {hours % 24}h"

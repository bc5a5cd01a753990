"""Figures as tables for people, and as one JSON file whose sections are measured one by one."""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from rich.table import Table

from benchmarks.system_a_network.learning import Lesson
from benchmarks.system_a_network.timing import PARTS, Part, Spread, times_faster
from benchmarks.throughput import processor_name
from training.measuring.scores import Scores

PACKAGES = ("ai-edge-litert", "tensorflow", "keras", "numpy", "pillow")

Timings = Mapping[str, Mapping[Part, list[float]]]


def speed_report(timings: Timings, *, against: str) -> dict[str, object]:
    """Give the middle and the spread of each figure, and of its ratio to one arm's, as JSON."""
    slow = timings[against]
    return circumstances() | {
        "rounds": len(slow["network"]),
        "ms_a_image": {
            name: {part: asdict(Spread.of(values[part], digits=4)) for part in PARTS}
            for name, values in timings.items()
        },
        "times_faster_than": against,
        "times_faster": {
            name: {part: asdict(times_faster(slow[part], values[part])) for part in PARTS}
            for name, values in timings.items()
        },
    }


def speed_table(timings: Timings, *, against: str) -> Table:
    """Lay the same out for a terminal."""
    table = Table(title=f"One thread, one image at a time; times as fast as {against}")
    table.add_column("network")
    for head in ("network alone, ms", "times", "PNG to text, ms", "times"):
        table.add_column(head, justify="right")
    for name, values in timings.items():
        cells: list[str] = []
        for part in PARTS:
            cells.append(f"{Spread.of(values[part], digits=3).median:.3f}")
            cells.append(_shown(times_faster(timings[against][part], values[part])))
        table.add_row(name, *cells)
    return table


def learning_report(scores: Mapping[str, Scores], lesson: Lesson, test: Path) -> dict[str, object]:
    """Give how well each network reads after the same images, as JSON."""
    return circumstances() | {
        "lesson": {**asdict(lesson), "seen": lesson.seen},
        "test": test.name,
        "read": {
            name: {
                "images": one.n,
                "exact_match": round(one.exact_match, 5),
                "character_accuracy": round(one.character_accuracy, 5),
            }
            for name, one in scores.items()
        },
    }


def learning_table(scores: Mapping[str, Scores], lesson: Lesson) -> Table:
    """Lay the same out for a terminal."""
    table = Table(title=f"After {lesson.seen} images, {lesson.images} distinct ones")
    table.add_column("network")
    table.add_column("exact match, %", justify="right")
    table.add_column("symbols, %", justify="right")
    for name, one in scores.items():
        shares = (one.exact_match, one.character_accuracy)
        table.add_row(name, *(f"{100 * share:.2f}" for share in shares))
    return table


def circumstances() -> dict[str, object]:
    """Say when, how and on what something was measured."""
    return {
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": "python -m benchmarks.system_a_network " + " ".join(sys.argv[1:]),
        "machine": f"{processor_name()}, Python {platform.python_version()}",
        "versions": {package: version(package) for package in PACKAGES},
    }


def write_section(path: Path, name: str, section: Mapping[str, object]) -> None:
    """Put a section into the file, new or in place of the one before, and keep the others."""
    whole = json.loads(path.read_text("utf-8")) if path.exists() else {}
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    partial.write_text(json.dumps(whole | {name: section}, indent=1) + "\n", encoding="utf-8")
    os.replace(partial, path)


def _shown(spread: Spread) -> str:
    return f"{spread.median:.1f} ({spread.low:.1f} to {spread.high:.1f})"

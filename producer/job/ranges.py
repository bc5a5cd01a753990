"""Indexes as ranges, ``0-63,70``: a delivery takes images in a row, so a few letters hold it."""

from __future__ import annotations

from collections.abc import Iterable


def format_ranges(indexes: Iterable[int]) -> str:
    """Write indexes as ranges, in order."""
    spans: list[list[int]] = []
    for index in sorted(indexes):
        if spans and index == spans[-1][1] + 1:
            spans[-1][1] = index
        else:
            spans.append([index, index])
    return ",".join(f"{first}-{last}" if last > first else str(first) for first, last in spans)


def parse_ranges(text: str) -> frozenset[int]:
    """Read what ``format_ranges`` wrote."""
    spans = [span.partition("-") for span in text.split(",") if span]
    return frozenset(
        index for first, _, last in spans for index in range(int(first), int(last or first) + 1)
    )

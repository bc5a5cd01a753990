"""The parts of a mask, against a fill that is slow and simple."""

from __future__ import annotations

import numpy as np
import pytest

from recognition.character.components import Mask, find_components


def filled(mask: Mask) -> list[frozenset[tuple[int, int]]]:
    """List the places of each part, found pixel by pixel."""
    left = {(int(y), int(x)) for y, x in np.argwhere(mask)}
    parts = []
    while left:
        part, edge = set(), {left.pop()}
        while edge:
            y, x = edge.pop()
            part.add((y, x))
            around = {(y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)} & left
            left -= around
            edge |= around
        parts.append(frozenset(part))
    return sorted(parts, key=min)


@pytest.mark.parametrize("seed", range(60))
def test_parts_are_those_of_a_plain_fill(seed: int) -> None:
    rng = np.random.default_rng(seed)
    height, width = rng.integers(1, 25, 2)
    mask = rng.random((height, width)) < rng.random()
    parts, wanted = find_components(mask), filled(mask)
    assert parts.area.tolist() == [len(part) for part in wanted]
    for number, places in enumerate(wanted):
        alone = parts.mask(np.arange(len(wanted)) == number)
        assert alone.shape == mask.shape
        assert {(int(y), int(x)) for y, x in np.argwhere(alone)} == places
        box = (parts.top[number], parts.left[number], parts.bottom[number], parts.right[number])
        ys, xs = zip(*places, strict=True)
        assert box == (min(ys), min(xs), max(ys) + 1, max(xs) + 1)


def test_spiral_is_one_part() -> None:
    mask = np.zeros((41, 41), dtype=bool)
    y, x, dy, dx = 0, 0, 0, 1
    for turn in range(40):
        for _ in range(40 - 2 * (turn // 2)):  # a gap stays between one round and the next
            mask[y, x] = True
            y, x = y + dy, x + dx
        dy, dx = dx, -dy
    assert 0.4 < mask.mean() < 0.6
    assert find_components(mask).area.tolist() == [mask.sum()]


def test_mask_without_ink_has_no_parts() -> None:
    parts = find_components(np.zeros((3, 4), dtype=bool))
    assert parts.area.size == parts.touches_border().size == 0
    assert not parts.mask(np.zeros(0, dtype=bool)).any()

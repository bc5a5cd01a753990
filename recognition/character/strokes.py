"""Which parts of a mask are the character, and which are specks, frames, lines and shadows."""

from __future__ import annotations

import numpy as np

from contract.errors import ImageError
from contract.reasons import Reason
from recognition.character.components import Components, Mask

SPECK_SHARE = 0.02  # of the character's largest part, in pixels
NEAR_SHARE = 0.5  # of what was taken, its longer side: dots and broken strokes are nearer
STEPS = 2  # of taking in: the last stroke of a broken 5 is near to the middle one only
FRAME_FILL = 0.5  # of its box: a frame fills less, a page more
INNER_AREA = 0.25  # of the largest part: so much inside, or
INNER_SIDE = 0.25  # of the image's longer side, and what touches the border is no character
CORNER_SHARE = 0.1  # of a frame's box: its corners are drawn, those of an O are not
LINE_SHARE = 0.9  # of the image: nothing but a ruled line is as long,
LINE_THICK = 0.03  # and as thin


def character_parts(parts: Components) -> Mask:
    """Choose the parts that make up the character.

    Args:
        parts: those of the image's foreground.

    Returns:
        (n,) bool, at least one of them True.

    Raises:
        ImageError: ``blank``, where none could be a character.
    """
    if parts.area.size == 0:
        raise ImageError(Reason.BLANK, "nothing but ruled lines")
    side = np.maximum(parts.right - parts.left, parts.bottom - parts.top)
    candidates = _without_frames(parts, parts.area >= SPECK_SHARE * parts.area.max())
    inner = candidates & ~parts.touches_border()
    is_large = (side >= INNER_SIDE * max(parts.shape)) | (
        parts.area >= INNER_AREA * parts.area[candidates].max()
    )
    if (inner & is_large).any():
        candidates = inner
    return _together(parts, candidates)


def without_lines(mask: Mask) -> Mask:
    """Take out ruled lines, level or upright; where a stroke crosses one, the stroke stays."""
    return _without_level_lines(_without_level_lines(mask).T).T


def _without_level_lines(mask: Mask) -> Mask:
    height = len(mask)
    share = mask.mean(axis=1)
    rows = np.flatnonzero(share > LINE_SHARE)
    if rows.size == 0:
        return mask
    cleared = mask.copy()
    for line in np.split(rows, np.flatnonzero(np.diff(rows) > 1) + 1):
        above, below = line[0] - 1, line[-1] + 1
        if len(line) > max(2, LINE_THICK * height) or above < 1 or below > height - 2:
            continue
        crossed = mask[above - 1] | mask[below + 1]
        cleared[above : below + 1] &= crossed
    return cleared


def _without_frames(parts: Components, candidates: Mask) -> Mask:
    """Leave out what is drawn around the character: a box with corners, and something inside."""
    left = candidates.copy()
    while left.any():
        around = int(np.argmax(np.where(left, parts.box_area(), 0)))
        inside = left & parts.is_inside(around)
        if not inside.any() or not _is_frame(parts, around):
            return left
        left[around] = False
    return left


def _is_frame(parts: Components, which: int) -> bool:
    if parts.area[which] > FRAME_FILL * parts.box_area()[which]:
        return False
    alone = parts.mask(np.arange(parts.area.size) == which)
    rows = slice(parts.top[which], parts.bottom[which])
    return has_corners(alone[rows, parts.left[which] : parts.right[which]])


def has_corners(box: Mask) -> bool:
    """Return whether a mask, cut to its box, reaches all four corners: no round letter does."""
    high, wide = (max(1, int(side * CORNER_SHARE)) for side in box.shape)
    corners = (box[:high, :wide], box[:high, -wide:], box[-high:, :wide], box[-high:, -wide:])
    return all(corner.any() for corner in corners)


def _together(parts: Components, candidates: Mask) -> Mask:
    """Begin with the largest part, and take in what is near to what was taken."""
    sizes = np.where(candidates, parts.area, 0)
    candidates = candidates & (parts.area >= SPECK_SHARE * sizes.max())
    taken: Mask = np.arange(sizes.size) == sizes.argmax()
    for _ in range(STEPS):
        left, right = parts.left[taken].min(), parts.right[taken].max()
        top, bottom = parts.top[taken].min(), parts.bottom[taken].max()
        reach = NEAR_SHARE * max(right - left, bottom - top)
        is_near = (parts.left < right + reach) & (parts.right > left - reach)
        is_near &= (parts.top < bottom + reach) & (parts.bottom > top - reach)
        taken = candidates & is_near
    return taken

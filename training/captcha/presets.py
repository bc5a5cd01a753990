"""The image distributions that versions of the captcha library have had.

Source: captcha/image.py of the releases 0.3, 0.5.0, 0.7.0 and 0.7.1, read side by side. Releases
0.6.0 to 0.7.0 draw alike. 0.3 runs on Pillow 9 only; Pillow 9.5 and 13 give the same pixels for
every operation that is used (checked), so that all presets draw on the installed Pillow.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from contract.errors import SettingsError

TileBox = Literal["text", "text_plus_1", "ink_scaled"]

FONT_SIZES = (42, 50, 56)
CROPPED_BOX_SCALE = 1.7
# mask = luminance * 1.97, clipped: 0.3 rounds the product, later releases cut it off
ROUNDED_TABLE = tuple(min(255, round(i * 1.97)) for i in range(256))
CUT_TABLE = tuple(min(255, int(i * 1.97)) for i in range(256))


@dataclass(frozen=True, slots=True)
class Preset:
    """What differs between the releases.

    Attributes:
        name: the release that it draws like.
        box: the size of a glyph's tile. ``text``: as wide as the text with its ink, as high as from
            the line's top to the ink's bottom (0.3, ``textsize``); ``text_plus_1``: from the origin
            to one beyond the ink's right and bottom (0.6 and later measure from (1, 1));
            ``ink_scaled``: 1.7 times the ink's own size, which cuts low glyphs: a ``-`` leaves
            nothing but its gap, a ``:`` loses its lower dot (0.5.0).
        table: luminance of the glyph to opacity of its paste.
        warp_floor_px: whether the warp's lower bound is added to the product as pixels, not to the
            factor: 0.7.1 lost a pair of brackets, and so warps less.
        curve_ends_anywhere: whether the noise curve may end left of the last fifth (0.7.1).
    """

    name: str
    box: TileBox
    table: tuple[int, ...] = CUT_TABLE
    warp_floor_px: bool = False
    curve_ends_anywhere: bool = False


PRESETS = {
    preset.name: preset
    for preset in (
        Preset("0.3", "text", table=ROUNDED_TABLE),
        Preset("0.5.0", "ink_scaled"),
        Preset("0.7.0", "text_plus_1"),
        Preset("0.7.1", "text_plus_1", warp_floor_px=True, curve_ends_anywhere=True),
    )
}


def find_preset(name: str) -> Preset:
    """Look a preset up.

    Raises:
        SettingsError: there is none of that name.
    """
    if name not in PRESETS:
        raise SettingsError("preset", name, "one of " + ", ".join(PRESETS))
    return PRESETS[name]

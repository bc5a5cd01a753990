"""A contact sheet of the images that decide: a row a symbol, for a person's eye."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from contract.errors import OutputError
from producer.symbols.estimate import Presence, SymbolEstimate
from producer.symbols.evidence import Contrast, Rereader
from producer.symbols.table import Findings, probability_text
from producer.words import counted

SHOWN = 8  # images a symbol: the surest half and the least sure half
COLUMNS = 4
IMAGE_PX = (256, 128)  # twice a captcha image
CELL_PX = (288, 212)
GAP_PX = 16
MARGIN_PX = 32
TITLE_PX = 96
HEAD_PX = 92
BACKGROUND, CARD, LINE = "#f6f5f1", "#ffffff", "#dcd9d0"
TEXT, FAINT = "#22252b", "#72757d"
ACCENTS = {Presence.DOUBTFUL: "#b7791f", Presence.ABSENT: "#b23a48", Presence.PRESENT: "#2f7d4f"}
MOST_NAME = 34  # characters of an image's name that fit under it
LEAST_EXPECTED = 0.1  # misreadings; fewer explain nothing
MOST_SOURCES = 3  # lookalikes named in a title


def write_sheet(
    path: Path,
    findings: Findings,
    contrasts: Mapping[str, Sequence[Contrast]],
    rereader: Rereader,
) -> None:
    """Draw the sheet and write it as a PNG, whole or not at all.

    Args:
        path: where.
        findings: the verdicts.
        contrasts: for each symbol to show, its images, the surest first.
        rereader: that opens the images.

    Raises:
        OutputError: it cannot be written there.
        SourceError: an image is missing.
    """
    sheet = draw_sheet(findings, contrasts, rereader)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        sheet.save(temporary, format="PNG", optimize=True)
        temporary.replace(path)
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror or error}") from error
    finally:
        temporary.unlink(missing_ok=True)


def draw_sheet(
    findings: Findings, contrasts: Mapping[str, Sequence[Contrast]], rereader: Rereader
) -> Image.Image:
    """Lay out a head and a row for each symbol, the doubtful ones first."""
    estimates = sorted(
        (one for one in findings.estimates if contrasts.get(one.symbol)),
        key=lambda one: (one.verdict != Presence.DOUBTFUL, -one.p_present),
    )
    shown = {one.symbol: _chosen(contrasts[one.symbol]) for one in estimates}
    width = 2 * MARGIN_PX + COLUMNS * CELL_PX[0] + (COLUMNS - 1) * GAP_PX
    heights = [_row_height(len(shown[one.symbol])) for one in estimates]
    sheet = Image.new("RGB", (width, HEAD_PX + sum(heights) + MARGIN_PX), BACKGROUND)
    _draw_head(sheet, findings, is_empty=not estimates)
    top = HEAD_PX
    for one, height in zip(estimates, heights, strict=True):
        _draw_title(sheet, top, one, _title(one, findings, contrasts[one.symbol]))
        for number, contrast in enumerate(shown[one.symbol]):
            row, column = divmod(number, COLUMNS)
            x = MARGIN_PX + column * (CELL_PX[0] + GAP_PX)
            y = top + TITLE_PX + row * (CELL_PX[1] + GAP_PX)
            _draw_cell(sheet, (x, y), rereader.open(contrast.name), one, contrast)
        top += height
    return sheet


def _title(one: SymbolEstimate, findings: Findings, contrasts: Sequence[Contrast]) -> str:
    """Say how often a symbol was read, how often that was to be expected, and what it may be."""
    read = counted(one.readings, "reading")
    sources = _expected_sources(one.symbol, findings) or _found_sources(one.symbol, contrasts)
    return (
        f"{read}: about {one.if_present:.0f} expected if it is there like the others,"
        f" {one.if_absent:.1f} if not; {sources}"
    )


def _found_sources(symbol: str, contrasts: Sequence[Contrast]) -> str:
    """Name what stands in the symbol's place when it may not be read."""
    found = Counter(contrast.instead(symbol) or "nothing" for contrast in contrasts)
    parts = [f"{other} {counted(n, 'time')}" for other, n in found.most_common(MOST_SOURCES)]
    return f"without it: {', '.join(parts)}"


def _expected_sources(symbol: str, findings: Findings) -> str:
    """Name the symbols that are read as this one, where that was measured."""
    others = {s: float(n) for s, n in findings.read.counts.items() if s != symbol}
    found = findings.misreadings.sources(symbol, others)
    most = sorted(found.items(), key=lambda item: -item[1])[:MOST_SOURCES]
    parts = [f"{source} {n:.1f} times" for source, n in most if n >= LEAST_EXPECTED]
    return f"expected to be misread as {symbol}: {', '.join(parts)}" if parts else ""


def _chosen(contrasts: Sequence[Contrast]) -> list[Contrast]:
    """Take the surest, which speak for a symbol, and the least sure."""
    if len(contrasts) <= SHOWN:
        return list(contrasts)
    return [*contrasts[: SHOWN // 2], *contrasts[-SHOWN // 2 :]]


def _row_height(images: int) -> int:
    return TITLE_PX + -(-images // COLUMNS) * (CELL_PX[1] + GAP_PX)


def _draw_head(sheet: Image.Image, findings: Findings, *, is_empty: bool) -> None:
    draw = ImageDraw.Draw(sheet)
    draw.text((MARGIN_PX, 24), "Is the symbol really there?", fill=TEXT, font=_font(30))
    said = (
        "no symbol is in doubt, and none that was dropped was ever read"
        if is_empty
        else "under each image: how it was read, how sure that is, and what it is read as without"
        " the symbol; the surest first"
    )
    about = f"{findings.read.source.name}, {counted(len(findings.read.texts), 'text')}: {said}"
    draw.text((MARGIN_PX, 62), about, fill=FAINT, font=_font(16))


def _draw_title(sheet: Image.Image, top: int, one: SymbolEstimate, words: str) -> None:
    draw = ImageDraw.Draw(sheet)
    accent = ACCENTS[one.verdict]
    y = top + 24
    draw.line((MARGIN_PX, top + 8, sheet.width - MARGIN_PX, top + 8), fill=LINE, width=1)
    draw.rounded_rectangle((MARGIN_PX, y, MARGIN_PX + 56, y + 56), 10, fill=accent)
    draw.text((MARGIN_PX + 28, y + 28), one.symbol, fill="white", font=_font(36), anchor="mm")
    x = MARGIN_PX + 74
    verdict = f"{one.verdict}, {probability_text(one.confidence)}"
    draw.text((x, y + 2), verdict, fill=accent, font=_font(22))
    draw.text((x, y + 32), words, fill=TEXT, font=_font(17))


def _draw_cell(
    sheet: Image.Image,
    corner: tuple[int, int],
    image: Image.Image,
    one: SymbolEstimate,
    contrast: Contrast,
) -> None:
    draw = ImageDraw.Draw(sheet)
    x, y = corner
    box = (x, y, x + CELL_PX[0], y + CELL_PX[1])
    draw.rounded_rectangle(box, 8, fill=CARD, outline=LINE)
    scale = min(IMAGE_PX[0] / image.width, IMAGE_PX[1] / image.height)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    enlarged = image.resize(size, Image.Resampling.LANCZOS)
    sheet.paste(enlarged, (x + (CELL_PX[0] - size[0]) // 2, y + 14 + (IMAGE_PX[1] - size[1]) // 2))
    end = _draw_reading(draw, (x + 16, y + 148), one, contrast)
    sure = f"{100 * contrast.certainty:.1f} %"
    draw.text((x + CELL_PX[0] - 16, y + 152), sure, fill=TEXT, font=_font(17), anchor="ra")
    without = f"else {contrast.without or 'nothing'}"
    draw.text((end + 14, y + 152), without, fill=FAINT, font=_font(17))
    name = contrast.name
    shown = name if len(name) <= MOST_NAME else "…" + name[-MOST_NAME + 1 :]
    draw.text((x + 16, y + 184), shown, fill=FAINT, font=_font(13))


def _draw_reading(
    draw: ImageDraw.ImageDraw, corner: tuple[int, int], one: SymbolEstimate, contrast: Contrast
) -> float:
    """Write the text with the symbol in colour, and return the x where it ends."""
    x, y, font = float(corner[0]), corner[1], _font(22)
    for symbol in contrast.text:
        draw.text(
            (x, y), symbol, fill=ACCENTS[one.verdict] if symbol == one.symbol else TEXT, font=font
        )
        x += draw.textlength(symbol, font=font)
    return x


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)

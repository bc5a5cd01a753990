"""Tables that fit: fewer columns where there is less room, and nothing cut beyond recognition."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.box import HEAVY_HEAD
from rich.console import Console, ConsoleOptions, Group, RenderResult
from rich.table import Table
from rich.text import Text

FRAME = 3  # characters that a column costs beyond its text, with HEAVY_HEAD
ELLIPSIS = "…"


@dataclass(frozen=True, slots=True)
class Column:
    """One column.

    Attributes:
        name: its header.
        rank: columns of a higher rank go first where room is short; 0 stays.
        least: characters that its texts may be shortened to, in their middle; None for never.
        is_number: whether it is set to the right.
    """

    name: str
    rank: int = 0
    least: int | None = None
    is_number: bool = False


@dataclass(frozen=True, slots=True)
class FittedTable:
    """A table that is laid out for the console it is printed on.

    Attributes:
        columns: all that there are.
        rows: a cell for each column.
    """

    columns: Sequence[Column]
    rows: Sequence[Sequence[Text]]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw it in the width that there is."""
        natural = [self._natural(index) for index in range(len(self.columns))]
        kept = choose(self.columns, natural, options.max_width)
        widths = shrink([self.columns[i] for i in kept], [natural[i] for i in kept], options)
        table = Table(header_style="bold", box=HEAVY_HEAD)
        for index, width in zip(kept, widths, strict=True):
            column = self.columns[index]
            table.add_column(
                column.name,
                justify="right" if column.is_number else "left",
                no_wrap=True,
                min_width=width,
            )
        for row in self.rows:
            cells = zip(kept, widths, strict=True)
            table.add_row(*(shorten(row[index], width) for index, width in cells))
        yield Group(table, *self._left_out(kept))

    def _natural(self, index: int) -> int:
        cells = [row[index].cell_len for row in self.rows]
        return max([len(self.columns[index].name), *cells])

    def _left_out(self, kept: Sequence[int]) -> list[Text]:
        left = [column.name for index, column in enumerate(self.columns) if index not in kept]
        if not left:
            return []
        return [Text(f"a wider terminal or --json also has: {', '.join(left)}", style="dim")]

    def plain(self) -> str:
        """Write it for another program's eyes: whole, a line a row, tabs between the cells."""
        header = "\t".join(column.name for column in self.columns)
        return "\n".join([header, *("\t".join(cell.plain for cell in row) for row in self.rows)])


def choose(columns: Sequence[Column], natural: Sequence[int], width: int) -> list[int]:
    """Select the columns, by their index, that a width has room for."""
    kept = list(range(len(columns)))

    def needed() -> int:
        return 1 + sum(FRAME + _least(columns[index], natural[index]) for index in kept)

    while needed() > width and any(columns[index].rank for index in kept):
        kept.remove(max(kept, key=lambda index: columns[index].rank))
    return kept


def shrink(columns: Sequence[Column], natural: Sequence[int], options: ConsoleOptions) -> list[int]:
    """Find the width of each column: the widest that may be shortened gives way first."""
    widths = list(natural)
    room = options.max_width - 1 - FRAME * len(columns)
    while sum(widths) > room:
        spare = [
            (width - _least(column, width), index)
            for index, (column, width) in enumerate(zip(columns, widths, strict=True))
        ]
        most, index = max(spare)
        if most <= 0:
            break
        widths[index] -= 1
    return widths


def shorten(text: Text, width: int) -> Text:
    """Shorten a text in its middle: long names mostly differ at their ends."""
    if text.cell_len <= width:
        return text
    head = (width - 1) // 3
    tail = width - 1 - head
    return Text.assemble(text[:head], ELLIPSIS, text[len(text) - tail :])


def _least(column: Column, width: int) -> int:
    return width if column.least is None else min(width, column.least)

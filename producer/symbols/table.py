"""What was found out about the symbols, as a table, as JSON, and as a flag for the next job."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from math import log
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from producer.symbols.estimate import LOG_ODDS_SURE, Presence, SymbolEstimate
from producer.symbols.misreadings import Misreadings
from producer.symbols.texts import ReadTexts
from producer.words import counted

STYLES = {Presence.DOUBTFUL: "yellow", Presence.ABSENT: "red", Presence.PRESENT: "green"}
ORDER = (Presence.DOUBTFUL, Presence.ABSENT, Presence.PRESENT)  # what a person looks at comes first


@dataclass(frozen=True, slots=True)
class Findings:
    """What is known of all symbols, in the charset's order."""

    read: ReadTexts
    misreadings: Misreadings
    estimates: tuple[SymbolEstimate, ...]

    def having(self, verdict: Presence) -> list[SymbolEstimate]:
        """Select the symbols of one verdict, the least sure first."""
        found = [one for one in self.estimates if one.verdict == verdict]
        return sorted(found, key=lambda one: one.confidence)

    @property
    def kept(self) -> str:
        """The symbols to allow: all but the absent; one too many costs less than one too few."""
        return "".join([one.symbol for one in self.estimates if one.verdict != Presence.ABSENT])


def symbols_flag(findings: Findings) -> str:
    """Write the flag for `submit` and `classify`, quoted for a shell."""
    return f"--symbols {shlex.quote(findings.kept)}"


def symbols_table(findings: Findings) -> RenderableType:
    """Draw the symbols: the doubtful ones, the absent ones, then the others."""
    caption = "margin: powers of ten beyond odds of 99 to 1, which make a verdict"
    table = Table(header_style="bold", caption=caption, caption_justify="left")
    table.add_column("symbol")
    table.add_column("verdict")
    for name in ("read", "if present", "if absent", "confidence", "margin"):
        table.add_column(name, justify="right", no_wrap=True)
    for verdict in ORDER:
        for one in findings.having(verdict):
            table.add_row(*_cells(one))
    lines: list[RenderableType] = [table, Text(_summary(findings))]
    doubtful = "".join([one.symbol for one in findings.having(Presence.DOUBTFUL)])
    if doubtful:
        advice = f"{doubtful} is kept: look at its images with --images FOLDER --sheet FILE.png"
        several = advice.replace(" is kept", " are kept").replace(" its ", " their ")
        lines.append(Text(several if len(doubtful) > 1 else advice))
    return Group(*lines)


def symbols_json(findings: Findings) -> dict[str, Any]:
    """Write the findings as a JSON object."""
    return {
        "symbols": findings.kept,
        "texts": len(findings.read.texts),
        "unread": findings.read.unread,
        "model": findings.read.model.digest,
        **{
            str(verdict): "".join([e.symbol for e in findings.estimates if e.verdict == verdict])
            for verdict in ORDER
        },
        "estimates": [
            {
                "symbol": one.symbol,
                "verdict": str(one.verdict),
                "readings": one.readings,
                "if_present": round(one.if_present, 2),
                "if_absent": round(one.if_absent, 2),
                "p_present": one.p_present,
                "log10_margin": round(margin(one), 2),
            }
            for one in findings.estimates
        ],
    }


def margin(one: SymbolEstimate) -> float:
    """Measure the odds beyond what a verdict needs, in powers of ten; negative: they fall short."""
    return (abs(one.log_odds) - LOG_ODDS_SURE) / log(10)


def probability_text(share: float) -> str:
    """Write a probability so that nearly sure does not look like sure."""
    return "> 99.99 %" if share > 0.9999 else f"{100 * share:.2f} %"


def _cells(one: SymbolEstimate) -> list[Text]:
    style = STYLES[one.verdict]
    return [
        Text(one.symbol, style="bold"),
        Text(one.verdict, style=style),
        Text(f"{one.readings:,}"),
        Text(f"{one.if_present:,.1f}"),
        Text(f"{one.if_absent:,.1f}"),
        Text(probability_text(one.confidence)),
        Text(f"{margin(one):+.1f}"),
    ]


def _summary(findings: Findings) -> str:
    symbols = counted(len(findings.estimates), "symbol")
    texts = counted(len(findings.read.texts), "text")
    parts = [f"{len(findings.having(verdict))} {verdict}" for verdict in reversed(ORDER)]
    return f"{symbols} looked for in {texts}: {', '.join(parts)}"

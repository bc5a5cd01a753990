"""Find the symbols that a set of images holds: count, weigh, look again, draw what decides."""

from __future__ import annotations

from pathlib import Path

from producer.symbols.estimate import Presence, SymbolEstimate, estimate_symbols
from producer.symbols.evidence import Rereader, evidence_of_texts
from producer.symbols.misreadings import Misreadings, load_misreadings
from producer.symbols.sheet import write_sheet
from producer.symbols.table import Findings
from producer.symbols.texts import ReadTexts


def find_symbols(
    read: ReadTexts,
    *,
    scores: Path | None = None,
    images: Path | None = None,
    sheet: Path | None = None,
) -> Findings:
    """Judge every symbol that could have been read.

    Args:
        read: the texts.
        scores: what ``pifleet evaluate --json`` said of the model; None for a broad guess.
        images: the folder of the images, to read those again that may be misread.
        sheet: where to draw these; only with ``images``.

    Raises:
        SourceError: one of the files or images is missing or something else.
        OutputError: the sheet cannot be written.
    """
    misreadings = Misreadings() if scores is None else load_misreadings(scores)
    evidence = evidence_of_texts(read.texts)
    if images is None:
        return Findings(read, misreadings, _estimates(read, misreadings, evidence))
    rereader = Rereader(read, images)
    contrasts = {
        one.symbol: rereader.contrasts(one.symbol)
        for one in _estimates(read, misreadings, {})
        if one.readings and one.verdict != Presence.PRESENT
    }
    evidence |= rereader.evidence(contrasts)  # of the symbol alone, where a text says it of many
    findings = Findings(read, misreadings, _estimates(read, misreadings, evidence))
    if sheet is not None:
        write_sheet(sheet, findings, contrasts, rereader)
    return findings


def _estimates(
    read: ReadTexts, misreadings: Misreadings, evidence: dict[str, float]
) -> tuple[SymbolEstimate, ...]:
    return tuple(estimate_symbols(read.counts, misreadings, log_evidence=evidence))

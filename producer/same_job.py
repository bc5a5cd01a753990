"""Whether a ledger belongs to what is asked for now: the same images, model and texts.

What a list holds counts, and not what it is called: standard input always has the same name. An
index page is known by its address, for it would have to be fetched again.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from contract.errors import LedgerError
from producer.job.store import SOURCE_KEY, Ledger
from producer.sources.image import digest_of
from producer.sources.source import is_index_page, open_source
from producer.submission import OUTPUT_KEY, SOURCE_FILE_KEY

log = logging.getLogger(__name__)

ITEM_KEY = "index_item"


@dataclass(frozen=True, slots=True)
class Asked:
    """What a job is asked to read, and with what.

    Attributes:
        source: as given; see ``producer.sources.source``.
        index_item: the address of one image of an index page.
        model: SHA-256 of the model file.
        symbols: those allowed; None allows all.
        pattern: that each text matches; None for any.
        words: SHA-256 of the lexicon's words; None for any.
    """

    source: str
    index_item: str | None
    model: str
    symbols: str | None
    pattern: str | None
    words: str | None


def note_origin(ledger: Ledger, source: str, index_item: str | None, output: Path) -> None:
    """Note in a new ledger what it is made from and for."""
    with ledger.writing():
        ledger.note(OUTPUT_KEY, output.name)
        ledger.note(ITEM_KEY, index_item or "")
        if source != "-" and not is_index_page(source):
            ledger.note(SOURCE_FILE_KEY, str(Path(source).absolute()))


def check_same(ledger: Ledger, asked: Asked) -> None:
    """Refuse to go on with a ledger that was written for something else.

    Raises:
        LedgerError: names what differs.
        SourceError: the source cannot be read, where it has to be compared.
    """
    spec = ledger.spec
    same = {
        "source": _is_same_source(ledger, asked),
        "model": asked.model == spec.model,
        "symbols": asked.symbols == spec.symbols,
        "pattern": asked.pattern == spec.pattern,
        "lexicon": asked.words == spec.words,
    }
    differing = [what for what, is_same in same.items() if not is_same]
    if differing:
        raise LedgerError(
            f"{ledger.path} holds job {spec.job} with another {' and '.join(differing)}: give"
            f" another -o, --restart to begin anew, or `pifleet collect {spec.job}` to end that job"
        )


def _is_same_source(ledger: Ledger, asked: Asked) -> bool:
    """Compare the images where reading the source again is cheap, otherwise its address."""
    spec, noted = ledger.spec, ledger.get(SOURCE_KEY)
    if is_index_page(asked.source) or is_index_page(spec.source) or noted is None:
        item = ledger.get(ITEM_KEY)
        is_same_item = item is None or item == (asked.index_item or "")
        return asked.source == spec.source and is_same_item
    path = Path(asked.source)
    if asked.source == spec.source != "-" and not path.exists():
        log.warning("source %s is gone; the job goes on with what its ledger holds", path)
        return True
    if (path.is_dir() and asked.source != "-") != (spec.served is not None):
        return False
    return digest_of(open_source(asked.source, index_item=asked.index_item)) == noted

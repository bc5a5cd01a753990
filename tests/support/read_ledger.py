"""A job whose images were all read, as its ledger holds it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from broker.claims import Item
from broker.results import ChunkResult, Outcome, Row
from producer.job.deliveries import Deliveries
from producer.job.spec import JobSpec
from producer.job.store import Ledger
from producer.sources.image import SourceImage


def take(deliveries: Deliveries, size: int) -> tuple[int, tuple[Item, ...]]:
    """Take a delivery: its number and its images; 0 and none if nothing is ready to go."""
    taken = deliveries.take(size)
    return (taken.delivery, taken.items) if taken else (0, ())


@contextmanager
def read_ledger(path: Path, texts: Mapping[str, str]) -> Iterator[Ledger]:
    """Open the ledger of a job that read these texts, by the names of their images."""
    with Ledger(path) as ledger:
        spec = JobSpec("j", "source", "0" * 64, "m", None, 3)
        ledger.seal(spec, [SourceImage(name, f"http://h/{name}") for name in texts], model=b"m")
        delivery, items = take(Deliveries(ledger), len(texts))
        rows = [Row(i.index, text, 1.0) for i, text in zip(items, texts.values(), strict=True)]
        result = ChunkResult(delivery, "pi1", Outcome.DONE, "token", tuple(rows))
        Deliveries(ledger).record([result], position="1-1", forgive=set())
        yield ledger

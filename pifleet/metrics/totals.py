"""What the fleet has read all together, although workers start, stop, and may lie.

A counter of Prometheus must not fall, and a sum over workers falls whenever one leaves. So what is
added up is by how much each worker's own counts grew from one look to the next.
"""

from __future__ import annotations

import logging
from collections import Counter, OrderedDict
from dataclasses import dataclass, field

from broker.heartbeats import Fleet, Heartbeat
from broker.loads import BOUNDS_S, Stage, Stages
from contract.reasons import Reason
from pifleet.metrics.labels import OTHER

log = logging.getLogger(__name__)

MOST_KNOWN = 8192  # starts of workers
MOST_IMAGES = 1_000_000  # between two looks of a minute at most; a Pi reads some 100,000
KNOWN = frozenset(Reason)
MOST_IMAGE_S = 600.0  # for one image, in any stage


@dataclass(slots=True)
class Totals:
    """Counts of the fleet, since the first look.

    Attributes:
        read: images with a text.
        failed: those without, by reason; what this version does not know is ``other``.
        stages: where their seconds went.
    """

    read: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    stages: dict[str, Stage] = field(default_factory=dict)
    _seen: OrderedDict[str, Heartbeat] = field(default_factory=OrderedDict)

    def note(self, fleet: Fleet) -> None:
        """Take in a look; a worker that is met for the first time counts from then on."""
        for worker in fleet.workers:
            before = self._seen.pop(worker.instance, None)
            self._seen[worker.instance] = worker
            if before is not None:
                self._add(before, worker)
        while len(self._seen) > MOST_KNOWN:
            self._seen.popitem(last=False)

    def _add(self, before: Heartbeat, after: Heartbeat) -> None:
        worker = after.worker
        images = after.images - before.images
        failed = after.failed - before.failed
        reasons = Counter(after.reasons) - Counter(before.reasons)
        if not 0 <= failed <= images <= MOST_IMAGES or reasons.total() > images:
            log.warning("counts ignored worker=%s images=%d failed=%d", worker, images, failed)
            return
        self.read += images - failed
        for reason, number in reasons.items():
            self.failed[reason if reason in KNOWN else OTHER] += number
        if failed > reasons.total():  # an older worker does not tell why
            self.failed["unknown"] += failed - reasons.total()
        for name in Stages.__struct_fields__:
            grown = _growth(getattr(before.stages, name), getattr(after.stages, name))
            self.stages[name] = self.stages.get(name, Stage()) + grown


def _growth(before: Stage, after: Stage) -> Stage:
    """Subtract what was counted before; nothing where that cannot be."""
    size = len(BOUNDS_S) + 1
    counts = [
        later - earlier
        for earlier, later in zip(
            (*before.counts, *(size - len(before.counts)) * (0,)),
            (*after.counts, *(size - len(after.counts)) * (0,)),
            strict=True,
        )
    ]
    sum_s, images = after.sum_s - before.sum_s, sum(counts)
    if min(counts) < 0 or images > MOST_IMAGES or not 0.0 <= sum_s <= MOST_IMAGE_S * images:
        return Stage()
    return Stage(sum_s, tuple(counts))

"""How much of a job is out at once, and in chunks of what size; pure, as the reconciler is."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from math import inf

from broker.heartbeats import Fleet
from producer.job.reconciler import Reconciler
from producer.job.spec import JobSpec

WINDOW_PER_PROCESS = 3  # one in hand, one taken ahead, one in the queue
SLOW_WINDOW_PER_PROCESS = 2  # where a look comes in time without the one in the queue
MIN_WINDOW = 8  # chunks, before the first heartbeat was seen
SLOW_CHUNK_S = 0.5  # what takes longer is slow
MIN_CHUNK = 8  # images; below this the queue costs more than the reading
FIRST_CHUNK = 16  # images, before an answer has told how long they take
CHUNK_S = 1.0  # no chunk shall take longer: other jobs wait for it, and so does whoever cancels
CHUNKS_PER_S = 500.0  # that a producer sends and takes back with ease; a larger fleet's take longer
QUICKEST_S = 1e-6  # an image: what failed at once took no time
GUIDE = 3  # the last chunks shrink, so that all processes end together
TURNS_S = 30.0  # of work under --rate or --per-host is out at once


class Priority(StrEnum):
    """Which share of the fleet a job gets while others want it too: the queue is fair to chunks."""

    LOW = "low"
    """A third of a normal job's."""
    NORMAL = "normal"
    HIGH = "high"
    """Three times a normal job's."""


WEIGHTS = {Priority.LOW: 1 / 3, Priority.NORMAL: 1.0, Priority.HIGH: 3.0}


@dataclass(frozen=True, slots=True)
class Pace:
    """What may go out now, by what is known of the fleet and of the chunks that came back.

    Attributes:
        job: its id.
        chunk: the most images of a chunk that were asked for.
        priority: beside other jobs.
        most_out: the most images that may be out, see ``most_out``.
    """

    job: str
    chunk: int
    priority: Priority
    most_out: float

    def window(self, fleet: Fleet, seen: Reconciler) -> int:
        """Count the most chunks that may be out."""
        is_slow = seen.typical_s > SLOW_CHUNK_S
        each = SLOW_WINDOW_PER_PROCESS if is_slow else WINDOW_PER_PROCESS
        window = max(MIN_WINDOW, each * fleet.processes)
        if fleet.held_by_job.keys() - {self.job}:  # else all is its own
            window = math.ceil(window * WEIGHTS[self.priority])
        return window

    def most_in_chunk(self, fleet: Fleet, seen: Reconciler) -> int:
        """Count the most images of a chunk: fewer than were asked for, where they may take long."""
        image_s = seen.typical_image_s
        if image_s is None:
            return min(self.chunk, FIRST_CHUNK)
        chunk_s = max(CHUNK_S, fleet.processes / CHUNKS_PER_S)
        return min(self.chunk, int(chunk_s / max(image_s, QUICKEST_S)))

    def chunk_size(self, processes: int, *, waiting: int, most: int) -> int:
        """Take a share of what waits, so that no process ends alone.

        Args:
            processes: of the fleet.
            waiting: images that are neither out nor done.
            most: images of a chunk, see ``most_in_chunk``.

        Source: Polychronopoulos and Kuck 1987, "Guided self-scheduling".
        """
        processes = max(2, processes)
        share = math.ceil(max(0, waiting) / (GUIDE * processes))
        size = max(min(MIN_CHUNK, self.chunk), min(most, share))
        return max(1, min(size, int(self.most_out / processes))) if self.most_out < inf else size


def most_out(spec: JobSpec, hosts: int) -> float:
    """Count the most images that may be out at once, so that their turns come in time.

    A job without limits may have any number out.
    """
    rates = [spec.rate or inf, spec.per_host * hosts if spec.per_host else inf]
    return max(1.0, min(rates) * TURNS_S)

"""What can be seen of the fleet from here: heartbeats, and the length of the queue."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from broker.heartbeats import Heartbeat
from broker.keys import HEARTBEAT_TTL_S, heartbeats_key, queue_key, workers_key
from contract.errors import MessageError

if TYPE_CHECKING:
    from redis import Redis

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Fleet:
    """The fleet at one moment.

    Attributes:
        workers: the live ones, by name.
        waiting: chunks in the queue that no worker holds, of all jobs.
    """

    workers: tuple[Heartbeat, ...] = ()
    waiting: int = 0

    @property
    def processes(self) -> int:
        """How many chunks the fleet reads at once."""
        return sum(worker.processes for worker in self.workers)

    @property
    def in_hand(self) -> dict[str, str]:
        """Map the task ids that workers hold to the worker that holds them, as one start of it."""
        return {task: instance(worker) for worker in self.workers for task in worker.in_hand}

    @property
    def instances(self) -> set[str]:
        """The live workers, each as one start of it."""
        return {instance(worker) for worker in self.workers}

    @property
    def is_idle(self) -> bool:
        """Whether a process waits for work and the queue has none."""
        return not self.waiting and len(self.in_hand) < self.processes


def look(client: Redis) -> Fleet:
    """Read the heartbeats of live workers and the queue's length: three commands.

    A worker whose heartbeat cannot be understood is left out with a warning: it may be of a
    version to come.
    """
    seconds, _ = client.time()  # the server's clock, as the workers use
    since = seconds - HEARTBEAT_TTL_S
    names = cast(list[bytes], client.zrangebyscore(workers_key(), since, "+inf"))
    texts = client.hmget(heartbeats_key(), names) if names else []
    workers = [
        _parse(name, text)
        for name, text in zip(names, cast(list[bytes | None], texts), strict=True)
        if text
    ]
    waiting = client.llen(queue_key())
    return Fleet(workers=tuple(w for w in workers if w is not None), waiting=waiting)


def instance(worker: Heartbeat) -> str:
    """Name one start of a worker: after a restart the same name holds none of the old chunks."""
    return f"{worker.worker}#{worker.pid}@{worker.started_at:.3f}"


def _parse(name: bytes, text: bytes) -> Heartbeat | None:
    try:
        heartbeat = Heartbeat.from_json(text)
        if heartbeat.worker.encode() != name:
            raise MessageError(f"{name!r:.80} calls itself {heartbeat.worker!r}")
    except MessageError as error:
        log.warning("heartbeat ignored: %s", error)
        return None
    return heartbeat

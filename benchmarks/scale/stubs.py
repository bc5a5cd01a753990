"""Workers that fetch nothing and read nothing: real notices, claims, answers and heartbeats.

One process plays hundreds of them. Each of their processes takes a chunk, waits as long as reading
it would take on a Pi, and answers. ``die 100`` on its stdin ends so many of them without a word; it
prints the task ids that they held, as JSON.
"""

from __future__ import annotations

import base64
import heapq
import json
import random
import selectors
import sys
import time
from dataclasses import dataclass, field
from typing import cast

import click
from redis import Redis

from broker.chunks import QUEUE_KEY, Notice
from broker.claims import ChunkTask, claim, prove
from broker.connection import make_client
from broker.heartbeats import Heartbeat, beat, sign_off
from broker.results import ChunkResult, Outcome, Row, add_result
from contract.clocks import USUAL

PROCESSES = 4  # of each worker: a Pi has four cores
AT_ONCE = 64  # notices taken in one round trip
NAP_S = 0.001
SPREAD = 0.3  # sigma of the logarithm of a chunk's time


@dataclass(slots=True, eq=False)
class Stub:
    """One worker.

    Attributes:
        name: its name.
        beat_at: monotonic time of its next heartbeat.
        held: the chunks that its processes have, by task id.
        images: answered so far.
        is_dead: it says nothing any more.
    """

    name: str
    beat_at: float
    held: dict[str, ChunkTask] = field(default_factory=dict)
    images: int = 0
    is_dead: bool = False


class Stubs:
    """All workers of this process."""

    def __init__(self, client: Redis, names: list[str], image_s: float, rng: random.Random) -> None:
        self._client = client
        self._image_s = image_s
        self._rng = rng
        self._began = time.time()
        now = time.monotonic()
        beats = [now + USUAL.heartbeat_s * i / len(names) for i in range(len(names))]
        self._stubs = [Stub(name, at) for name, at in zip(names, beats, strict=True)]
        self._free = [stub for stub in self._stubs for _ in range(PROCESSES)]
        self._due: list[tuple[float, int, Stub, ChunkTask]] = []
        self._taken = 0
        for stub in self._stubs:
            self._beat(stub)

    def step(self) -> None:
        """Do what is due now."""
        now = time.monotonic()
        for stub in self._stubs:
            if stub.beat_at <= now and not stub.is_dead:
                self._beat(stub)
                stub.beat_at = now + USUAL.heartbeat_s
        while self._due and self._due[0][0] <= now:
            self._answer(*heapq.heappop(self._due)[2:])
        if not self._take(now):
            time.sleep(NAP_S)

    def die(self, number: int) -> list[str]:
        """End the first workers that live; returns what they held."""
        dying = [stub for stub in self._stubs if not stub.is_dead][:number]
        for stub in dying:
            stub.is_dead = True
        self._free = [stub for stub in self._free if not stub.is_dead]
        return [task for stub in dying for task in stub.held]

    def close(self) -> None:
        """Sign off."""
        for stub in self._stubs:
            sign_off(self._client, stub.name)

    def _take(self, now: float) -> bool:
        number = min(AT_ONCE, len(self._free))
        found = self._client.rpop(QUEUE_KEY, number) if number else None
        items = cast(list[bytes], found or [])
        for item in items:
            body = json.loads(base64.b64decode(json.loads(item)["body"]))
            task = claim(self._client, Notice.from_wire(body[0][0]))
            if task is None:
                continue
            stub = self._free.pop(self._rng.randrange(len(self._free)))
            stub.held[task.notice.task_id()] = task
            took_s = self._image_s * len(task.items) * self._rng.lognormvariate(0.0, SPREAD)
            heapq.heappush(self._due, (now + took_s, self._taken, stub, task))
            self._taken += 1
        return bool(items)

    def _answer(self, stub: Stub, task: ChunkTask) -> None:
        if stub.is_dead:
            return
        rows = tuple(Row(item.index, "ABCD", 0.99) for item in task.items)
        took_s = self._image_s * len(rows)
        done = (task.delivery, stub.name, Outcome.DONE, task.token)
        add_result(self._client, task.job, ChunkResult(*done, rows=rows, took_s=took_s))
        stub.images += len(rows)
        del stub.held[task.notice.task_id()]
        self._free.append(stub)

    def _beat(self, stub: Stub) -> None:
        proofs = tuple(prove(task.token) for task in stub.held.values())
        heartbeat = Heartbeat(
            worker=stub.name,
            pid=1,
            host=stub.name,
            processes=PROCESSES,
            in_hand=tuple(stub.held),
            proofs=proofs,
            images=stub.images,
            failed=0,
            images_per_s=0.0,
            started_at=self._began,
            temperature_c=55.0,
            throttled=0,
            rss_mb=200.0,
            version="stub",
            runtime="none",
            models=(),
        )
        beat(self._client, heartbeat)


@click.command()
@click.argument("redis_url")
@click.option("--names", required=True, help="FIRST-LAST.")
@click.option("--image-ms", type=float, required=True)
def main(redis_url: str, names: str, image_ms: float) -> None:
    """Play workers until stdin ends."""
    first, last = map(int, names.split("-"))
    wanted = [f"stub{number:04}" for number in range(first, last + 1)]
    with make_client(redis_url) as client, selectors.DefaultSelector() as selector:
        stubs = Stubs(client, wanted, image_ms / 1000, random.Random(first))
        selector.register(sys.stdin, selectors.EVENT_READ)
        print("ready", flush=True)
        while True:
            if selector.select(0):
                words = sys.stdin.readline().split()
                if not words:
                    break
                print(json.dumps(stubs.die(int(words[1]))), flush=True)
            stubs.step()
        stubs.close()


if __name__ == "__main__":
    main()

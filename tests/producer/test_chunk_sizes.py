"""How many images a chunk has: fewer towards the end, and where each takes long."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import cast

import msgspec
import pytest
from redis import Redis

from broker.chunks import QUEUE_KEY, Notice
from broker.claims import ChunkTask, Claims, claim
from broker.heartbeats import Fleet, beat
from broker.results import ChunkResult, Outcome, Row, add_result
from broker.transport import clean
from contract.clocks import USUAL, Clocks
from producer.job.doors import redis_doors
from producer.job.pace import CHUNK_S, FIRST_CHUNK, WINDOW_PER_PROCESS
from producer.job.scheduler import JobRun, RunOptions
from producer.job.spec import JobSpec
from producer.job.store import Ledger
from producer.sources.image import SourceImage
from recognition.model_file import load_model
from tests.simulation.broker import HEARTBEAT
from tests.support.make_tiny_model import TINY_MODEL

pytestmark = pytest.mark.redis
IMAGES = 4000
PROCESSES = 4


class AllSent(Exception):
    """Every image is out."""


def taken(client: Redis) -> Iterator[Notice]:
    while item := cast(bytes | None, client.rpop(QUEUE_KEY)):
        payload = clean(item)
        assert payload is not None
        body = msgspec.json.decode(base64.b64decode(payload["body"]))
        yield Notice.from_wire(body[0][0])


@pytest.mark.parametrize(
    ("image_s", "most"), [(0.0, 128), (0.001, 128), (0.05, int(CHUNK_S / 0.05))]
)
def test_a_chunk_takes_a_second_at_most(
    redis_url: str, tmp_path: Path, image_s: float, most: int
) -> None:
    sizes: list[int] = []
    model = load_model(str(TINY_MODEL))
    spec = JobSpec("job1", "list", model.digest, "tiny", None, attempts=3)
    with Ledger(tmp_path / "a.ledger") as ledger, Redis.from_url(redis_url) as client:
        images = [SourceImage(f"{number}", "http://h/") for number in range(IMAGES)]
        ledger.seal(spec, images, model=model.data)
        beat(client, msgspec.structs.replace(HEARTBEAT, worker="pi1", processes=PROCESSES))

        def answer(_: object) -> None:
            """Be the fleet: read what was sent, as slowly as is said."""
            for notice in taken(client):
                task = claim(client, notice)
                assert task is not None
                sizes.append(len(task.items))
                rows = tuple(Row(item.index, "A1", 1.0) for item in task.items)
                done = (task.delivery, "pi1", Outcome.DONE, task.token)
                add_result(client, task.job, ChunkResult(*done, rows, image_s * len(rows)))

        run = JobRun(ledger, redis_doors(client, spec.job), RunOptions(redis_url))
        assert run.run(answer).counts.read == IMAGES

    assert sum(sizes) == IMAGES
    window = WINDOW_PER_PROCESS * PROCESSES
    assert sizes[:window] == [FIRST_CHUNK] * window
    assert sizes[window] == most  # the first whose size an answer decided
    assert sizes[-1] == min(sizes)


def test_the_fleet_is_looked_at_while_much_is_sent(redis_url: str, tmp_path: Path) -> None:
    """For a thousand processes a lot is sent; each sending of it takes half a second here."""
    now, looks = 0.0, [0.0]
    model = load_model(str(TINY_MODEL))
    spec = JobSpec("job1", "list", model.digest, "tiny", None, attempts=3)

    class SlowClaims(Claims):
        def send(self, tasks: Sequence[ChunkTask]) -> None:
            nonlocal now
            super().send(tasks)
            now += 0.5

    with Ledger(tmp_path / "a.ledger") as ledger, Redis.from_url(redis_url) as client:
        images = [SourceImage(f"{number}", "http://h/") for number in range(IMAGES)]
        ledger.seal(spec, images, model=model.data)
        beat(client, msgspec.structs.replace(HEARTBEAT, worker="pi1", processes=1000))
        doors = redis_doors(client, spec.job)

        def look(clocks: Clocks, known: Iterable[str]) -> Fleet:
            looks.append(now)
            return doors.look(clocks, known)

        def stop(_: object) -> None:
            if ledger.counts().out == IMAGES:
                raise AllSent

        claims = SlowClaims(client, spec.job)
        slow = replace(doors, claims=claims, look=look, monotonic=lambda: now)
        with pytest.raises(AllSent):
            JobRun(ledger, slow, RunOptions(redis_url)).run(stop)

    assert now > 3 * USUAL.look_s, "it would not be much"
    gaps = [later - sooner for sooner, later in pairwise([*looks, now])]
    assert max(gaps) <= USUAL.look_s + 0.5

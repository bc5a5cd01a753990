"""How many images a chunk has: fewer towards the end, and where each takes long."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import msgspec
import pytest
from redis import Redis

from broker.chunks import QUEUE_KEY, Notice
from broker.claims import claim
from broker.heartbeats import beat
from broker.results import ChunkResult, Outcome, Row, add_result
from broker.transport import clean
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

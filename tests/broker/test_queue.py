"""What the producer writes into the queue is what Celery would have written there."""

from __future__ import annotations

import pytest
from redis import Redis

from broker.app import make_app
from broker.chunks import QUEUE_KEY, find_oldest, task_id, to_queue
from broker.claims import Claims, claim
from broker.keys import QUEUE, TASK_READ_CHUNK
from broker.transport import clean
from tests.support.fleet_job import chunk_task

pytestmark = pytest.mark.redis
TASKS = [chunk_task("0" * 64, ["http://h/0"], delivery=number) for number in (1, 2)]


def test_a_worker_sees_of_our_message_what_it_would_see_of_celerys(redis_url: str) -> None:
    notice = TASKS[0].notice
    options = {"task_id": notice.task_id(), "queue": QUEUE, "argsrepr": "(1 images of job job1)"}
    with make_app(redis_url) as app:
        app.send_task(TASK_READ_CHUNK, args=[notice.to_wire()], kwargsrepr="{}", **options)
    with Redis.from_url(redis_url) as client:
        theirs = clean(client.rpop(QUEUE_KEY) or b"")

    ours = clean(to_queue(notice, images=1))

    assert theirs is not None
    assert ours is not None
    theirs["properties"]["delivery_tag"] = ours["properties"]["delivery_tag"]  # theirs is random
    assert ours == theirs


def test_chunks_are_claimable_before_their_notices_come_in_their_order(redis_url: str) -> None:
    with Redis.from_url(redis_url) as client:
        Claims(client, "job1").send(TASKS)

        assert find_oldest(client)[0] == task_id("job1", 1)
        assert client.llen(QUEUE_KEY) == 2
        assert [claim(client, task.notice) for task in TASKS] == TASKS

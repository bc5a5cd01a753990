"""A producer and workers of different versions: they say so, and do not send for ever."""

from __future__ import annotations

from pathlib import Path

import pytest

from broker.chunks import NOTICE_VERSION, QUEUE_KEY, Notice
from broker.connection import connect
from contract.errors import UserError
from producer.job import refusals
from producer.job.doors import redis_doors
from producer.job.scheduler import JobRun, RunOptions
from producer.job.spec import JobSpec
from producer.job.store import Ledger
from producer.sources.image import SourceImage
from recognition.model_file import load_model
from tests.conftest import StartWorker
from tests.support.faulty_origin import FaultyOrigin
from tests.support.make_tiny_model import TINY_MODEL
from tests.support.stripes import png

pytestmark = [pytest.mark.redis, pytest.mark.timeout(90)]


def test_job_of_a_newer_version_ends_with_a_sentence_and_goes_on_when_that_is_mended(
    start_worker: StartWorker,
    origin: FaultyOrigin,
    redis_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    worker = start_worker()
    model = load_model(str(TINY_MODEL))
    to_wire = Notice.to_wire
    spec = JobSpec("job1", "list", model.digest, "tiny", None, attempts=3)
    url = origin.add("/a.png", png("A1"))
    with Ledger(tmp_path / "a.ledger") as ledger, connect(redis_url) as client:
        ledger.seal(spec, [SourceImage("a.png", url)], model=model.data)

        with monkeypatch.context() as patch:
            patch.setattr(Notice, "to_wire", lambda notice: {**to_wire(notice), "v": 99})
            patch.setattr(refusals, "REFUSED_S", 1.0)
            doors = redis_doors(client, spec.job)
            newer = JobRun(ledger, doors, RunOptions(redis_url))
            words = r"no worker understands this program \(.+\): run the same version"
            with pytest.raises(UserError, match=words):
                newer.run(lambda _: None)
        assert f"is of version 99, this program knows {NOTICE_VERSION}" in worker.log.read_text()

        client.delete(QUEUE_KEY)  # a worker of that version has taken them
        doors = redis_doors(client, spec.job)
        again = JobRun(ledger, doors, RunOptions(redis_url))
        assert again.run(lambda _: None).counts.read == 1

"""One Celery task an image, with every setting that is recommended against losing tasks.

Each task appends a line to a file, and not to Redis: a result that a wipe could take along would
count against Celery twice.
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

import requests
from celery import Celery

from recognition.images import open_image, to_tensor
from recognition.model_file import load_model
from recognition.recogniser import Recogniser
from tests.support.make_tiny_model import TINY_MODEL

# Read at import, because `celery -A` has no other way to give an application its settings.
REDIS_URL = os.environ.get("PIFLEET_REDIS_URL", "redis://")
ROWS = Path(os.environ.get("CHAOS_ROWS", os.devnull))
VISIBILITY_TIMEOUT_S = 60  # an hour by default: a run would never see a task again

app = Celery("plain", broker=REDIS_URL)
app.conf.update(
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    task_ignore_result=True,
    worker_prefetch_multiplier=1,
    broker_connection_retry_on_startup=True,
    broker_connection_max_retries=None,
    broker_transport_options={
        "visibility_timeout": VISIBILITY_TIMEOUT_S,
        "socket_timeout": 15,
        "socket_connect_timeout": 5,
        "socket_keepalive": True,
        "health_check_interval": 25,
    },
)


@cache
def tools() -> tuple[Recogniser, requests.Session]:
    """Make what a process keeps from task to task, at its first one."""
    return Recogniser(load_model(str(TINY_MODEL)).data), requests.Session()


@app.task(autoretry_for=(requests.RequestException,), max_retries=None)  # type: ignore[untyped-decorator]  # Celery ships no types
def read_image(index: int, url: str) -> None:
    """Fetch and read one image, and append its row."""
    recogniser, session = tools()
    data = session.get(url, timeout=30).content
    tensor = to_tensor(open_image(data), recogniser.card.input)
    text = recogniser.read([tensor], None)[0].text
    with ROWS.open("ab", buffering=0) as file:  # one write: whole, or not at all
        file.write(f"{index}\t{text}\n".encode())

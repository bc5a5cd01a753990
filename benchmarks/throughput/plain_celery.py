"""One Celery task an image, as Celery's own tutorial has it: ``requests``, and a result backend.

Settings are Celery's defaults: prefork, a prefetch of four, results kept in Redis.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import requests
from celery import Celery, group

from contract.errors import ServiceError
from pifleet.local.children import end_child, last_line, start_child
from recognition.images import load_tensor
from recognition.model_file import load_model
from recognition.recogniser import Recogniser

START_S = 60.0
# Read at import, because `celery -A` has no other way to give an application its settings.
REDIS_URL = os.environ.get("BENCHMARK_REDIS_URL", "redis://")
MODEL = os.environ.get("BENCHMARK_MODEL", "captcha")

app = Celery("plain", broker=REDIS_URL, backend=REDIS_URL)


@cache
def recogniser() -> Recogniser:
    """Load the model once a process, at its first task."""
    return Recogniser(load_model(MODEL).data)


@app.task  # type: ignore[untyped-decorator]  # Celery ships no types
def read_image(url: str) -> str:
    """Fetch and read one image."""
    data = requests.get(url, timeout=30).content
    tensor = load_tensor(data, recogniser().card.input)
    return recogniser().read([tensor], None)[0].text


@contextmanager
def plain_workers(redis_url: str, model: str, folder: Path) -> Iterator[None]:
    """Run two prefork processes for as long as the block lasts.

    Raises:
        ServiceError: they do not start.
    """
    env = {**os.environ, "BENCHMARK_REDIS_URL": redis_url, "BENCHMARK_MODEL": model}
    log = folder / "plain_celery.log"
    worker = ["worker", "--concurrency", "2", "--loglevel", "WARNING"]
    child = start_child([sys.executable, "-m", "celery", "-A", __name__, *worker], env=env, log=log)
    try:
        configure(redis_url)
        deadline = time.monotonic() + START_S
        while not app.control.ping(timeout=0.5):
            if child.poll() is not None or time.monotonic() > deadline:
                raise ServiceError(f"celery did not start: {last_line(log)}")
        yield
    finally:
        end_child(child, grace_s=30)


def configure(redis_url: str) -> None:
    """Let this process send to, and collect from, the workers' broker."""
    app.conf.broker_url = redis_url
    app.conf.result_backend = redis_url


def read_all(urls: list[str]) -> list[str]:
    """Send a task an image, and wait for all of their results."""
    texts: list[str] = group(read_image.s(url) for url in urls)().get()
    return texts

"""The page, served in a thread; and jobs that are done, without a fleet."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import requests

from contract.settings import Settings
from pifleet.page.app import ServeOptions, serving
from producer.job.spec import JobSpec, State
from producer.job.store import Ledger
from producer.registry import remember
from producer.sources.image import SourceImage
from producer.submission import Layout, keep_layout, ledger_path, write_submission
from recognition.model_file import load_model
from tests.support.commands import fleet_env
from tests.support.make_tiny_model import TINY_MODEL

NO_REDIS = "redis://127.0.0.1:1/0"
TOKEN = "token-of-the-tests"
JOB = "0a1b2c3d"
PLAIN = Layout()


@dataclass(slots=True)
class Page:
    """A page that is served.

    Attributes:
        base: its address.
        folder: lists and submissions are there.
        program: requests as a program makes them, with the token.
    """

    base: str
    folder: Path
    program: requests.Session = field(default_factory=requests.Session)

    @property
    def entrance(self) -> str:
        """The address that is printed."""
        return f"{self.base}/login?token={TOKEN}"

    def get(self, path: str, **options: Any) -> requests.Response:
        """Ask as a program."""
        return self.program.get(self.base + path, timeout=20, **options)

    def post(self, path: str, **options: Any) -> requests.Response:
        """Change something as a program."""
        return self.program.post(self.base + path, timeout=20, **options)


@contextmanager
def page_server(folder: Path, redis_url: str = NO_REDIS, **options: Any) -> Iterator[Page]:
    """Serve the page of a folder for as long as the block lasts."""
    env = fleet_env(redis_url, folder)
    settings = Settings.from_env(env)
    asked = ServeOptions(port=0, folder=folder, model=str(TINY_MODEL), who="tester", **options)
    begun: Future[tuple[str, Callable[[], object]]] = Future()

    async def serve() -> None:
        loop, stop = asyncio.get_running_loop(), asyncio.Event()
        async with serving(asked, settings, token=TOKEN) as (printed, desk):
            desk.environ |= env
            begun.set_result((printed, partial(loop.call_soon_threadsafe, stop.set)))
            await stop.wait()

    def run() -> None:
        try:
            asyncio.run(serve())
        except BaseException as error:
            if not begun.done():
                begun.set_exception(error)
            raise

    thread = threading.Thread(target=run, name="page")
    thread.start()
    address, stop = begun.result(20)
    try:
        page = Page(address.partition("/login")[0], folder)
        page.program.headers["Authorization"] = f"Bearer {TOKEN}"
        with page.program:
            yield page
    finally:
        stop()
        thread.join(20)


def make_job(
    folder: Path,
    readings: Mapping[str, tuple[str, float]],
    *,
    urls: Mapping[str, str] | None = None,
    failed: Mapping[str, str] | None = None,
    job: str = JOB,
    layout: Layout = PLAIN,
) -> Path:
    """Make a job that is done, as if a fleet had read it.

    Args:
        folder: of the submission; the images of a served folder are in ``folder/images``.
        readings: text and confidence by name.
        urls: address by name; None for images of the served folder.
        failed: reason by name, of further images.
        job: its id.
        layout: of its submission.

    Returns:
        The submission.
    """
    output, failed = folder / f"{job}.csv", failed or {}
    model = load_model(str(TINY_MODEL))
    served = None if urls else str(folder / "images")
    spec = JobSpec(job, "images", model.digest, model.card.name, None, 3, served)
    names = [*readings, *failed]
    images = [SourceImage(name, (urls or {}).get(name, f"folder:{name}")) for name in names]
    with Ledger(ledger_path(output)) as ledger:
        ledger.seal(spec, images, model=model.data)
        keep_layout(ledger, layout)
        with ledger.writing():
            ledger.db.executemany(
                f"UPDATE image SET state={State.READ:d}, text=?, confidence=? WHERE name=?",
                [(text, confidence, name) for name, (text, confidence) in readings.items()],
            )
            ledger.db.executemany(
                f"UPDATE image SET state={State.FAILED:d}, reason=? WHERE name=?",
                [(reason, name) for name, reason in failed.items()],
            )
        write_submission(ledger, output, layout)
    remember(folder / "state", job, output)
    return output

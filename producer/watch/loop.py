"""Watch the fleet on a terminal until somebody presses q."""

from __future__ import annotations

import logging
import os
import select
import sys
import termios
import time
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.live import Live

from broker.connection import redis_errors
from broker.overview import overlook
from contract.errors import AccessError, ServiceError, SettingsError
from contract.settings import Settings
from producer.registry import Looked, known_jobs
from producer.watch.history import JobPaces, RecentFailures
from producer.watch.screen import Scene, View, draw

if TYPE_CHECKING:
    from redis import Redis

REDRAW_S = 2.0
PAGE = 10  # workers
QUIT = ("q", "Q", "\x1b")
KEYS = {"\x1b[A": "up", "\x1b[B": "down", "\x1b[5~": "pageup", "\x1b[6~": "pagedown"}


class Watcher:
    """Looks at the fleet and at this machine's jobs, again and again."""

    def __init__(self, client: Redis, settings: Settings) -> None:
        self._client = client
        self._settings = settings
        self._paces = JobPaces()
        self._failures = RecentFailures()
        self._looked: Looked = {}
        self._last = Scene()

    def look(self) -> Scene:
        """Look once; while Redis is away the last scene stays, and says so."""
        known = known_jobs(self._settings.state_dir, looked=self._looked)
        open_jobs = [job for job in known if job.counts.open]
        paces = self._paces.note(open_jobs)
        try:
            with redis_errors(self._settings.redis_url):
                overview = overlook(self._client, self._settings.clocks)
        except (ServiceError, AccessError) as error:
            self._last = Scene(self._last.overview, open_jobs, paces, problem=str(error))
        else:
            failures = self._failures.note(overview.fleet)
            self._last = Scene(overview, open_jobs, paces, failures)
        return self._last


def watch(look: Callable[[], Scene]) -> None:
    """Draw what there is to see every two seconds, and when a key is pressed.

    Raises:
        SettingsError: there is no terminal to draw on.
    """
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise SettingsError("--watch", "no terminal", "a terminal; --json is for programs")
    view = View()
    with _keys_at_once(), Live(screen=True, auto_refresh=False) as live:
        while True:
            scene = look()
            redraw_at = time.monotonic() + REDRAW_S
            while (left_s := redraw_at - time.monotonic()) > 0.0:
                size = live.console.size
                picture = draw(scene, view, width=size.width, height=size.height)
                live.update(picture, refresh=True)
                key = _read_key(left_s)
                if key in QUIT:
                    return
                view = view.pressed(key, page=PAGE, workers=len(scene.overview.fleet.workers))


@contextmanager
def _keys_at_once() -> Iterator[None]:
    """Let keys come without the return key, and unseen; Ctrl-C stays what it is."""
    before = termios.tcgetattr(sys.stdin)
    tty.setcbreak(sys.stdin)
    logging.disable(logging.ERROR)  # a line of a log would tear the screen
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


def _read_key(wait_s: float) -> str:
    """Wait for a key; empty if none came."""
    ready, _, _ = select.select([sys.stdin], [], [], wait_s)
    if not ready:
        return ""
    typed = os.read(sys.stdin.fileno(), 16).decode(errors="replace")
    return KEYS.get(typed, typed[:1] if not typed.startswith("\x1b[") else "")

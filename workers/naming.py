"""The name of a worker: one a fleet, though cloned SD cards all call themselves raspberrypi."""

from __future__ import annotations

import os
import re
import socket
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from broker.heartbeats import INSTANCE_SIGN, is_taken
from contract.errors import SettingsError
from contract.settings import Settings

if TYPE_CHECKING:
    from redis import Redis

NODE = "pifleet@"  # Celery wants name@host; Flower shows the whole
NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")


def choose_name(settings: Settings, redis: Redis) -> str:
    """Take the name that was set, the broker user's, or the host's; add the process id if in use.

    Two workers of one name would overwrite each other's heartbeats, and their chunks would be
    taken for lost in turns.

    Raises:
        SettingsError: it has letters that a name must not have.
        RedisError: Redis is away.
    """
    name = settings.worker_name or user_of(settings.redis_url) or host_name()
    if not NAME.fullmatch(name):
        raise SettingsError("PIFLEET_WORKER_NAME", name, "letters, digits, dots and dashes")
    return f"{name}{INSTANCE_SIGN}{os.getpid()}" if is_taken(name, redis, settings.clocks) else name


def user_of(redis_url: str) -> str:
    """Read the name of the broker's user out of a URL; the default user has none.

    A worker's rights end at its own heartbeat, so it is called as its user is.
    """
    login = urlsplit(redis_url).netloc.rpartition("@")[0]
    user = unquote(login.partition(":")[0])
    return "" if user == "default" else user


def host_name() -> str:
    """Read the host's name, without its domain."""
    return socket.gethostname().partition(".")[0]


def node_name(worker: str) -> str:
    """Build the name under which Celery and Flower know a worker."""
    return NODE + worker


def worker_of(node: str) -> str:
    """Read a worker's name from Celery's; that of a worker started by ``celery`` itself too."""
    return node.removeprefix(NODE)

"""A broker that fails over: ``sentinel://[user:password@]host:26379,host:26379/master[/0]``.

redis-py and kombu each spell it in a way of their own; this is the one that a person writes. With
``ssl_ca_certs`` in its query, which PIFLEET_REDIS_CA puts there, all of them are spoken to by TLS.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

if TYPE_CHECKING:
    from redis import Redis

SCHEME = "sentinel"
PORT = 26379
FORM = "sentinel://[user:password@]host:26379,host:26379/master/0"


@dataclass(frozen=True, slots=True)
class SentinelUrl:
    """Where to ask for the master, and how to talk to it.

    Attributes:
        nodes: the Sentinels.
        master: the name that they know the master by.
        database: its number.
        username: of the master, None for the default one.
        password: of the master.
        authority: the file of a private authority; None speaks without TLS.
    """

    nodes: tuple[tuple[str, int], ...]
    master: str
    database: int = 0
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    authority: str | None = None

    @property
    def tls(self) -> dict[str, Any]:
        """What redis-py needs to know of TLS."""
        return {"ssl": True, "ssl_ca_certs": self.authority} if self.authority else {}

    def for_kombu(self) -> str:
        """Spell it as kombu does: a URL for each Sentinel; the master's name is an option."""
        login = f"{quote(self.username or '')}:{quote(self.password or '')}@"
        shown = login if self.password else ""
        urls = [f"{SCHEME}://{shown}{host}:{port}/{self.database}" for host, port in self.nodes]
        return ";".join(urls)


def is_sentinel(redis_url: str) -> bool:
    """Tell whether a URL names Sentinels."""
    return redis_url.startswith(f"{SCHEME}://")


def parse(redis_url: str) -> SentinelUrl:
    """Take a URL apart.

    Raises:
        ValueError: it is not of the form above.
    """
    # urlsplit knows one host: Python 3.11.4, and Debian's 3.11.2, refuse a second one in brackets
    nodes, end, rest = redis_url.removeprefix(f"{SCHEME}://").partition("/")
    parts = urlsplit(f"{SCHEME}://host{end}{rest}")
    login, _, hosts = nodes.rpartition("@")
    master, _, database = parts.path.strip("/").partition("/")
    if not hosts or not master:
        raise ValueError(f"not of the form {FORM}")
    username, _, password = login.partition(":")
    return SentinelUrl(
        nodes=tuple(_node(host) for host in hosts.split(",")),
        master=master,
        database=int(database or 0),
        username=unquote(username) or None,
        password=unquote(password) or None,
        authority=parse_qs(parts.query).get("ssl_ca_certs", [None])[0],
    )


def sentinel_options(place: SentinelUrl, **options: Any) -> dict[str, Any]:
    """List what connections to the Sentinels need.

    They are asked one after the other, so none is asked twice: redis-py would try a dead one for
    four seconds each time, and a worker opens five connections when it starts.
    """
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    return {**options, **place.tls, "retry": Retry(NoBackoff(), 0)}


def master_client(place: SentinelUrl, **options: Any) -> Redis:
    """Make a client of whoever is the master whenever it connects.

    Args:
        place: of the Sentinels.
        options: of each connection, to the Sentinels and to the master.
    """
    from redis.sentinel import Sentinel

    sentinel = Sentinel(  # type: ignore[no-untyped-call]  # redis-py leaves it so
        place.nodes, sentinel_kwargs=sentinel_options(place, **options)
    )
    client: Redis = sentinel.master_for(  # type: ignore[no-untyped-call]
        place.master,
        db=place.database,
        username=place.username,
        password=place.password,
        **options,
        **place.tls,
    )
    return client


def _node(text: str) -> tuple[str, int]:
    parts = urlsplit(f"//{text}")
    if not parts.hostname:
        raise ValueError(f"{text!r} is no host")
    return parts.hostname, parts.port or PORT

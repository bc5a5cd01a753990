"""Whether the broker is open: found out by trying to get in, not by what its settings promise."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

from broker.connection import client_url, make_client
from pifleet.local.findings import Finding, fail, ok, warn
from pifleet.local.up import is_loopback

if TYPE_CHECKING:
    from redis import Redis

SUBJECT = "redis access"
PROBE_S = 3.0
PASSWORDS = "`pifleet access init` makes passwords and certificates; see infra/README.md"


def check_access(redis: Redis, redis_url: str) -> Finding:
    """Tell who can get in: everybody, everybody here, or whoever has a password."""
    place = urlsplit(client_url(redis_url))
    if place.scheme == "unix":
        return ok(SUBJECT, "a socket of this machine")
    is_open = not is_loopback(place.hostname or "127.0.0.1") or _listens_to_all(redis)
    if _lets_strangers_in(redis_url):
        if is_open:
            found = "open to the network, without a password: whoever reaches it runs the fleet"
            return fail(SUBJECT, found, PASSWORDS)
        return warn(SUBJECT, "no password; loopback only", "set one before a Pi joins")
    if is_open and place.scheme != "rediss":
        found = "asks for a password, and lets the network read it: no TLS"
        return warn(SUBJECT, found, PASSWORDS)
    return ok(SUBJECT, "asks for a password" + (", by TLS" if place.scheme == "rediss" else ""))


def _lets_strangers_in(redis_url: str) -> bool:
    from redis.exceptions import RedisError

    parts = urlsplit(redis_url)
    nameless = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
    with make_client(nameless, timeout_s=PROBE_S) as stranger:
        try:
            return bool(stranger.ping())
        except RedisError:
            return False


def _listens_to_all(redis: Redis) -> bool:
    """Say whether other machines reach it; False where only its admin may know."""
    from redis.exceptions import RedisError

    try:
        bind = str(redis.config_get("bind").get("bind", ""))
        is_protected = redis.config_get("protected-mode").get("protected-mode") == "yes"
    except RedisError:
        return False
    addresses = [address.lstrip("-") for address in bind.split()]
    listens = not addresses or any(not is_loopback(address) for address in addresses)
    return listens and not (is_protected and _has_no_password(redis))


def _has_no_password(redis: Redis) -> bool:
    """Say whether protected mode is in force: it is only where nobody has set a password."""
    return not redis.config_get("requirepass").get("requirepass")

"""Look at the broker: reachable, new enough, keeps what it is given, and not open to everyone."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Iterator
from importlib.metadata import version
from urllib.parse import parse_qs, urlsplit, urlunsplit

from redis import Redis
from redis.exceptions import NoPermissionError, RedisError, ResponseError

from broker.connection import client_url, connect, make_client, masked, redis_errors
from broker.heartbeats import look
from broker.repair import repair_all
from contract.errors import FleetError, UserError
from contract.settings import CA_QUERY
from pifleet.local.machine_checks import Finding, fail, ok, warn
from pifleet.local.up import is_loopback

MOST_SKEW_S = 2.0  # a heartbeat is dated by its sender and judged by the producer
SUBJECT = "redis"
SETTING = "redis url"
ACCESS = "redis access"
CERTIFICATE = "redis certificate"
VERSION = "version"
ENDS_SOON_DAYS = 30
SETTINGS = ("maxmemory-policy", "appendonly")
PROBE_S = 3.0
PASSWORDS = "`pifleet access init` makes passwords and certificates; see infra/README.md"


def check_redis(redis_url: str) -> Iterator[Finding]:
    """Look at the broker and its settings; stops after the first line if it is not there."""
    try:
        client = connect(redis_url)
    except UserError as error:  # a URL or a password that somebody has to mend
        yield fail(SETTING, str(error), "")  # the sentence says what to do
        return
    except FleetError as error:
        yield fail(SUBJECT, str(error), "")
        return
    with client as redis:
        info = redis.info("server")
        yield ok(SUBJECT, f"{masked(redis_url)} is {info['redis_version']}")
        yield check_clock(redis, time.time())
        yield from check_certificate(redis_url, time.time())
        yield check_versions(redis, version("pifleet"))
        yield from check_settings(redis)
        yield check_access(redis, redis_url)


def check_clock(redis: Redis, now: float) -> Finding:
    """Compare this machine's clock with the broker's."""
    seconds, microseconds = redis.time()
    skew = now - (seconds + microseconds / 1e6)
    if abs(skew) > MOST_SKEW_S:
        found = f"{abs(skew):.1f} s {'ahead of' if skew > 0 else 'behind'} the broker's"
        return warn("clock", found, "let both follow a time server (timedatectl set-ntp true)")
    return ok("clock", f"within {MOST_SKEW_S:.0f} s of the broker's")


def check_certificate(redis_url: str, now: float) -> Iterator[Finding]:
    """Look at when the broker's certificate ends; nothing where it has none."""
    place = urlsplit(client_url(redis_url))
    if place.scheme != "rediss" or place.hostname is None:
        return
    authority = parse_qs(place.query).get(CA_QUERY, [None])[0]
    context = ssl.create_default_context(cafile=authority)
    address = (place.hostname, place.port or 6379)
    try:
        with (
            socket.create_connection(address, timeout=PROBE_S) as plain,
            context.wrap_socket(plain, server_hostname=place.hostname) as secured,
        ):
            ends = ssl.cert_time_to_seconds(str((secured.getpeercert() or {})["notAfter"]))
    except (OSError, KeyError) as error:
        yield warn(CERTIFICATE, f"cannot be looked at: {error}", "")
        return
    days = (ends - now) / 86400
    if days < ENDS_SOON_DAYS:
        advice = "`pifleet access renew` on the control node; no Pi is visited"
        yield warn(CERTIFICATE, f"ends in {days:.0f} days", advice)
    else:
        yield ok(CERTIFICATE, f"good for {days:.0f} days")


def check_versions(redis: Redis, own: str) -> Finding:
    """Compare this machine's version with that of the workers that can be heard."""
    try:
        workers = look(redis).workers
    except NoPermissionError:  # as it should be on a Pi: infra/users.acl
        return ok(VERSION, f"{own}; only the control node may see the fleet's")
    except ResponseError as error:
        return fail("redis keys", str(error), "`pifleet doctor --repair`, as the broker's admin")
    others = sorted({one.version for one in workers} - {own})
    if others:
        found = f"{own} here, {', '.join(others)} in the fleet"
        return warn(VERSION, found, "run the same everywhere: upgrade.yml, or infra/install.sh")
    return ok(VERSION, f"{own}, as all {len(workers)} workers have" if workers else own)


def check_settings(redis: Redis) -> Iterator[Finding]:
    """Look at eviction and durability."""
    try:
        config = {name: _setting(redis, name) for name in SETTINGS}
    except NoPermissionError:  # as it should be: infra/users.acl lets nobody but admin see them
        yield ok("redis settings", "only its admin may see them")
        return
    except RedisError as error:
        found = f"cannot be asked: {error}"
        yield warn("redis settings", found, "make sure of noeviction and appendonly yes yourself")
        return
    yield _check_eviction(config["maxmemory-policy"])
    yield _check_append_only(config["appendonly"])


def check_access(redis: Redis, redis_url: str) -> Finding:
    """Find out who can get in: everybody, everybody here, or whoever has a password.

    By trying, and not by what the broker's settings promise.
    """
    place = urlsplit(client_url(redis_url))
    if place.scheme == "unix":
        return ok(ACCESS, "a socket of this machine")
    is_open = not is_loopback(place.hostname or "127.0.0.1") or _listens_to_all(redis)
    if _lets_strangers_in(redis_url):
        if is_open:
            found = "open to the network, without a password: whoever reaches it runs the fleet"
            return fail(ACCESS, found, PASSWORDS)
        return warn(ACCESS, "no password; loopback only", "set one before a Pi joins")
    if is_open and place.scheme != "rediss":
        found = "asks for a password, and lets the network read it: no TLS"
        return warn(ACCESS, found, PASSWORDS)
    return ok(ACCESS, "asks for a password" + (", by TLS" if place.scheme == "rediss" else ""))


def _setting(redis: Redis, name: str) -> str:
    return str(redis.config_get(name).get(name, ""))  # several at once came with Redis 7


def _check_eviction(policy: str) -> Finding:
    if policy != "noeviction":
        advice = "redis-cli CONFIG SET maxmemory-policy noeviction, and in redis.conf"
        return fail("redis maxmemory-policy", f"{policy}: a full Redis drops chunks", advice)
    return ok("redis maxmemory-policy", policy)


def _check_append_only(append_only: str) -> Finding:
    if append_only != "yes":
        advice = "appendonly yes in redis.conf; `submit` survives without, `--detach` does not"
        return warn("redis appendonly", "no: a restart forgets what was sent", advice)
    return ok("redis appendonly", "yes")


def _lets_strangers_in(redis_url: str) -> bool:
    parts = urlsplit(redis_url)
    nameless = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
    with make_client(nameless, timeout_s=PROBE_S) as stranger:
        try:
            return bool(stranger.ping())
        except RedisError:
            return False


def _listens_to_all(redis: Redis) -> bool:
    """Say whether other machines reach it; False where only its admin may know."""
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


def repair_broker(redis_url: str) -> str:
    """Remove the keys that cannot be ours as they are, and say which.

    Raises:
        ServiceError: the broker is away, or this user may not list its keys.
    """
    with connect(redis_url) as client, redis_errors(redis_url):
        wrong = repair_all(client)
    return f"removed, of a wrong type: {', '.join(wrong)}" if wrong else "nothing to repair"

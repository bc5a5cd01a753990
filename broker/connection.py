"""A redis-py client with every timeout set, and one clear sentence when there is no Redis."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from broker.sentinel import FORM, is_sentinel, master_client
from broker.sentinel import parse as parse_sentinel
from contract.errors import AccessError, FleetError, ServiceError, SettingsError

if TYPE_CHECKING:
    from redis import Redis

log = logging.getLogger(__name__)

OLDEST_REDIS = (6, 2)  # XADD NOMKSTREAM came with 6.2
SHOWN_OPTIONS = frozenset(("db", "virtual_host", "ssl_ca_certs", "ssl_cert_reqs"))  # of a URL
TOO_EARLY = "certificate is not yet valid"  # as OpenSSL says it
SOCKET_TIMEOUT_S = 10.0  # a half-open connection costs a worker up to two of these
LOADING_S = 600.0  # a Pi's card reads some 10 MB of append-only file a second
LOADING_POLL_S = 0.2


def connect(redis_url: str) -> Redis:
    """Connect, and check that the server is one that we can use; wait while it loads its data.

    Raises:
        SettingsError: the URL cannot be parsed.
        AccessError: the server refuses us.
        ServiceError: the server is absent, loads for too long, or is too old.
    """
    client = make_client(redis_url)
    with redis_errors(redis_url):
        _check_version(client, redis_url)
        _wait_loaded(client, redis_url)
    return client


def make_client(redis_url: str, *, timeout_s: float = SOCKET_TIMEOUT_S) -> Redis:
    """Make a client without connecting: for what starts while Redis may be away.

    Raises:
        SettingsError: the URL cannot be parsed.
    """
    from redis import Redis

    url = client_url(redis_url)
    options: dict[str, Any] = {
        "socket_timeout": timeout_s,
        "socket_connect_timeout": 5.0,
        "health_check_interval": 25,
        "protocol": 2,  # one form of answer, from any server and any redis-py
    }
    if not url.startswith("unix://"):  # a socket in the file system has none, and redis-py says so
        options["socket_keepalive"] = True
    try:
        if is_sentinel(url):
            return master_client(parse_sentinel(url), **options)
        return Redis.from_url(url, **options)
    except (ValueError, TypeError) as error:
        accepted = f"redis://[user:password@]host:port/db, rediss://…, unix:///path or {FORM}"
        raise SettingsError("PIFLEET_REDIS_URL", masked(redis_url), accepted) from error


@contextmanager
def redis_errors(redis_url: str) -> Iterator[None]:
    """Turn redis-py's and kombu's errors into one of ours, with one sentence.

    Raises:
        AccessError: Redis refuses us, and will again.
        ServiceError: anything else; it may pass.
    """
    from kombu.exceptions import OperationalError
    from redis.exceptions import RedisError

    try:
        yield
    except (RedisError, OperationalError) as error:
        kind: type[FleetError] = AccessError if is_refused(error) else ServiceError
        raise kind(sentence(redis_url, error)) from error


def is_refused(error: BaseException) -> bool:
    """Tell whether Redis knows us and says no, so that trying again cannot help."""
    from redis import exceptions

    refusals = (
        exceptions.AuthenticationError,
        exceptions.AuthenticationWrongNumberOfArgsError,
        exceptions.AuthorizationError,
        exceptions.NoPermissionError,
    )
    return isinstance(error, refusals) or isinstance(error.__cause__, refusals)  # kombu wraps it


def sentence(redis_url: str, error: Exception) -> str:
    """Say in one line which Redis failed, how, and what to do."""
    advice = "start one with `pifleet up`, or set PIFLEET_REDIS_URL"
    found = str(error).partition(" : <")[0]  # Sentinel's error goes on with its own innards
    said = found.upper()  # redis-py drops the WRONGPASS and keeps the sentence
    if any(word in said for word in ("AUTH", "PASSWORD", "WRONGPASS", "NOPERM")):
        advice = "check the user and password in PIFLEET_REDIS_URL; a revoked machine joins anew"
    if "NO PERMISSION" in said:
        advice = "this user lacks a right: use the user of this role, see infra/users.acl"
    if "WRONGTYPE" in said:
        advice = "`pifleet doctor --repair`, as its admin, removes what is of a wrong type"
    if "CERTIFICATE" in said:
        advice = _certificate_advice(said)
    return f"Redis at {masked(redis_url)}: {found} ({advice})"


def is_before_certificate(error: BaseException) -> bool:
    """Tell whether a connection failed because this machine's clock is behind: it may have none."""
    return TOO_EARLY in str(error)


def _certificate_advice(said: str) -> str:
    clock = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
    if TOO_EARLY.upper() in said:
        return f"it is {clock} here: let this machine find a time server (timedatectl)"
    if "HAS EXPIRED" in said:
        return f"`pifleet access renew` makes another, if it is {clock} as this machine has it"
    return "set PIFLEET_REDIS_CA to the fleet's ca.crt, and call the broker by its name in it"


def masked(redis_url: str) -> str:
    """Write the URL without what is secret in it: of its query only what is known is shown."""
    if "://" not in redis_url:
        return "(a URL that cannot be parsed)" if "@" in redis_url else redis_url
    try:
        parts = urlsplit(redis_url)
        _ = parts.password  # raises on a host that is none
    except ValueError:
        return "(a URL that cannot be parsed)"
    login, at, host = parts.netloc.rpartition("@")
    user, colon, _ = login.partition(":")
    shown = f"{user}{colon}{'***' if colon else ''}{at}{host}"
    query = "&".join(_masked_option(option) for option in parts.query.split("&") if option)
    address = f"{parts.scheme}://{shown}{parts.path}"
    return f"{address}?{query}" if query else address


def _masked_option(option: str) -> str:
    name, _, value = option.partition("=")
    return f"{name}={value if name in SHOWN_OPTIONS else '***'}"


def _check_version(client: Redis, redis_url: str) -> None:
    info = client.info("server")
    version = str(info.get("redis_version", "0"))
    found = tuple(int(part) for part in version.split(".")[:2])
    if found < OLDEST_REDIS:
        oldest = ".".join(str(part) for part in OLDEST_REDIS)
        raise ServiceError(
            f"Redis at {masked(redis_url)} is {version}: pifleet needs {oldest} or newer"
            " (Raspberry Pi OS Bookworm has 7.0)"
        )


def _wait_loaded(client: Redis, redis_url: str) -> None:
    """Wait for a server that reads its file after a restart: it refuses nearly all until then."""
    from redis.exceptions import BusyLoadingError

    give_up_at = time.monotonic() + LOADING_S
    is_said = False
    while True:
        try:
            client.ping()
            return
        except BusyLoadingError:
            if time.monotonic() > give_up_at:
                raise
        if not is_said:
            log.warning("Redis at %s is loading its data: waiting for it", masked(redis_url))
            is_said = True
        time.sleep(LOADING_POLL_S)  # polling with a deadline: a server cannot call us


def client_url(redis_url: str) -> str:
    """Spell a broker URL as redis-py wants it: a socket is ``unix://`` there."""
    if redis_url.startswith("redis+socket://"):
        place, _, query = redis_url.removeprefix("redis+socket://").partition("?")
        return f"unix://{place}?{query.replace('virtual_host=', 'db=')}"
    return redis_url

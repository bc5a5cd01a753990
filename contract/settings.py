"""The settings that every program of a fleet reads, from flags, then ``PIFLEET_*``, then defaults.

Only ``from_env`` looks at an environment; everything else gets a frozen ``Settings``.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from contract.clocks import USUAL, Clocks
from contract.errors import SettingsError

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

LAN_WORD = "lan"
LAN = tuple(
    ipaddress.ip_network(network)
    for network in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")
)  # where fleets and their folders live, and the operator's router too

CA_QUERY = "ssl_ca_certs"
DEFAULT_REDIS_URL = "redis://127.0.0.1:6379/0"


@dataclass(frozen=True, slots=True)
class Settings:
    """What a program needs to know before it starts.

    Attributes:
        redis_url: the broker; ``PIFLEET_REDIS_URL``. Masked in ``repr``: it may hold a password.
            For ``rediss://``, ``PIFLEET_REDIS_CA`` names the file of a private authority.
        fetch_allow: networks that a worker may fetch from beyond the default policy;
            ``PIFLEET_FETCH_ALLOW``, CIDR forms or the word ``lan``, divided by commas.
        cache_dir: where a worker keeps models; ``PIFLEET_CACHE_DIR``, default
            ``$XDG_CACHE_HOME/pifleet``.
        state_dir: where a producer keeps the list of its jobs; ``PIFLEET_STATE_DIR``, default
            ``$XDG_STATE_HOME/pifleet``.
        advertise_host: the name or address by which the fleet reaches this machine when it serves
            a folder; ``PIFLEET_ADVERTISE_HOST``, default the address it talks to Redis from.
        worker_name: ``PIFLEET_WORKER_NAME``, default the host's name.
        notify_socket: where systemd hears of a worker; ``NOTIFY_SOCKET``, which systemd sets.
        stalled_after_s: seconds after which a worker that gets none of the work that waits exits,
            to be started again; ``PIFLEET_STALLED_AFTER_S``.
        clocks: how often a worker is heard, and the patience that follows from it; the seconds
            between two heartbeats are ``PIFLEET_HEARTBEAT_S``, the same for a whole fleet.
        trusted_keys: a public key, or a folder of them; a worker then refuses every model that
            none of them has signed; ``PIFLEET_TRUSTED_KEYS``.
        is_traced: whether spans are sent; so where one of OpenTelemetry's own variables names a
            collector, such as ``OTEL_EXPORTER_OTLP_ENDPOINT``.
    """

    redis_url: str = field(default=DEFAULT_REDIS_URL, repr=False)
    fetch_allow: tuple[Network, ...] = ()
    cache_dir: Path = Path("~/.cache/pifleet")
    state_dir: Path = Path("~/.local/state/pifleet")
    advertise_host: str | None = None
    worker_name: str | None = None
    stalled_after_s: float = 60.0
    clocks: Clocks = USUAL
    notify_socket: str | None = None
    trusted_keys: Path | None = None
    is_traced: bool = False

    @classmethod
    def from_env(cls, env: Mapping[str, str], *, redis_url: str | None = None) -> Settings:
        """Read the settings.

        Args:
            env: ``os.environ``, or a test's.
            redis_url: a flag that wins over the environment.

        Raises:
            SettingsError: names the variable, its value and what is accepted.
        """
        home = Path(env.get("HOME", "~")).expanduser()
        cache = Path(env.get("XDG_CACHE_HOME") or home / ".cache") / "pifleet"
        state = Path(env.get("XDG_STATE_HOME") or home / ".local/state") / "pifleet"
        return cls(
            redis_url=with_authority(
                redis_url or env.get("PIFLEET_REDIS_URL") or DEFAULT_REDIS_URL,
                env.get("PIFLEET_REDIS_CA") or None,
            ),
            fetch_allow=parse_networks("PIFLEET_FETCH_ALLOW", env.get("PIFLEET_FETCH_ALLOW", "")),
            cache_dir=Path(env.get("PIFLEET_CACHE_DIR") or cache),
            state_dir=Path(env.get("PIFLEET_STATE_DIR") or state),
            advertise_host=env.get("PIFLEET_ADVERTISE_HOST") or None,
            worker_name=env.get("PIFLEET_WORKER_NAME") or None,
            notify_socket=env.get("NOTIFY_SOCKET") or None,
            stalled_after_s=parse_seconds(
                "PIFLEET_STALLED_AFTER_S", env.get("PIFLEET_STALLED_AFTER_S") or "60"
            ),
            clocks=Clocks(
                parse_seconds("PIFLEET_HEARTBEAT_S", env.get("PIFLEET_HEARTBEAT_S") or "2")
            ),
            trusted_keys=parse_path("PIFLEET_TRUSTED_KEYS", env.get("PIFLEET_TRUSTED_KEYS")),
            is_traced=names_collector(env),
        )


def with_authority(redis_url: str, authority: str | None) -> str:
    """Put the private authority's certificate into the URL, as redis-py and kombu both read it.

    Raises:
        SettingsError: there is no such file, or the URL does not use TLS.
    """
    path = parse_path("PIFLEET_REDIS_CA", authority)
    if path is None or CA_QUERY in redis_url:
        return redis_url
    if not redis_url.startswith(("rediss://", "sentinel://")):
        raise SettingsError("PIFLEET_REDIS_CA", authority, "a rediss:// PIFLEET_REDIS_URL with it")
    return f"{redis_url}{'&' if '?' in redis_url else '?'}{CA_QUERY}={quote(str(path), safe='/')}"


def names_collector(env: Mapping[str, str]) -> bool:
    """Tell whether OpenTelemetry's variables name a collector of traces, and do not turn it off.

    Source: https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables
    """
    is_off = env.get("OTEL_SDK_DISABLED", "").lower() == "true"
    named = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
    wanted = any(env.get(name) for name in named) and env.get("OTEL_TRACES_EXPORTER") != "none"
    return wanted and not is_off


def parse_path(name: str, value: str | None) -> Path | None:
    """Parse the path of something that must exist; None where nothing is set.

    Raises:
        SettingsError: there is nothing.
    """
    if not value:
        return None
    path = Path(value).expanduser()
    if not path.exists():
        raise SettingsError(name, value, "the path of something that exists and can be read")
    return path.absolute()


def parse_networks(name: str, value: str) -> tuple[Network, ...]:
    """Parse networks in CIDR form, divided by commas; ``lan`` stands for all private ones.

    Raises:
        SettingsError: one of them is no network.
    """
    parts = [part.strip() for part in value.split(",") if part.strip()]
    try:
        return tuple(network for part in parts for network in _networks(part))
    except ValueError:
        accepted = "lan, or networks such as 127.0.0.0/8 or fd00::/8, divided by commas"
        raise SettingsError(name, value, accepted) from None


def _networks(part: str) -> tuple[Network, ...]:
    return LAN if part.lower() == LAN_WORD else (ipaddress.ip_network(part),)


def parse_seconds(name: str, value: str) -> float:
    """Parse a positive number of seconds.

    Raises:
        SettingsError: it is none.
    """
    try:
        seconds = float(value)
    except ValueError:
        seconds = 0.0
    if not 0.0 < seconds < float("inf"):
        raise SettingsError(name, value, "a positive number of seconds")
    return seconds

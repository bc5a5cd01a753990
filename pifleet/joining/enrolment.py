"""A token for a user of one's own: what a Pi asks of the control node, and what that answers.

The Pi makes its password itself and sends the hash, which is all that the broker wants. It keeps
the password until it has an answer, so that it may ask again after whatever broke meanwhile, at the
cost of no second use.
"""

from __future__ import annotations

import hashlib
import http.client
import logging
import secrets
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from msgspec import Meta

from broker.messages import Message, from_json, printable
from contract.errors import (
    AccessError,
    FleetError,
    MessageError,
    OutputError,
    ServiceError,
    UserError,
)
from contract.files import atomic_write
from pifleet.joining.tokens import Token, fingerprint

log = logging.getLogger(__name__)

PATH, AUTHORITY_PATH = "/enrol", "/ca.crt"
PORT = 8765
MOST_BYTES = 10_000  # of either message, and of a certificate
TIMEOUT_S = 20.0
PASSWORD_BYTES = 32
SETTINGS, CERTIFICATE, PASSWORD = "pifleet.env", "ca.crt", "password"
REFUSED, RETRY = 403, 503
ENV = """\
# Written by `pifleet join`. infra/pifleet.env.example says what else may stand here.
PIFLEET_REDIS_URL={url}
PIFLEET_REDIS_CA={authority}
PIFLEET_WORKER_NAME={name}
# Lets it fetch from private addresses, the router's too, as `submit FOLDER` in a LAN needs.
PIFLEET_FETCH_ALLOW=lan
"""

Short = Annotated[str, Meta(max_length=200)]


class Request(Message, frozen=True, tag=1):
    """What a machine asks.

    Attributes:
        token: all of it.
        name: that it wants to have.
        password: SHA-256 of the password that it will use, hexadecimal.
    """

    token: Short
    name: Short
    password: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]


class Answer(Message, frozen=True, tag=1):
    """What it gets: where the broker is.

    Attributes:
        host: of the broker.
        port: of the broker.
        database: number in it.
        refusal: why it gets nothing; empty where it does.
    """

    host: Short = ""
    port: Annotated[int, Meta(ge=0, le=65535)] = 0
    database: Annotated[int, Meta(ge=0, le=1_000_000)] = 0
    refusal: Annotated[str, Meta(max_length=1000)] = ""


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer and its HTTP status, which says whether asking again may help."""

    answer: Answer
    status: int = 200


def reply_to(body: bytes, admit: Callable[[Request], Answer], *, peer: str) -> Reply:
    """Answer a request, and log who came in; never a secret.

    Args:
        body: of the request, from anybody.
        admit: lets the machine in, or raises.
        peer: the address that it came from.
    """
    try:
        request = from_json(Request, body, limit=MOST_BYTES)
        answer = admit(request)
    except (ServiceError, OutputError) as error:
        log.warning("not-enrolled from=%s retry=yes error=%s", peer, error)
        return Reply(Answer(refusal=f"the control node cannot: {error}"), RETRY)
    except FleetError as error:
        log.warning("not-enrolled from=%s error=%s", peer, error)
        return Reply(Answer(refusal=str(error)), REFUSED)
    token = request.token.partition(".")[0]
    log.info("enrolled name=%s token=%s from=%s", request.name, printable(token), peer)
    return Reply(answer)


def enrol(at: str, token: Token, *, name: str, folder: Path) -> Path:
    """Trade a token for settings, and write them.

    Args:
        at: address of the control node, ``https://host:port``.
        token: that lets this machine in.
        name: that it shall have.
        folder: for settings and certificate, such as ``/etc/pifleet``.

    Returns:
        The settings file.

    Raises:
        AccessError: the control node refuses.
        ServiceError: it cannot be asked.
        UserError: the address is none, or another fleet answers there.
        OSError: the folder cannot be written.
    """
    folder.mkdir(mode=0o755, parents=True, exist_ok=True)
    certificate = folder / CERTIFICATE
    if not certificate.exists():
        _write(certificate, fetch_authority(at, token.fingerprint), is_secret=False)
    if fingerprint(certificate.read_bytes()) != token.fingerprint:
        raise UserError(f"{certificate} is another fleet's: remove it, or use a token of that one")
    password = _own_password(folder / PASSWORD)
    hashed = hashlib.sha256(password.encode()).hexdigest()
    request = Request(token=str(token), name=name, password=hashed)
    answer = _ask(at, request, certificate)
    shown = f"[{answer.host}]" if ":" in answer.host else answer.host
    url = f"rediss://{name}:{password}@{shown}:{answer.port}/{answer.database}"
    settings = folder / SETTINGS
    _write(settings, settings_text(url, certificate, name).encode(), is_secret=True)
    (folder / PASSWORD).unlink()
    return settings


def settings_text(url: str, authority: Path, name: str) -> str:
    """Write the settings file of a Pi; the folder of models is the unit's to name."""
    return ENV.format(url=url, authority=authority, name=name)


def fetch_authority(at: str, wanted: str) -> bytes:
    """Fetch the fleet's certificate from whoever answers, and take it only if it is the right one.

    Raises:
        UserError: it is another fleet's.
        ServiceError: it cannot be had.
    """
    anybody = ssl.create_default_context()
    anybody.check_hostname = False
    anybody.verify_mode = ssl.CERT_NONE  # the fingerprint says more than a certificate could
    status, certificate = _exchange(at, "GET", AUTHORITY_PATH, context=anybody)
    if status != 200 or fingerprint(certificate) != wanted:
        raise UserError(f"{at} is not the control node of this token's fleet: give --at")
    return certificate


def _ask(at: str, request: Request, certificate: Path) -> Answer:
    trusted = ssl.create_default_context(cafile=str(certificate))
    status, body = _exchange(at, "POST", PATH, body=request.to_json(), context=trusted)
    try:
        answer = from_json(Answer, body, limit=MOST_BYTES)
    except MessageError as error:
        raise ServiceError(f"{at} answers with HTTP {status}, and not as ours does") from error
    if answer.refusal:
        refused = AccessError if status == REFUSED else ServiceError
        raise refused(f"{at}: {printable(answer.refusal, most=1000)}")
    return answer


def _exchange(
    at: str, method: str, path: str, *, context: ssl.SSLContext, body: bytes | None = None
) -> tuple[int, bytes]:
    host, port = _place(at)
    connection = http.client.HTTPSConnection(host, port, timeout=TIMEOUT_S, context=context)
    try:
        connection.request(method, path, body=body)
        response = connection.getresponse()
        return response.status, response.read(MOST_BYTES + 1)
    except (OSError, http.client.HTTPException) as error:
        raise ServiceError(f"{at} cannot be asked: {_why(error)}") from error
    finally:
        connection.close()


def _why(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"{error.verify_message}; is the clock right, and is {CERTIFICATE} this fleet's?"
    return str(error) or type(error).__name__


def _place(at: str) -> tuple[str, int]:
    try:
        parts = urlsplit(at)
        host, port = parts.hostname, parts.port
    except ValueError:
        host = None
    if host is None or parts.scheme != "https":
        raise UserError(f"{at} is no address: give one such as https://192.168.1.10:{PORT}")
    return host, port or PORT


def _own_password(path: Path) -> str:
    """Keep one password until it is in the settings: an answer may have got lost."""
    if not path.exists():
        _write(path, secrets.token_urlsafe(PASSWORD_BYTES).encode(), is_secret=True)
    return path.read_text()


def _write(path: Path, data: bytes, *, is_secret: bool) -> None:
    with atomic_write(path, is_secret=is_secret) as file:
        file.write(data)

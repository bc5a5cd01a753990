"""Enrolment tokens: a secret that a machine trades for a user of its own, for a while and so often.

``tokens.json`` in the access folder holds their hashes, and who came in by which of them. A token
carries the fingerprint of the fleet's authority too, so that a machine that has nothing but the
token knows whom it may tell it.

Source: the secure form of the tokens of k3s, https://docs.k3s.io/cli/token.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass
from pathlib import Path

import msgspec

from contract.errors import AccessError, UserError
from pifleet.access.users_file import write_secret

TOKENS = "tokens.json"
SECRET_BYTES = 32
FINGERPRINT_LETTERS = 32  # 128 bits of SHA-256: nobody makes another file with the same
FORM = re.compile(r"([a-z0-9]{8})\.([\w-]{20,100})\.([0-9a-f]{32})", re.ASCII)
KEPT_S = 90 * 24 * 3600.0  # an ended token is listed so long, for whoever asks who came in by it
ADVICE = "make another on the control node: pifleet join --token"


@dataclass(frozen=True, slots=True)
class Token:
    """A token as a machine has it.

    Attributes:
        name: by which logs call it; no secret.
        secret: what counts.
        fingerprint: of the authority's certificate, see ``fingerprint``.
    """

    name: str
    secret: str
    fingerprint: str

    def __str__(self) -> str:
        return f"{self.name}.{self.secret}.{self.fingerprint}"

    def __repr__(self) -> str:
        return f"Token({self.name}.***)"


class Issued(msgspec.Struct):
    """A token as the control node keeps it.

    Attributes:
        hashed: SHA-256 of its secret: of that many random bits no slow hash is needed.
        until: Unix time at which it ends, seconds.
        uses: how many machines it lets in.
        only: the one name that it is for; empty for any.
        joined: who came in by it: the name, and the hash of its password.
    """

    hashed: str
    until: float
    uses: int
    only: str = ""
    joined: dict[str, str] = msgspec.field(default_factory=dict)


def parse_token(text: str) -> Token:
    """Read a token that somebody pasted.

    Raises:
        UserError: it is none.
    """
    found = FORM.fullmatch(text.strip())
    if found is None:
        raise UserError("that is no enrolment token: copy the whole line of `pifleet join --token`")
    return Token(*found.groups())


def fingerprint(certificate: bytes) -> str:
    """Shorten a certificate file to what a token carries: `sha256sum` gives the same."""
    return hashlib.sha256(certificate).hexdigest()[:FINGERPRINT_LETTERS]


def read_authority(folder: Path) -> bytes:
    """Read the certificate of the fleet's authority.

    Raises:
        UserError: the folder has none.
    """
    path = folder / "ca.crt"
    try:
        return path.read_bytes()
    except OSError as error:
        advice = "make the folder with `pifleet access init`"
        raise UserError(f"{path} cannot be read: {error.strerror} ({advice})") from error


def issue(folder: Path, *, uses: int, until: float, only: str = "") -> Token:
    """Make a token; who calls holds the folder's lock.

    Raises:
        UserError: the folder has no authority.
        OutputError: it cannot be written.
    """
    authority = read_authority(folder)
    name, secret = secrets.token_hex(4), secrets.token_urlsafe(SECRET_BYTES)
    issued = read_issued(folder)
    issued[name] = Issued(hashed=_hash(secret), until=until, uses=uses, only=only)
    write_issued(folder, issued)
    return Token(name, secret, fingerprint(authority))


def check(token: Token, issued: dict[str, Issued], *, name: str, hashed: str, now: float) -> Issued:
    """Say whether a machine may come in by a token.

    A machine that asks again, because it never got the answer, is let in without another use.

    Args:
        token: that it showed.
        issued: all tokens.
        name: that it wants.
        hashed: SHA-256 of its password.
        now: Unix time, seconds.

    Raises:
        AccessError: it may not.
    """
    known = issued.get(token.name)
    is_right = hmac.compare_digest(_hash(token.secret), known.hashed if known else _hash(""))
    if known is None or not is_right:
        raise AccessError(f"the token {token.name} is wrong ({ADVICE})")
    if now > known.until:
        raise AccessError(f"the token {token.name} has ended ({ADVICE})")
    if known.only not in ("", name):
        raise AccessError(f"the token {token.name} is for {known.only}, and this is {name!r}")
    if known.joined.get(name) != hashed and len(known.joined) >= known.uses:
        raise AccessError(f"the token {token.name} is used up: {known.uses} came in ({ADVICE})")
    return known


def read_issued(folder: Path) -> dict[str, Issued]:
    """Read all tokens of a folder.

    Raises:
        UserError: the file cannot be read.
    """
    path = folder / TOKENS
    if not path.exists():
        return {}
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, Issued])
    except (OSError, msgspec.MsgspecError) as error:
        raise UserError(f"{path} cannot be read: {error}; move it away") from error


def write_issued(folder: Path, issued: dict[str, Issued], *, now: float = 0.0) -> None:
    """Write all tokens, but for those that ended long ago.

    Raises:
        OutputError: they cannot be written.
    """
    kept = {name: one for name, one in issued.items() if one.until > now - KEPT_S}
    text = msgspec.json.format(msgspec.json.encode(kept), indent=1)
    write_secret(folder / TOKENS, text.decode())


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()

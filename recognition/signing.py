"""Models signed with Ed25519: who may say what a worker runs.

A signature is over a model's digest, which covers network, card and golden images alike. It lies
beside the file as ``MODEL.sig`` and beside the model in Redis. A signature says who made a model,
and not that it reads well: for that there are golden images.

``cryptography`` is imported where somebody signs or checks, and nowhere else: a Pi without trusted
keys does not need it.

Source: RFC 8032 (Ed25519).
"""

from __future__ import annotations

import base64
import binascii
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from contract.errors import ModelError, OutputError, SettingsError, UserError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import (
        Ed25519PrivateKey,
        Ed25519PublicKey,
    )

PURPOSE = b"pifleet model 1\n"  # a signature of ours means nothing else than this
PUBLIC_KEYS = "*.pub"
VARIABLE = "PIFLEET_TRUSTED_KEYS"


@dataclass(frozen=True, slots=True)
class TrustedKeys:
    """The public keys of those who may say what a worker runs."""

    keys: tuple[Ed25519PublicKey, ...]

    def check(self, digest: str, signature: str | None) -> None:
        """Make sure that one of them has signed a model.

        Args:
            digest: SHA-256 of the model file, which must have been checked before.
            signature: as ``sign_digest`` makes it; None where there is none.

        Raises:
            ModelError: nobody has, or somebody else.
        """
        from cryptography.exceptions import InvalidSignature

        advice = "sign it with `pifleet models sign`, by a key that this worker trusts"
        if signature is None:
            raise ModelError(f"model {digest[:12]} is not signed: {advice}")
        given = _decode(signature)
        for key in self.keys:
            try:
                key.verify(given, _message(digest))
            except InvalidSignature:
                continue
            return
        raise ModelError(f"model {digest[:12]} is signed by nobody whom we trust: {advice}")


def load_trusted(path: Path) -> TrustedKeys:
    """Load a public key, or all of a folder.

    Raises:
        SettingsError: there is none, or one that is none.
    """
    files = sorted(path.glob(PUBLIC_KEYS)) if path.is_dir() else [path]
    if not files:
        raise SettingsError(VARIABLE, str(path), f"a folder with public keys ({PUBLIC_KEYS})")
    return TrustedKeys(tuple(_load_public(file) for file in files))


def make_key(path: Path) -> Path:
    """Write a new private key, for its owner's eyes, and beside it the public one.

    Returns:
        The path of the public key, which every worker must have.

    Raises:
        OutputError: there is a file already, or it cannot be written.
    """
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = Ed25519PrivateKey.generate()
    pem = serialization.Encoding.PEM
    private = key.private_bytes(
        pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = path.with_name(path.name + ".pub")
    try:
        _write_new(path, private, mode=0o600)
        subject_info = serialization.PublicFormat.SubjectPublicKeyInfo
        _write_new(public, key.public_key().public_bytes(pem, subject_info), mode=0o644)
    except OSError as error:
        raise OutputError(f"{error.filename} cannot be written: {error.strerror}") from error
    return public


def sign_digest(digest: str, key_file: Path) -> str:
    """Sign a model by its digest: a line of Base64.

    Raises:
        UserError: the file is no private key of ours.
    """
    signed = _load_private(key_file).sign(_message(digest))
    return base64.b64encode(signed).decode()


def signature_path(model: Path) -> Path:
    """Name the file that a model's signature lies in."""
    return model.with_name(model.name + ".sig")


def read_signature(model: Path) -> str | None:
    """Read the signature that lies beside a model; None where there is none.

    Raises:
        ModelError: the file cannot be read, or holds no signature.
    """
    path = signature_path(model)
    try:
        text = path.read_text().strip()
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise ModelError(f"signature {path} cannot be read: {error}") from error
    _decode(text)
    return text


def _message(digest: str) -> bytes:
    return PURPOSE + digest.encode()


def _decode(signature: str) -> bytes:
    try:
        return base64.b64decode(signature, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ModelError(f"{signature!r:.40} is no signature: {error}") from error


def _load_public(file: Path) -> Ed25519PublicKey:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    accepted = "public keys as `pifleet models keygen` writes them"
    try:
        key = load_pem_public_key(file.read_bytes())
    except (OSError, ValueError) as error:
        raise SettingsError(VARIABLE, str(file), accepted) from error
    if not isinstance(key, Ed25519PublicKey):
        raise SettingsError(VARIABLE, str(file), accepted)
    return key


def _load_private(file: Path) -> Ed25519PrivateKey:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    advice = "make one with `pifleet models keygen`"
    try:
        key = load_pem_private_key(file.read_bytes(), password=None)
    except (OSError, ValueError, TypeError) as error:
        raise UserError(f"{file} is no private key: {error} ({advice})") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise UserError(f"{file} is a key of another kind: {advice}")
    return key


def _write_new(path: Path, data: bytes, *, mode: int) -> None:
    """Write a file that must not exist yet: a key that is overwritten is lost."""
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(data)

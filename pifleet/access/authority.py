"""A private certificate authority for one fleet, and the certificate of its broker."""

from __future__ import annotations

import ipaddress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from contract.errors import OutputError, UserError
from pifleet.access.users_file import write_secret

AUTHORITY_LIFE = timedelta(days=3650)  # every Pi holds its certificate: renewing is a visit to all
SERVER_LIFE = timedelta(days=825)  # the most that some TLS libraries accept
SKEW = timedelta(days=1)  # a Pi without a clock chip may be behind until it finds a time server

Key = ec.EllipticCurvePrivateKey


def make_authority(folder: Path) -> None:
    """Write ``ca.key`` and ``ca.crt``.

    Raises:
        UserError: there is an authority already; making another would lock every Pi out.
        OutputError: they cannot be written.
    """
    if (folder / "ca.key").exists():
        raise UserError(f"{folder} has an authority already: `pifleet access renew` keeps it")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "pifleet private authority")])
    builder = (
        _builder(name, name, key, AUTHORITY_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(is_authority=True), critical=True)
    )
    _write_key(folder / "ca.key", key)
    _write_certificate(folder / "ca.crt", builder.sign(key, hashes.SHA256()))


def make_server_certificate(folder: Path, hosts: tuple[str, ...], *, name: str = "server") -> None:
    """Write ``server.key`` and ``server.crt``, signed by the folder's authority.

    Args:
        folder: with ``ca.key`` and ``ca.crt``.
        hosts: names and addresses by which the fleet calls the broker.
        name: of the two files: another server than the broker has its own.

    Raises:
        UserError: the folder has no authority, or one that cannot be read.
        OutputError: they cannot be written.
    """
    authority_key, authority = _load_authority(folder)
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, hosts[0][:64])])
    own_key = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key())
    builder = (
        _builder(subject, authority.subject, key, SERVER_LIFE)
        .add_extension(x509.SubjectAlternativeName([_host(host) for host in hosts]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(is_authority=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(own_key, critical=False)
    )
    _write_key(folder / f"{name}.key", key)
    _write_certificate(folder / f"{name}.crt", builder.sign(authority_key, hashes.SHA256()))


def _builder(
    subject: x509.Name, issuer: x509.Name, key: Key, life: timedelta
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - SKEW)
        .not_valid_after(now + life)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _usage(*, is_authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not is_authority,
        key_cert_sign=is_authority,
        crl_sign=is_authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _load_authority(folder: Path) -> tuple[Key, x509.Certificate]:
    try:
        key = serialization.load_pem_private_key((folder / "ca.key").read_bytes(), password=None)
        authority = x509.load_pem_x509_certificate((folder / "ca.crt").read_bytes())
    except (OSError, ValueError) as error:
        advice = "make one with `pifleet access init`"
        raise UserError(f"the authority in {folder} cannot be read: {error} ({advice})") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise UserError(f"{folder / 'ca.key'} is not an authority of ours")
    return key, authority


def _write_key(path: Path, key: Key) -> None:
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    write_secret(path, pem.decode())


def _write_certificate(path: Path, certificate: x509.Certificate) -> None:
    try:
        path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        path.chmod(0o644)
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror}") from error

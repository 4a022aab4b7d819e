"""An authority and certificates for development: TLS at the gateway, mutual TLS between services."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from ctl.failures import CtlError

AUTHORITY = "ca"
CLIENT = "client"
PARTS = ("gateway", "booking", "availability", "realtime", CLIENT)
HOSTS = ("localhost", "127.0.0.1", "::1")
_BACKDATED = timedelta(minutes=5)
_LEFT_MIN = timedelta(days=1)
_ORGANISATION = "medforall development"


class CertificatesExistError(CtlError):
    """There are certificates already."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate and its private key, as files."""

    certificate_file: Path
    key_file: Path


@dataclass(frozen=True, slots=True)
class _Issuer:
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey


def make_certificates(
    directory: Path, *, days: int = 90, hosts: tuple[str, ...] = HOSTS, now: datetime | None = None
) -> dict[str, Pair]:
    """An authority (`ca`) and a certificate for each process, for servers and clients alike, and for one `client`.

    Keys are EC P-256, files of keys have mode 600. Raises CertificatesExistError rather than overwrite anything.
    """
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    starts = (now or datetime.now(UTC)) - _BACKDATED
    ends = starts + timedelta(days=days)
    authority = _make_authority(starts, ends)
    pairs = {AUTHORITY: _save(directory, AUTHORITY, authority.certificate, authority.key)}
    for name in PARTS:
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = _sign(_leaf(name, key.public_key(), hosts, starts, ends), authority)
        pairs[name] = _save(directory, name, certificate, key)
    return pairs


def ensure_certificates(directory: Path, *, now: datetime | None = None) -> dict[str, Pair]:
    """The pairs in `directory`, made when there is none. Raises CtlError when they are not whole or soon end."""
    if not directory.exists():
        return make_certificates(directory, now=now)
    check_certificates(directory, now=now)
    return _pairs(directory)


def check_certificates(directory: Path, *, now: datetime | None = None) -> datetime:
    """When the first of the certificates in `directory` ends. Raises CtlError when that is soon, or one is missing."""
    anew = f"Stop the suite, remove {directory}, and they are made again."
    try:
        ends = min(_ends(pair) for pair in _pairs(directory).values())
    except (OSError, ValueError) as error:
        raise CtlError(f"The certificates in {directory} cannot be read: {error}.", hint=anew) from error
    if ends - (now or datetime.now(UTC)) < _LEFT_MIN:
        raise CtlError(f"The certificates in {directory} end at {ends:%Y-%m-%d %H:%M} UTC.", hint=anew)
    return ends


def _pairs(directory: Path) -> dict[str, Pair]:
    return {name: _pair(directory, name) for name in (AUTHORITY, *PARTS)}


def _ends(pair: Pair) -> datetime:
    """When the pair's certificate ends; OSError when one of its files cannot be read, ValueError when it is none."""
    pair.key_file.read_bytes()
    return x509.load_pem_x509_certificate(pair.certificate_file.read_bytes()).not_valid_after_utc


def _make_authority(starts: datetime, ends: datetime) -> _Issuer:
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name("authority")
    usage = x509.KeyUsage(
        digital_signature=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=True,
        encipher_only=False,
        decipher_only=False,
    )
    builder = (
        _builder(name, name, key.public_key(), starts, ends)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    return _Issuer(builder.sign(key, hashes.SHA256()), key)


def _leaf(
    name: str, public_key: ec.EllipticCurvePublicKey, hosts: tuple[str, ...], starts: datetime, ends: datetime
) -> x509.CertificateBuilder:
    names = x509.SubjectAlternativeName([_host(host) for host in (*hosts, name)])
    uses = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
    return (
        _builder(_name(name), _name("authority"), public_key, starts, ends)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(names, critical=False)
        .add_extension(uses, critical=False)
    )


def _sign(builder: x509.CertificateBuilder, issuer: _Issuer) -> x509.Certificate:
    identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key())
    return builder.add_extension(identifier, critical=False).sign(issuer.key, hashes.SHA256())


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    public_key: ec.EllipticCurvePublicKey,
    starts: datetime,
    ends: datetime,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(starts)
        .not_valid_after(ends)
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, _ORGANISATION),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _save(directory: Path, name: str, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> Pair:
    pair = _pair(directory, name)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    try:
        _write_new(pair.key_file, private, mode=0o600)
        _write_new(pair.certificate_file, certificate.public_bytes(serialization.Encoding.PEM), mode=0o644)
    except FileExistsError as error:
        raise CertificatesExistError(
            f"{error.filename} is there already, and is not overwritten.", hint="Name another directory."
        ) from error
    return pair


def _pair(directory: Path, name: str) -> Pair:
    return Pair(directory / f"{name}.pem", directory / f"{name}.key")


def _write_new(path: Path, content: bytes, *, mode: int) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(content)

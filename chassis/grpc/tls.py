"""TLS of servers and channels, from settings."""

from __future__ import annotations

from pathlib import Path

import grpc

from chassis.config import ConfigError
from chassis.settings import TlsSettings


def server_credentials(tls: TlsSettings) -> grpc.ServerCredentials | None:
    """The server's credentials, or None when TLS is not configured. Raises ConfigError."""
    if tls.certificate_file is None and tls.key_file is None:
        if tls.require_client_certificate:
            raise ConfigError(
                "MEDFORALL_TLS_REQUIRE_CLIENT_CERT is on, but MEDFORALL_TLS_CERT_FILE is not set."
            )
        return None
    pair = _key_pair(tls)
    authorities = _read_optional("MEDFORALL_TLS_CA_FILE", tls.ca_file)
    if tls.require_client_certificate and authorities is None:
        raise ConfigError("MEDFORALL_TLS_REQUIRE_CLIENT_CERT is on, but MEDFORALL_TLS_CA_FILE is not set.")
    return grpc.ssl_server_credentials(
        [pair], root_certificates=authorities, require_client_auth=tls.require_client_certificate
    )


def channel_credentials(tls: TlsSettings) -> grpc.ChannelCredentials | None:
    """A channel's credentials, with this process's certificate if it has one.

    None when TLS is not configured.
    """
    if tls.ca_file is None:
        return None
    authorities = _read("MEDFORALL_TLS_CA_FILE", tls.ca_file)
    if tls.certificate_file is None:
        return grpc.ssl_channel_credentials(root_certificates=authorities)
    key, chain = _key_pair(tls)
    return grpc.ssl_channel_credentials(
        root_certificates=authorities, private_key=key, certificate_chain=chain
    )


def _key_pair(tls: TlsSettings) -> tuple[bytes, bytes]:
    if tls.certificate_file is None or tls.key_file is None:
        raise ConfigError("MEDFORALL_TLS_CERT_FILE and MEDFORALL_TLS_KEY_FILE must be set together.")
    return _read("MEDFORALL_TLS_KEY_FILE", tls.key_file), _read(
        "MEDFORALL_TLS_CERT_FILE", tls.certificate_file
    )


def _read_optional(variable: str, path: Path | None) -> bytes | None:
    return None if path is None else _read(variable, path)


def _read(variable: str, path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{variable} names {path}, which cannot be read: {error.strerror}.") from error

"""Channels between services: TLS, mutual TLS, and the caller's context handed on."""

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import IPv4Address
from pathlib import Path
from types import ModuleType
from typing import Any

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from chassis.auth.jwks import JwksError, KeyStore, jwks_source
from chassis.auth.signing import SigningKey, public_jwks
from chassis.config import ConfigError
from chassis.grpc.client import aio_channel, sync_channel
from chassis.grpc.context import CallContext, use_call
from chassis.grpc.tls import channel_credentials, server_credentials
from chassis.settings import TlsSettings
from chassis.tracing import use_traceparent
from tests.integration.chassis.conftest import CLINIC, Served

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Authority:
    """Issues certificates of its own into a folder."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder / name
        self._folder.mkdir()
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self._certificate = self._build(self._name, self._key.public_key(), is_authority=True)
        self.file = self._write("ca.pem", self._certificate.public_bytes(serialization.Encoding.PEM))

    def issue(self, name: str) -> TlsSettings:
        """Settings of a process with a certificate for `name` that trusts this authority."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        certificate = self._build(subject, key.public_key(), is_authority=False)
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return TlsSettings(
            certificate_file=self._write(f"{name}.pem", certificate.public_bytes(serialization.Encoding.PEM)),
            key_file=self._write(f"{name}.key", private),
            ca_file=self.file,
        )

    def _build(self, subject: x509.Name, key: Any, *, is_authority: bool) -> x509.Certificate:
        now = datetime.now(UTC)
        names = x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))])
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(hours=1))
            .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
            .add_extension(names, critical=False)
            .sign(self._key, hashes.SHA256())
        )

    def _write(self, name: str, content: bytes) -> Path:
        path = self._folder / name
        path.write_bytes(content)
        return path


async def test_the_served_calls_context_is_handed_on(
    served: Served, echo: ModuleType, token: Callable[..., str]
) -> None:
    """Both kinds of channel send the token, request id, trace and remaining time of the call that is served."""
    call = CallContext(
        request_id="req-outer-1",
        method="/outer",
        authorization=f"Bearer {token()}",
        deadline=asyncio.get_running_loop().time() + 3,
    )
    target, request = served.server.target, echo.EchoRequest(clinic_id=CLINIC, text="x")
    with use_call(call), use_traceparent(TRACEPARENT):
        async with aio_channel(target) as channel:
            replies = [await echo.stubs.EchoServiceStub(channel).Echo(request)]
        blocking = sync_channel(target)
        replies.append(await asyncio.to_thread(echo.stubs.EchoServiceStub(blocking).Echo, request))
        blocking.close()
    for reply in replies:
        assert (reply.request_id, reply.subject, reply.traceparent) == ("req-outer-1", "user-1", TRACEPARENT)
        assert 0 < reply.remaining_s < 3.5


async def test_what_is_given_wins_over_what_is_served(
    served: Served, echo: ModuleType, token: Callable[..., str]
) -> None:
    """Metadata that a caller passes itself is not overwritten."""
    call = CallContext(request_id="req-outer-1", method="/outer", authorization="Bearer other")
    metadata = (("authorization", f"Bearer {token(subject='user-9')}"), ("x-request-id", "req-inner-1"))
    with use_call(call):
        async with aio_channel(served.server.target) as channel:
            stub = echo.stubs.EchoServiceStub(channel)
            reply = await stub.Echo(echo.EchoRequest(clinic_id=CLINIC), metadata=metadata)
    assert (reply.subject, reply.request_id) == ("user-9", "req-inner-1")


async def test_mutual_tls_lets_in_whom_it_knows(
    serve: Callable[..., Any], echo: ModuleType, tmp_path: Path
) -> None:
    """A caller of the trusted authority is served.

    One of another, one without a certificate, and plain text are not.
    """
    ours, theirs = Authority(tmp_path, "ours"), Authority(tmp_path, "theirs")
    settings = ours.issue("service")
    required = TlsSettings(
        certificate_file=settings.certificate_file,
        key_file=settings.key_file,
        ca_file=settings.ca_file,
        require_client_certificate=True,
    )
    served: Served = await serve(tls=required)
    stranger = theirs.issue("stranger")
    impostor = TlsSettings(
        certificate_file=stranger.certificate_file, key_file=stranger.key_file, ca_file=ours.file
    )

    async def code(tls: TlsSettings) -> grpc.StatusCode:
        async with aio_channel(served.server.target, tls=tls, propagate=False) as channel:
            try:
                await echo.stubs.EchoServiceStub(channel).Free(echo.FreeRequest(), timeout=5)
            except grpc.aio.AioRpcError as error:
                return error.code()
        return grpc.StatusCode.OK

    assert await code(ours.issue("friend")) is grpc.StatusCode.OK
    for tls in (impostor, TlsSettings(ca_file=ours.file), TlsSettings(ca_file=theirs.file), TlsSettings()):
        assert await code(tls) is grpc.StatusCode.UNAVAILABLE


def test_half_a_tls_configuration_is_one_sentence(tmp_path: Path) -> None:
    """A certificate without a key, a missing file and a demand without an authority are refused."""
    settings = Authority(tmp_path, "ours").issue("service")
    bad = (
        TlsSettings(certificate_file=settings.certificate_file),
        TlsSettings(certificate_file=tmp_path / "absent", key_file=settings.key_file),
        TlsSettings(require_client_certificate=True),
        TlsSettings(
            certificate_file=settings.certificate_file,
            key_file=settings.key_file,
            require_client_certificate=True,
        ),
    )
    for tls in bad:
        with pytest.raises(ConfigError, match="MEDFORALL_TLS_"):
            server_credentials(tls)
    assert server_credentials(TlsSettings()) is None
    assert channel_credentials(TlsSettings()) is None


@pytest.fixture
def web(signing: SigningKey) -> Iterator[tuple[str, list[str]]]:
    """An HTTP server with a key set at /jwks, a redirect to it at /moved, and too much at /large."""
    paths: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            paths.append(self.path)
            self.send_response(302 if self.path == "/moved" else 200)
            self.send_header("Location", "/jwks")
            self.end_headers()
            body = b"x" * 300_000 if self.path == "/large" else json.dumps(public_jwks([signing])).encode()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", paths
    server.shutdown()
    thread.join()
    server.server_close()


def test_keys_are_fetched_from_a_url(web: tuple[str, list[str]]) -> None:
    """The set is read from the configured URL, not from where it redirects to, and not without end."""
    url, paths = web
    keys = KeyStore(jwks_source(f"{url}/jwks"))
    keys.load()
    assert keys.find("test-key") is not None
    for path in ("/moved", "/large"):
        with pytest.raises(JwksError):
            KeyStore(jwks_source(url + path)).load()
    assert paths == ["/jwks", "/moved", "/large"]
    with pytest.raises(JwksError, match="cannot be fetched"):
        jwks_source("http://127.0.0.1:9/jwks")()

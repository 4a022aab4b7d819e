"""The gateway over TLS, and its calls over mutual TLS, with the certificates of `medforall certs`."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import stat
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from medforall.booking.v1 import booking_pb2, booking_pb2_grpc
from typer.testing import CliRunner

from chassis.auth.verifier import build_verifier
from chassis.config import load
from chassis.grpc.server import AioServer, GrpcService, ServerParts
from chassis.metrics import build_metrics
from chassis.settings import AuthSettings, GrpcServerSettings, TlsSettings
from chassis.tracing import OFF
from ctl.certs import Pair, ensure_certificates, make_certificates
from ctl.failures import CtlError
from ctl.main import app
from tests.integration.gateway.conftest import APPOINTMENT, CLINIC, Services, StartGateway

PATH = f"/v1/clinics/{CLINIC}/appointments/{APPOINTMENT}"


@pytest.fixture(scope="session")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Pair]:
    """An authority and certificates."""
    return make_certificates(tmp_path_factory.mktemp("certs"))


def tls_variables(pairs: dict[str, Pair], name: str) -> dict[str, str]:
    """The settings of a process with TLS."""
    return {
        "MEDFORALL_TLS_CA_FILE": str(pairs["ca"].certificate_file),
        "MEDFORALL_TLS_CERT_FILE": str(pairs[name].certificate_file),
        "MEDFORALL_TLS_KEY_FILE": str(pairs[name].key_file),
    }


async def test_https_and_mutual_tls(
    pairs: dict[str, Pair], start_gateway: StartGateway, jwks_file: Path, token: Callable[..., str]
) -> None:
    """A request over HTTPS reaches a service that demands a client certificate; plain HTTP is not answered."""
    services = Services()
    services.answers("GetAppointment", booking_pb2.GetAppointmentResponse())
    booking = AioServer(
        [
            GrpcService(
                booking_pb2.DESCRIPTOR.services_by_name["BookingService"],
                booking_pb2_grpc.add_BookingServiceServicer_to_server,
                services.servicer(booking_pb2_grpc.BookingServiceServicer),
            )
        ],
        ServerParts(
            settings=load(GrpcServerSettings, {}),
            tls=load(
                TlsSettings, tls_variables(pairs, "booking") | {"MEDFORALL_TLS_REQUIRE_CLIENT_CERT": "on"}
            ),
            verifier=build_verifier(load(AuthSettings, {"MEDFORALL_JWKS": str(jwks_file)})),
            metrics=build_metrics(),
            tracing=OFF,
            drain_ms=1_000,
        ),
    )
    await booking.start()
    try:
        plain = await start_gateway(
            MEDFORALL_HTTP_TLS="on",
            MEDFORALL_BOOKING_TARGET=booking.target,
            **tls_variables(pairs, "gateway"),
        )
        context = ssl.create_default_context(cafile=str(pairs["ca"].certificate_file))
        url = f"https://127.0.0.1:{plain.base_url.port}"
        async with httpx.AsyncClient(base_url=url, verify=context) as client:
            answer = await client.get(PATH, headers={"authorization": f"Bearer {token()}"})
        assert answer.status_code == 200, answer.text
        assert answer.headers["strict-transport-security"].startswith("max-age=")
        with pytest.raises(httpx.RemoteProtocolError):
            await plain.get("/healthz")
    finally:
        await booking.stop()


async def test_a_silent_handshake_is_cut(pairs: dict[str, Pair], start_gateway: StartGateway) -> None:
    """A connection that says nothing where TLS is spoken lasts as long as one that says nothing in HTTP."""
    plain = await start_gateway(
        MEDFORALL_HTTP_TLS="on", MEDFORALL_HTTP_HEADER_TIMEOUT_MS="300", **tls_variables(pairs, "gateway")
    )
    reader, writer = await asyncio.open_connection("127.0.0.1", plain.base_url.port or 0)
    with contextlib.suppress(ConnectionError):
        assert await asyncio.wait_for(reader.read(), 20) == b""
    writer.close()


def test_certs_command(tmp_path: Path) -> None:
    """The command writes an authority and five pairs, keys readable by their owner only, and overwrites nothing."""
    directory = tmp_path / "certs"
    first = CliRunner().invoke(app, ["certs", "--directory", str(directory)])
    assert first.exit_code == 0, first.output
    assert len(list(directory.glob("*.pem"))) == 6
    assert {stat.S_IMODE(path.stat().st_mode) for path in directory.glob("*.key")} == {0o600}
    again = CliRunner().invoke(app, ["certs", "--directory", str(directory)])
    assert again.exit_code == 1


def test_certificates_are_made_once_and_not_used_when_they_end(tmp_path: Path) -> None:
    """They are made when there are none, kept afterwards, and refused in one sentence when old or not whole."""
    directory = tmp_path / "certs"
    made = ensure_certificates(directory)
    before = made["booking"].certificate_file.read_bytes()
    assert ensure_certificates(directory) == made
    assert made["booking"].certificate_file.read_bytes() == before
    with pytest.raises(CtlError, match="end at"):
        ensure_certificates(directory, now=datetime.now(UTC) + timedelta(days=89, hours=23))
    made["client"].key_file.unlink()
    with pytest.raises(CtlError, match=r"cannot be read: .*client\.key"):
        ensure_certificates(directory)

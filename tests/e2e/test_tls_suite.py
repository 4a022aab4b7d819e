"""The whole suite over TLS, as `medforall up --tls` starts it."""

from __future__ import annotations

import json
import re
import ssl
import subprocess
import sys
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import httpx
import pytest
from medforall.booking.v1 import booking_pb2, booking_pb2_grpc
from websockets.asyncio.client import connect

from ctl.certs import PARTS
from ctl.readiness import grpc_serving, trusting
from ctl.run_file import DemoFacts, RunFile, TlsFacts, shell_variables
from tests.support.command import ROOT, medforall
from tests.support.node import run_node
from tests.support.suites import home_of, paste_what_was_printed_for, running_suite

pytestmark = pytest.mark.slow
STATUS = "-w '%{http_code}\\n'"


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunFile]:
    """A suite with TLS and the demo clinics."""
    home = tmp_path_factory.mktemp("tls") / "home"
    with running_suite(home, environment={"MEDFORALL_RATE_LIMIT": "off"}, arguments=["--tls"]) as facts:
        yield facts


@pytest.fixture(scope="module")
def tls(secure: RunFile) -> TlsFacts:
    """What its clients need."""
    assert secure.tls is not None
    return secure.tls


@pytest.fixture(scope="module")
def clinic(secure: RunFile) -> DemoFacts:
    """Its first demo clinic."""
    assert secure.demo is not None
    return secure.demo


@pytest.fixture(scope="module")
def context(tls: TlsFacts) -> ssl.SSLContext:
    """What HTTPS and WSS clients trust."""
    made = trusting(tls)
    assert made is not None
    return made


@pytest.fixture
def rest(secure: RunFile, clinic: DemoFacts, context: ssl.SSLContext) -> Iterator[httpx.Client]:
    """Calls of the clinic's administrator."""
    with httpx.Client(
        base_url=f"{secure.gateway_url}/v1/clinics/{clinic.clinic_id}",
        headers={"authorization": f"Bearer {secure.tokens['admin']}"},
        verify=context,
        trust_env=False,
        timeout=20,
    ) as client:
        yield client


def secure_channel(target: str, tls: TlsFacts, *, with_certificate: bool) -> grpc.Channel:
    key, chain = (
        (Path(tls.key_file).read_bytes(), Path(tls.certificate_file).read_bytes())
        if with_certificate
        else (None, None)
    )
    credentials = grpc.ssl_channel_credentials(Path(tls.ca_file).read_bytes(), key, chain)
    return grpc.secure_channel(target, credentials)


def get_appointment(channel: grpc.Channel, facts: RunFile, clinic: DemoFacts, id_: str) -> str:
    """The id that the booking service answers with."""
    reply = booking_pb2_grpc.BookingServiceStub(channel).GetAppointment(
        booking_pb2.GetAppointmentRequest(clinic_id=clinic.clinic_id, appointment_id=id_),
        metadata=(("authorization", f"Bearer {facts.tokens['admin']}"),),
        timeout=10,
    )
    return str(reply.appointment.id)


async def test_search_book_hear_and_read_over_tls(
    secure: RunFile, tls: TlsFacts, clinic: DemoFacts, context: ssl.SSLContext, rest: httpx.Client
) -> None:
    """HTTPS searches and books, WSS tells of it, and gRPC with a client certificate reads it."""
    assert secure.gateway_url.startswith("https://")
    url = secure.gateway_url.replace("https", "wss", 1) + "/v1/realtime/ws"
    async with connect(url, ssl=context, proxy=None) as socket:
        await socket.send(json.dumps({"type": "authenticate", "token": secure.tokens["admin"]}))
        await socket.send(json.dumps({"type": "subscribe", "channels": [f"clinic:{clinic.clinic_id}"]}))
        assert [json.loads(await socket.recv())["type"] for _ in range(2)] == ["authenticated", "subscribed"]
        booked = book_first(rest, clinic)
        while True:
            event = json.loads(await socket.recv())
            if event["type"] == "appointment.created":
                break
        assert event["payload"]["appointmentId"] == booked
    with secure_channel(secure.grpc["booking"], tls, with_certificate=True) as channel:
        assert get_appointment(channel, secure, clinic, booked) == booked


def book_first(rest: httpx.Client, clinic: DemoFacts) -> str:
    """Book a free slot after the week that `up` prints one of; the appointment's id."""
    today = datetime.now(UTC).date()
    place = {"serviceId": clinic.service_id, "locationId": clinic.location_id}
    days = {"start": str(today + timedelta(days=10)), "end": str(today + timedelta(days=20))}
    found = rest.get("/availability", params=place | days | {"limit": "1"})
    assert found.status_code == 200, found.text
    slot = found.json()["slots"][0]
    who = {"patientId": clinic.patient_ids[0], "providerId": slot["provider"]["id"]}
    answer = rest.post(
        "/appointments",
        json=place | who | {"start": slot["start"]},
        headers={"idempotency-key": str(uuid.uuid4())},
    )
    assert answer.status_code == 201, answer.text
    return str(answer.json()["appointment"]["id"])


def test_who_shows_no_certificate_or_speaks_plainly_is_refused(
    secure: RunFile, tls: TlsFacts, clinic: DemoFacts
) -> None:
    """No service serves a caller without certificate or without TLS; the gateway neither plain HTTP nor strangers."""
    for target in secure.grpc.values():
        assert grpc_serving(target, tls)
        assert not grpc_serving(target)
        with (
            secure_channel(target, tls, with_certificate=False) as channel,
            pytest.raises(grpc.RpcError) as refused,
        ):
            get_appointment(channel, secure, clinic, str(uuid.uuid4()))
        assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
    plain = secure.gateway_url.replace("https", "http", 1)
    with httpx.Client(trust_env=False) as client:
        with pytest.raises(httpx.RemoteProtocolError):
            client.get(f"{plain}/healthz")
        with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
            client.get(f"{secure.gateway_url}/healthz")


def test_status_doctor_and_what_up_prints(secure: RunFile) -> None:
    """Status and doctor look through TLS; the printed commands and those after `medforall env` work as they stand."""
    home = home_of(secure)
    assert {path.stem for path in home.certs.glob("*.key")} == {"ca", *PARTS}
    status = medforall("status", "--json", "--home", str(home.path))
    assert {row["ready"] for row in json.loads(status.stdout)} == {True}, status.stdout
    doctor = medforall("doctor", "--home", str(home.path)).stdout
    assert not re.search(r"(gateway|booking|availability|realtime|keys|certificates) +fault", doctor), doctor
    assert re.search(r"certificates +ok", doctor), doctor
    pasted = paste_what_was_printed_for(secure)
    assert pasted.statuses == ["200", "201", "200"], pasted.said
    variables = medforall("env", "--home", str(home.path)).stdout
    read = f'curl -sS {STATUS} -H "Authorization: Bearer $TOKEN" "$GATEWAY/v1/clinics/$CLINIC"'
    assert shell(f"{variables}\n{read}")[-4:] == "200\n"
    assert "canceled, version 2" in shell(f"{variables}\n{sys.executable} examples/book.py")
    assert "BookingService/CreateAppointment" in shell(f"{variables}\n{sys.executable} examples/services.py")


@pytest.mark.node
def test_node_books_with_the_client_certificate(secure: RunFile) -> None:
    """@grpc/grpc-js speaks mutual TLS with what `medforall env` prints."""
    done = run_node("book.mjs", environment=shell_variables(secure))
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("booked ")


def shell(text: str) -> str:
    """What the commands print."""
    done = subprocess.run(
        ["sh", "-c", text], cwd=ROOT, capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout

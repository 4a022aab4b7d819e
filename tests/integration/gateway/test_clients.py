"""The generated clients work against a running gateway and its services."""

from __future__ import annotations

import asyncio
import importlib
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from medforall.booking.v1 import appointment_pb2, booking_pb2
from medforall.type.v1 import scheduling_pb2

from scheduling.errors import Conflict, Unavailable
from tests.integration.gateway.conftest import APPOINTMENT, CLINIC, PROVIDER, SERVICE, Services, StartGateway
from tests.support.node import node

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def client_package(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The Python client, from its source."""
    monkeypatch.syspath_prepend(str(ROOT / "clients" / "python" / "src"))
    yield importlib.import_module("medforall_client")
    for name in [name for name in sys.modules if name.startswith("medforall_client")]:
        del sys.modules[name]


async def test_python_client_retries_with_one_key(
    client_package: Any, services: Services, token: Callable[..., str]
) -> None:
    """A mutation that meets an absent service is tried again with the same key; the token goes with each try."""
    answers = iter([Unavailable("Away.", retry_after_s=0.01)] * 2)

    async def answer(_: Any) -> booking_pb2.CreateAppointmentResponse:
        refusal = next(answers, None)
        if refusal is not None:
            raise refusal
        return booking_pb2.CreateAppointmentResponse(appointment=appointment_pb2.Appointment(id=APPOINTMENT))

    services.handlers["CreateAppointment"] = answer
    request = booking_pb2.CreateAppointmentRequest(
        clinic_id=CLINIC,
        patient_id=CLINIC,
        service_id=SERVICE,
        provider_id=PROVIDER,
        start="2026-02-20T09:00",
    )

    def book() -> Any:
        with client_package.Medforall(
            booking=services.target, availability=services.target, token=token
        ) as clinic:
            return clinic.booking.CreateAppointment(request)

    booked = await asyncio.to_thread(book)
    assert booked.appointment.id == APPOINTMENT
    keys = {sent.idempotency_key for sent in services.requests if isinstance(sent, type(request))}
    assert len(services.requests) == 3
    assert len(keys) == 1
    assert "" not in keys
    assert request.idempotency_key == ""


async def test_python_client_reads_refusals(
    client_package: Any, services: Services, token: Callable[..., str]
) -> None:
    """A conflict becomes an exception with its reason and the free slots; it is not tried again."""
    conflict = scheduling_pb2.BookingConflict(any_provider=[scheduling_pb2.Slot(start="later")])
    services.answers("CancelAppointment", Conflict("Taken.", details=[conflict]))

    def cancel() -> None:
        with client_package.Medforall(
            booking=services.target, availability=services.target, token=token()
        ) as clinic:
            clinic.booking.CancelAppointment(
                booking_pb2.CancelAppointmentRequest(clinic_id=CLINIC, appointment_id=APPOINTMENT)
            )

    with pytest.raises(client_package.MedforallError) as refused:
        await asyncio.to_thread(cancel)
    assert (refused.value.reason, refused.value.message) == ("SLOT_ALREADY_BOOKED", "Taken.")
    assert refused.value.conflict.any_provider[0].start == "later"
    assert refused.value.request_id
    assert len(services.requests) == 1


async def test_python_client_waits_as_long_as_asked_or_not_at_all(
    client_package: Any, services: Services, token: Callable[..., str]
) -> None:
    """A service that asks for a longer wait than the client has is not tried again before: the call fails at once."""
    services.answers("CancelAppointment", Unavailable("Away.", retry_after_s=60.0))

    def cancel() -> None:
        with client_package.Medforall(
            booking=services.target, availability=services.target, token=token(), deadline_s=300.0
        ) as clinic:
            clinic.booking.CancelAppointment(
                booking_pb2.CancelAppointmentRequest(clinic_id=CLINIC, appointment_id=APPOINTMENT)
            )

    with pytest.raises(client_package.MedforallError) as refused:
        await asyncio.wait_for(asyncio.to_thread(cancel), 30)
    assert refused.value.retry_after_s == 60.0
    assert len(services.requests) == 1


def test_the_wheel_has_one_name_of_its_own(tmp_path: Path) -> None:
    """The wheel installs nothing outside of `medforall` and `medforall_client`, and its stubs work without more."""
    (wheel,) = _built_wheel(tmp_path)
    with zipfile.ZipFile(wheel) as archive:
        tops = {name.partition("/")[0] for name in archive.namelist()}
        archive.extractall(tmp_path / "site")
    assert {top for top in tops if not top.endswith(".dist-info")} == {"medforall", "medforall_client"}
    program = (
        "import medforall_client, sys; from medforall.booking.v1 import booking_pb2; "
        "assert 'buf' not in sys.modules; print(booking_pb2.__file__)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path / "site"), "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(str(tmp_path / "site"))


def _built_wheel(folder: Path) -> list[Path]:
    program = (
        "import pathlib; from tools import clients; "
        f"clients.OUTPUT = pathlib.Path({str(folder)!r}); clients.build_python()"
    )
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True, timeout=300)
    return list(folder.glob("medforall_client-*.whl"))


def test_the_typescript_client_is_what_the_document_says() -> None:
    """Making the TypeScript client again changes nothing."""
    done = subprocess.run(
        [sys.executable, "-m", "tools.clients", "--check"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


_SCRIPT = """
import { Medforall, MedforallError } from "%(module)s";
const clinic = new Medforall({ baseUrl: "%(url)s", token: async () => "%(token)s", firstWaitMs: 1 });
const at = { clinicId: "%(clinic)s", appointmentId: "%(appointment)s" };
const canceled = await clinic.cancelAppointment(at, { reason: "x" }, { ifMatch: '"3"' });
const read = await clinic.getAppointment(at);
const again = await clinic.getAppointment(at, { ifNoneMatch: read.etag });
let refusal;
try { await clinic.listAppointments({ clinicId: at.clinicId, status: ["scheduled", "no_show"], limit: 5 }); }
catch (error) { refusal = error instanceof MedforallError && error.reason; }
console.log([canceled.status, canceled.replayed, read.data.appointment.id, read.etag, again.status, refusal].join(" "));
"""


@pytest.mark.node
async def test_node_client(
    start_gateway: StartGateway, services: Services, token: Callable[..., str], tmp_path: Path
) -> None:
    """The client made from the OpenAPI document reads, changes, revalidates and reads refusals, in Node."""
    appointment = appointment_pb2.Appointment(id=APPOINTMENT, etag='"4"')
    reply = booking_pb2.CancelAppointmentResponse(appointment=appointment, replayed=True)
    services.answers("CancelAppointment", reply)
    services.answers("GetAppointment", booking_pb2.GetAppointmentResponse(appointment=appointment))
    gateway = await start_gateway()
    script = tmp_path / "client.mjs"
    script.write_text(
        _SCRIPT
        % {
            "module": (ROOT / "clients" / "typescript" / "index.js").as_uri(),
            "url": str(gateway.base_url),
            "token": token(),
            "clinic": CLINIC,
            "appointment": APPOINTMENT,
        }
    )
    child = await asyncio.create_subprocess_exec(node(), str(script), stdout=-1, stderr=-1)
    out, err = await asyncio.wait_for(child.communicate(), 30)
    assert out.decode().split() == ["200", "true", APPOINTMENT, '"4"', "304", "NOT_IMPLEMENTED"], err.decode()
    canceled = next(
        sent for sent in services.requests if isinstance(sent, booking_pb2.CancelAppointmentRequest)
    )
    assert canceled.etag == '"3"'
    assert len(canceled.idempotency_key) == 36


_IMPATIENT = """
import { Medforall, MedforallError } from "%(module)s";
const at = { clinicId: "%(clinic)s", appointmentId: "%(appointment)s" };
const of = (call) => call().then(() => "served", (error) => error.reason || error.name);
const settings = { baseUrl: "%(url)s", token: "%(token)s" };
const long = await of(async () => new Medforall(settings).getAppointment(at));
const patient = new Medforall({ ...settings, waitMaxMs: 600_000 });
const stopped = await of(async () => patient.getAppointment(at, { signal: AbortSignal.timeout(300) }));
const missing = await of(async () => patient.getAppointment({ clinicId: at.clinicId }));
console.log([long, stopped, missing].join(" "));
process.exit(0);
"""


@pytest.mark.node
async def test_node_client_does_not_wait_for_ever(
    start_gateway: StartGateway, services: Services, token: Callable[..., str], tmp_path: Path
) -> None:
    """A longer wait than the client has fails at once, `signal` ends one, and a missing part of the address is told."""
    services.answers("GetAppointment", Unavailable("Away.", retry_after_s=500.0))
    gateway = await start_gateway()
    script = tmp_path / "client.mjs"
    script.write_text(
        _IMPATIENT
        % {
            "module": (ROOT / "clients" / "typescript" / "index.js").as_uri(),
            "url": str(gateway.base_url),
            "token": token(),
            "clinic": CLINIC,
            "appointment": APPOINTMENT,
        }
    )
    child = await asyncio.create_subprocess_exec(node(), str(script), stdout=-1, stderr=-1)
    out, err = await asyncio.wait_for(child.communicate(), 60)
    assert out.decode().split() == ["UNAVAILABLE", "TimeoutError", "TypeError"], err.decode()
    assert sum(isinstance(sent, booking_pb2.GetAppointmentRequest) for sent in services.requests) == 2

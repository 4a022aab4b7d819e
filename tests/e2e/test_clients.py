"""The generated clients as integrators use them: search, hold, book, list, move, cancel and hear of it."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from medforall.availability.v1 import availability_pb2
from medforall.booking.v1 import appointment_pb2, booking_pb2
from medforall.directory.v1 import directory_pb2

from ctl.run_file import DemoFacts, RunFile, shell_variables
from tests.support.command import ROOT
from tests.support.node import node


@pytest.fixture
def package(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The Python client, from its source."""
    monkeypatch.syspath_prepend(str(ROOT / "clients" / "python" / "src"))
    yield importlib.import_module("medforall_client")
    for name in [name for name in sys.modules if name.startswith("medforall_client")]:
        del sys.modules[name]


@pytest.fixture
def clinic(package: Any, suite: RunFile) -> Iterator[Any]:
    """The client of an admin."""
    with package.Medforall(
        booking=suite.grpc["booking"],
        availability=suite.grpc["availability"],
        token=lambda: suite.tokens["admin"],
    ) as client:
        yield client


def two_slots(clinic: Any, demo: DemoFacts) -> tuple[Any, Any]:
    """Two free slots of one provider, on two days."""
    today = datetime.now(UTC).date()
    found = clinic.availability.SearchSlots(
        availability_pb2.SearchSlotsRequest(
            clinic_id=demo.clinic_id,
            service_id=demo.service_id,
            location_id=demo.location_id,
            start=f"{today + timedelta(days=22)}",
            end=f"{today + timedelta(days=34)}",
            patient_id=demo.patient_ids[1],
            limit=60,
        )
    )
    first, *others = found.slots
    return first, next(
        slot
        for slot in others
        if slot.provider.id == first.provider.id and slot.start[:10] != first.start[:10]
    )


def visit(kind: Any, demo: DemoFacts, slot: Any, **more: str) -> Any:
    """A booking or a hold of `slot` for the second demo patient."""
    return kind(
        clinic_id=demo.clinic_id,
        service_id=demo.service_id,
        location_id=demo.location_id,
        patient_id=demo.patient_ids[1],
        provider_id=slot.provider.id,
        start=slot.start,
        **more,
    )


def test_python_books_moves_and_cancels(package: Any, clinic: Any, demo: DemoFacts) -> None:
    """Over gRPC: a hold is the same one for the same key, becomes a visit, is listed, moved and canceled by its tag."""
    first, next_ = two_slots(clinic, demo)
    key = str(uuid.uuid4())
    hold = visit(booking_pb2.CreateHoldRequest, demo, first, idempotency_key=key)
    held, again = clinic.booking.CreateHold(hold), clinic.booking.CreateHold(hold)
    assert (again.replayed, again.appointment.id) == (True, held.appointment.id)
    at = {"clinic_id": demo.clinic_id, "appointment_id": held.appointment.id}
    booked = clinic.booking.ConfirmHold(
        booking_pb2.ConfirmHoldRequest(
            clinic_id=demo.clinic_id, hold_id=held.appointment.id, hold_token=held.hold_token
        )
    ).appointment
    assert booked.status == appointment_pb2.APPOINTMENT_STATUS_SCHEDULED
    day = booking_pb2.ListAppointmentsRequest(
        clinic_id=demo.clinic_id, patient_id=demo.patient_ids[1], date=first.start[:10]
    )
    assert booked.id in {one.id for one in clinic.booking.ListAppointments(day).appointments}
    moved = clinic.booking.RescheduleAppointment(
        booking_pb2.RescheduleAppointmentRequest(**at, start=next_.start, etag=booked.etag)
    ).appointment
    assert (moved.start, moved.id) == (next_.start, booked.id)
    with pytest.raises(package.MedforallError) as stale:
        clinic.booking.CancelAppointment(booking_pb2.CancelAppointmentRequest(**at, etag=booked.etag))
    assert stale.value.reason == "STALE_ETAG"
    canceled = clinic.booking.CancelAppointment(
        booking_pb2.CancelAppointmentRequest(**at, reason="only trying", etag=moved.etag)
    )
    assert canceled.appointment.status == appointment_pb2.APPOINTMENT_STATUS_CANCELED


def test_python_reads_refusals(package: Any, clinic: Any, suite: RunFile, demo: DemoFacts) -> None:
    """A taken slot comes with others that are free, a malformed call with its fields, a bad token with its reason."""
    first, _ = two_slots(clinic, demo)
    request = visit(booking_pb2.CreateAppointmentRequest, demo, first)
    booked = clinic.booking.CreateAppointment(request).appointment
    with pytest.raises(package.MedforallError) as taken:
        clinic.booking.CreateAppointment(request)
    assert taken.value.reason == "SLOT_ALREADY_BOOKED"
    assert taken.value.conflict.any_provider
    assert taken.value.request_id
    clinic.booking.CancelAppointment(
        booking_pb2.CancelAppointmentRequest(clinic_id=demo.clinic_id, appointment_id=booked.id)
    )
    with pytest.raises(package.MedforallError) as malformed:
        clinic.directory.GetPatient(
            directory_pb2.GetPatientRequest(clinic_id=demo.clinic_id, patient_id="nobody")
        )
    assert [field for field, _ in malformed.value.violations] == ["patient_id"]
    with (
        package.Medforall(
            booking=suite.grpc["booking"], availability=suite.grpc["availability"], token="nobody"
        ) as stranger,
        pytest.raises(package.MedforallError) as unknown,
    ):
        two_slots(stranger, demo)
    assert unknown.value.reason == "UNAUTHENTICATED"


@pytest.mark.node
def test_typescript_books_moves_cancels_and_hears_of_it(suite: RunFile) -> None:
    """Over REST: the same, with entity tags, replays, the errors' one shape, and the events of what was done."""
    script = Path(__file__).with_name("rest_client.mjs")
    client = ROOT / "clients" / "typescript" / "index.js"
    done = subprocess.run(
        [node(), str(script)],
        env=shell_variables(suite) | {"CLIENT": client.as_uri()},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    said = {step.pop("step"): step for step in map(json.loads, done.stdout.splitlines())}
    assert said["search"]["slots"] > 1
    assert said["search"]["again"] == 304
    assert said["hold"] == {"status": 201, "state": "held", "replayed": True, "same": True}
    assert said["confirm"]["state"] == "scheduled"
    assert said["list"]["has"]
    assert said["reschedule"]["moved"]
    assert said["cancel"]["state"] == "canceled"
    refusals = {
        "key reused": (422, "IDEMPOTENCY_KEY_REUSED"),
        "taken": (409, "SLOT_ALREADY_BOOKED"),
        "stale": (412, "STALE_ETAG"),
        "malformed": (400, "INVALID_ARGUMENT"),
        "stranger": (401, "UNAUTHENTICATED"),
    }
    assert {step: (said[step]["status"], said[step]["reason"]) for step in refusals} == refusals
    assert all(said[step]["hasId"] for step in refusals)
    assert "bookingConflict" in said["taken"]["details"]
    assert "violations" in said["malformed"]["details"]
    assert [kind for kind in said["events"]["types"] if kind.startswith("appointment.")][-2:] == [
        "appointment.rescheduled",
        "appointment.canceled",
    ]

"""What a role may do within a call that it may make: the second half of the table of roles."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

import grpc.aio
import pytest
from medforall.booking.v1 import appointment_pb2
from medforall.directory.v1 import directory_types_pb2 as types

from chassis.auth.principal import Role
from tests.integration.directory.conftest import Directory, Suite, token_of
from tests.support.booking import code_of
from tests.support.practice import Practice, at


async def refused(call: Awaitable[Any]) -> str:
    """The code that a call is refused with."""
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await call
    return code_of(refusal.value)


@pytest.fixture
async def patient(directory: Directory) -> str:
    """A patient of the practice."""
    return str((await directory.add("Patient", name="Ada Abiodun", dob="1980-04-30")).id)


async def book(directory: Directory, practice: Practice, patient: str) -> str:
    """A visit with the practice's provider."""
    made = await directory.booking(
        "CreateAppointment",
        patient_id=patient,
        service_id=practice.service,
        provider_id=practice.provider,
        location_id=practice.location,
        start=at(10),
    )
    return str(made.appointment.id)


async def test_a_provider_moves_its_visits_on_and_books_none(
    suite: Suite, directory: Directory, practice: Practice, patient: str
) -> None:
    """Status and notes of its own visit are a provider's; booking, and moving by either call, are not."""
    visit = await book(directory, practice, patient)
    directory.token = token_of(suite.keys, practice.clinic, Role.PROVIDER, provider_id=practice.provider)
    assert await refused(book(directory, practice, patient)) == "PERMISSION_DENIED"
    for method in ("RescheduleAppointment", "UpdateAppointment"):
        move = directory.booking(method, appointment_id=visit, start=at(11))
        assert await refused(move) == "PERMISSION_DENIED"
    confirmed = appointment_pb2.APPOINTMENT_STATUS_CONFIRMED
    changed = await directory.booking("UpdateAppointment", appointment_id=visit, status=confirmed)
    assert changed.appointment.status == confirmed


async def test_emergency_access_opens_a_patient_to_a_provider(
    suite: Suite, directory: Directory, practice: Practice, patient: str
) -> None:
    """A provider without a visit sees nobody; with a grant it reads that patient, and the admin sees both."""
    admin = directory.token
    scopes = ("read:phi", "break:glass")
    directory.token = suite.keys.token(
        practice.clinic, "provider", "dr", scopes=scopes, provider_id=practice.provider
    )
    assert await refused(directory.call("GetPatient", patient_id=patient)) == "NOT_FOUND"
    granted = await directory.call("BreakGlass", patient_id=patient, reason="found unconscious at the door")
    read = await directory.call("GetPatient", patient_id=patient)
    assert read.patient.name == "Ada Abiodun"
    directory.token = admin
    grants = (await directory.call("ListBreakGlass", active_only=True)).grants
    assert [(grant.id, grant.actor) for grant in grants] == [(granted.grant.id, "dr")]
    events = (await directory.call("ListAuditEvents", entity_id=patient, action="patient.read")).audit_events
    assert [event.actor for event in events] == ["dr"]


async def test_a_patient_sees_public_names_of_the_directory(
    suite: Suite, directory: Directory, practice: Practice, patient: str
) -> None:
    """Names, places and durations are shown; credentials, buffers, limits and tags are not."""
    provider = types.Provider(name="Dr. X", specialty="general")
    provider.credentials.update({"licence": "MA-1"})
    made = (await directory.call("CreateProvider", provider=provider)).provider
    directory.token = token_of(suite.keys, practice.clinic, Role.PATIENT, patient_id=patient)
    seen = (await directory.call("GetProvider", provider_id=made.id)).provider
    public = {
        "id": made.id,
        "clinic_id": practice.clinic,
        "name": "Dr. X",
        "specialty": "general",
        "active": True,
    }
    assert {field.name: value for field, value in seen.ListFields()} == public
    listed = (await directory.call("ListServices")).services
    assert {field.name for service in listed for field, _ in service.ListFields()} <= {
        "id", "clinic_id", "name", "description", "default_duration_min", "active",
    }  # fmt: skip
    clinic = (await directory.call("GetClinic")).clinic
    assert {field.name for field, _ in clinic.ListFields()} == {"id", "name", "default_timezone", "status"}

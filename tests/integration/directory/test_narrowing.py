"""What a role may do within a call that it may make: the second half of the table of roles."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

import grpc.aio
import psycopg
import pytest
from medforall.booking.v1 import appointment_pb2
from medforall.directory.v1 import directory_types_pb2 as types

from chassis.auth.principal import Role
from tests.integration.directory.conftest import Directory, Suite, token_of
from tests.support.booking import code_of
from tests.support.invariants import query
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


async def test_a_provider_moves_its_visits_on_and_books_none(
    suite: Suite, directory: Directory, practice: Practice, patient: str
) -> None:
    """Status and notes of its own visit are a provider's; booking, and moving by either call, are not."""
    visit = str((await directory.visit(practice, patient)).id)
    directory.token = token_of(suite.keys, practice.clinic, Role.PROVIDER, provider_id=practice.provider)
    assert await refused(directory.visit(practice, patient)) == "PERMISSION_DENIED"
    for method in ("RescheduleAppointment", "UpdateAppointment"):
        move = directory.booking(method, appointment_id=visit, start=at(11))
        assert await refused(move) == "PERMISSION_DENIED"
    confirmed = appointment_pb2.APPOINTMENT_STATUS_CONFIRMED
    changed = await directory.booking("UpdateAppointment", appointment_id=visit, status=confirmed)
    assert changed.appointment.status == confirmed


async def test_emergency_access_opens_a_patient_to_an_admin(
    suite: Suite, directory: Directory, practice: Practice, patient: str
) -> None:
    """An admin without the scope for patient data sees nobody; with a grant it reads that patient, and is on record."""
    admin = directory.token
    other = (await directory.add("Patient", name="Bo Ek", dob="1990-01-01")).id
    directory.token = suite.keys.token(practice.clinic, "admin", "on-call", scopes=("break:glass",))
    assert await refused(directory.call("GetPatient", patient_id=patient)) == "NOT_FOUND"
    reason = "found unconscious at the door"
    granted = (await directory.call("BreakGlass", patient_id=patient, reason=reason)).grant
    assert granted.expires_at.seconds - granted.granted_at.seconds == 3_600
    read = await directory.call("GetPatient", patient_id=patient)
    assert read.patient.name == "Ada Abiodun"
    assert await refused(directory.call("GetPatient", patient_id=other)) == "NOT_FOUND"
    assert await refused(directory.call("ListPatients", name_prefix="ada")) == "PERMISSION_DENIED"
    directory.token = admin
    grants = (await directory.call("ListBreakGlass", active_only=True)).grants
    assert [(grant.id, grant.actor, grant.reason) for grant in grants] == [(granted.id, "on-call", reason)]
    events = (await directory.call("ListAuditEvents", entity_id=patient, action="patient.read")).audit_events
    assert [event.actor for event in events] == ["on-call"]
    alerts = query(
        suite.database.owner_url,
        "SELECT count(*) FROM outbox_event WHERE aggregate_id = %s AND event_type = 'directory.changed'",
        granted.id,
    )
    assert alerts == [(1,)]


async def test_emergency_access_to_a_clinic_ends(
    suite: Suite, directory: Directory, practice: Practice, patient: str
) -> None:
    """A grant for all of the clinic opens every patient and the search; an hour later it opens nothing."""
    directory.token = suite.keys.token(practice.clinic, "admin", "on-call", scopes=("break:glass",))
    granted = (await directory.call("BreakGlass", reason="the reading room is on fire")).grant
    found = await directory.call("ListPatients", name_prefix="ada")
    assert [each.id for each in found.patients] == [patient]
    assert (await directory.call("GetPatient", patient_id=patient)).patient.id == patient
    with psycopg.connect(suite.database.owner_url) as owner:
        owner.execute(
            "UPDATE break_glass SET granted_at = granted_at - interval '1 hour',"
            " expires_at = expires_at - interval '1 hour' WHERE id = %s",
            (granted.id,),
        )
    assert await refused(directory.call("GetPatient", patient_id=patient)) == "NOT_FOUND"
    assert await refused(directory.call("ListPatients", name_prefix="ada")) == "PERMISSION_DENIED"


@pytest.mark.parametrize("role", [Role.PROVIDER, Role.FRONT_DESK, Role.SERVICE])
async def test_emergency_access_is_the_admins(
    suite: Suite, directory: Directory, practice: Practice, patient: str, role: Role
) -> None:
    """Nobody else breaks the glass, nor reads with another's scope for it."""
    directory.token = suite.keys.token(
        practice.clinic, role.value, "dr", scopes=("break:glass",), provider_id=practice.provider
    )
    call = directory.call("BreakGlass", patient_id=patient, reason="found unconscious at the door")
    assert await refused(call) == "PERMISSION_DENIED"
    assert await refused(directory.call("GetPatient", patient_id=patient)) == "NOT_FOUND"


async def test_the_reason_of_an_emergency_is_sealed(
    suite: Suite, directory: Directory, practice: Practice, patient: str
) -> None:
    """What an admin wrote is nowhere in clear; a grant of an older version still shows its reason."""
    reason = "overdose of quetiapine suspected"
    await directory.call("BreakGlass", patient_id=patient, reason=reason)
    rows = query(
        suite.database.owner_url,
        """SELECT b::text FROM break_glass b WHERE clinic_id = %s
           UNION ALL SELECT o::text || encode(o.payload, 'escape') FROM outbox_event o WHERE clinic_id = %s
           UNION ALL SELECT e::text FROM audit_event e WHERE clinic_id = %s
           UNION ALL SELECT k::text || encode(k.response, 'escape') FROM idempotency_key k WHERE clinic_id = %s""",
        *[practice.clinic] * 4,
    )
    assert len(rows) >= 4
    assert not [row for (row,) in rows if "quetiapine" in row]
    with psycopg.connect(suite.database.owner_url) as owner:
        owner.execute(
            "UPDATE break_glass SET reason = 'written before', reason_encrypted = NULL WHERE clinic_id = %s",
            (practice.clinic,),
        )
    grants = (await directory.call("ListBreakGlass")).grants
    assert [grant.reason for grant in grants] == ["written before"]


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

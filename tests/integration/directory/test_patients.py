"""Patients: sealed at rest, found by what people say of them, each reading audited."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc.aio
import psycopg
import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from medforall.directory.v1 import directory_types_pb2 as types

from chassis.auth.principal import Role
from tests.integration.directory.conftest import ASA, Directory, Suite, token_of
from tests.support.booking import code_of, details_of, reason_of
from tests.support.invariants import query
from tests.support.practice import Practice, new_id
from tests.support.waiting import wait_until_async


async def test_a_patient_comes_back_as_it_was_given(directory: Directory) -> None:
    """Every field is read back in the clear by staff, and a changed one replaces the old."""
    made = await directory.add("Patient", **ASA)
    read = (await directory.call("GetPatient", patient_id=made.id)).patient
    assert read == made
    assert (read.name, read.dob, read.contact.phone, read.notes) == (
        "Åsa Lindqvist-Meyer", "1984-05-06", "+46 70 123 45 67", "prefers mornings",
    )  # fmt: skip
    changed = await directory.call(
        "UpdatePatient",
        patient_id=made.id,
        patient=types.Patient(name="Åsa Meyer"),
        update_mask=FieldMask(paths=["name"]),
        etag=made.etag,
    )
    assert (changed.patient.name, changed.patient.dob) == ("Åsa Meyer", "1984-05-06")


@pytest.mark.parametrize(
    "terms",
    [
        {"name_prefix": "asa"},
        {"name_prefix": "lindq"},
        {"name_prefix": "ÅSA mey"},
        {"phone": "0046701234567"},
        {"email": " asa@example.ORG "},
        {"dob": "1984-05-06"},
        {"dob": "1984-05-06", "name_prefix": "li"},
    ],
)
async def test_a_patient_is_found_by_what_people_say(directory: Directory, terms: dict[str, str]) -> None:
    """Name prefixes, phone, mail and birthday find the patient however they are written, and nobody else."""
    made = await directory.add("Patient", **ASA)
    await directory.add("Patient", name="Bo Ek", dob="1990-01-01")
    found = await directory.call("ListPatients", **terms)
    assert [patient.id for patient in found.patients] == [made.id]


async def test_the_old_name_no_longer_finds_a_renamed_patient(directory: Directory) -> None:
    """Search hashes follow the name."""
    made = await directory.add("Patient", **ASA)
    await directory.call(
        "UpdatePatient",
        patient_id=made.id,
        patient=types.Patient(name="Bo"),
        update_mask=FieldMask(paths=["name"]),
    )
    assert list((await directory.call("ListPatients", name_prefix="asa")).patients) == []
    assert [found.id for found in (await directory.call("ListPatients", name_prefix="bo")).patients] == [
        made.id
    ]


async def test_a_search_without_a_term_is_refused(directory: Directory) -> None:
    """Nobody lists all patients of a clinic, or all whose names begin with one letter; a term must ask something."""
    for terms in ({}, {"name_prefix": "a"}, {"phone": "---"}, {"email": "  "}):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await directory.call("ListPatients", **terms)
        assert code_of(refused.value) == "INVALID_ARGUMENT"


async def test_reading_and_finding_a_patient_leave_audit_rows_without_its_data(
    directory: Directory, suite: Suite
) -> None:
    """Each look is a row that names who and whom, and nothing that was seen."""
    made = await directory.add("Patient", **ASA)
    await directory.call("GetPatient", patient_id=made.id)
    await directory.call("ListPatients", name_prefix="asa")
    rows = query(
        suite.database.owner_url,
        "SELECT action, coalesce(before::text, '') || coalesce(after::text, '') FROM audit_event"
        " WHERE entity_id = %s ORDER BY at",
        made.id,
    )
    assert [action for action, _ in rows] == ["patient.create", "patient.read", "patient.search"]
    assert not any(word in text for _, text in rows for word in ("Lindqvist", "1984", "70", "mornings"))


async def test_a_provider_reads_its_own_patients(
    directory: Directory, practice: Practice, suite: Suite
) -> None:
    """Without a visit a patient looks unknown to a provider."""
    mine, other = (
        await directory.add("Patient", **ASA),
        await directory.add("Patient", name="Bo Ek", dob="1990-01-01"),
    )
    await directory.visit(practice, mine.id)
    directory.token = suite.keys.token(
        practice.clinic, "provider", subject="dr", scopes=("read:phi",), provider_id=practice.provider
    )
    assert (await directory.call("GetPatient", patient_id=mine.id)).patient.name == ASA["name"]
    with pytest.raises(grpc.aio.AioRpcError) as unknown:
        await directory.call("GetPatient", patient_id=other.id)
    assert code_of(unknown.value) == "NOT_FOUND"


async def test_a_patient_reads_itself_alone(directory: Directory, practice: Practice, suite: Suite) -> None:
    """A patient's token reads its own record and finds no other."""
    mine, other = (
        await directory.add("Patient", **ASA),
        await directory.add("Patient", name="Bo Ek", dob="1990-01-01"),
    )
    directory.token = suite.keys.token(practice.clinic, "patient", scopes=("read:phi",), patient_id=mine.id)
    assert (await directory.call("GetPatient", patient_id=mine.id)).patient.id == mine.id
    with pytest.raises(grpc.aio.AioRpcError) as unknown:
        await directory.call("GetPatient", patient_id=other.id)
    assert code_of(unknown.value) == "NOT_FOUND"


async def test_clinics_are_made_suspended_and_archived_by_the_platform(
    directory: Directory, practice: Practice, suite: Suite
) -> None:
    """A suspended clinic cancels and books nothing, an archived one is NOT_FOUND to its users, and both come back."""
    visit = await directory.visit(practice, practice.patients[0], 10)
    await set_status(directory, suite, types.CLINIC_STATUS_SUSPENDED)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await directory.visit(practice, practice.patients[1], 12)
    assert code_of(refused.value) == "FAILED_PRECONDITION"
    await directory.booking("CancelAppointment", appointment_id=visit.id)
    await set_status(directory, suite, types.CLINIC_STATUS_ARCHIVED)
    with pytest.raises(grpc.aio.AioRpcError) as gone:
        await directory.call("ListServices")
    assert code_of(gone.value) == "NOT_FOUND"
    await set_status(directory, suite, types.CLINIC_STATUS_ACTIVE)
    assert len((await directory.call("ListServices")).services) == 1
    await assert_reasons_audited(directory, suite)


async def set_status(directory: Directory, suite: Suite, status: types.ClinicStatus.ValueType) -> None:
    """Set the clinic's status, as the platform."""
    admin = directory.token
    directory.token = suite.keys.token("", "platform", scopes=("platform",))
    await directory.call("SetClinicStatus", status=status, reason="unpaid bills")
    directory.token = admin


async def assert_reasons_audited(directory: Directory, suite: Suite) -> None:
    """Three changes of the status tell their reason to those who read the audit, and the database holds it sealed."""
    audit = await directory.call("ListAuditEvents", action="clinic.*")
    assert [event.reason for event in audit.audit_events] == ["unpaid bills"] * 3
    stored = query(
        suite.database.owner_url,
        "SELECT count(*) FROM audit_event WHERE clinic_id = %s AND reason ILIKE '%%unpaid%%'",
        directory.clinic,
    )
    assert stored == [(0,)]


async def test_the_platform_makes_a_clinic_that_works_at_once(directory: Directory, suite: Suite) -> None:
    """A new clinic has its data key: its admin adds a patient, whose name can be read again."""
    directory.token = suite.keys.token("", "platform", scopes=("platform",))
    made = await directory.call(
        "CreateClinic", clinic=types.Clinic(name="New", default_timezone="Asia/Kolkata")
    )
    directory.token = token_of(suite.keys, made.clinic.id, Role.ADMIN)
    directory.clinic = made.clinic.id
    assert (await directory.add("Patient", **ASA)).name == ASA["name"]


async def test_a_key_makes_one_clinic(directory: Directory, suite: Suite) -> None:
    """The same key with the same clinic is a replay; with another one it was used already, which is no clinic's id."""
    directory.token = suite.keys.token("", "platform", scopes=("platform",))
    key = new_id()

    async def create(name: str, **fields: str) -> Any:
        clinic = types.Clinic(name=name, default_timezone="UTC", **fields)  # type: ignore[arg-type]
        return await directory.call("CreateClinic", clinic=clinic, idempotency_key=key)

    made = await create("First")
    assert (await create("First")).replayed
    with pytest.raises(grpc.aio.AioRpcError) as reused:
        await create("Second")
    assert (code_of(reused.value), reason_of(reused.value)) == (
        "FAILED_PRECONDITION",
        "IDEMPOTENCY_KEY_REUSED",
    )
    with pytest.raises(grpc.aio.AioRpcError) as taken:
        await create("Second", id=made.clinic.id)
    assert (code_of(taken.value), reason_of(taken.value)) == ("ALREADY_EXISTS", "ALREADY_EXISTS")


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"name": "\u200b ."}, "name"),
        ({"dob": "1849-12-31"}, "dob"),
        ({"dob": "2199-01-01"}, "dob"),
        ({"contact": {"phone": "+"}}, "contact.phone"),
        ({"contact": {"phone": "none"}}, "contact.phone"),
        ({"contact": {"email": "jane.example.org"}}, "contact.email"),
    ],
)
async def test_a_patient_is_somebody_who_can_be_found(
    directory: Directory, changes: dict[str, Any], field: str
) -> None:
    """A name without a letter, a birth to come or long ago, and a phone or mail address that is none are refused."""
    wanted: dict[str, Any] = {**ASA, **changes}
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await directory.call("CreatePatient", patient=wanted)
    assert code_of(refused.value) == "INVALID_ARGUMENT"
    violation = details_of(refused.value)["BadRequest"].field_violations[0]
    assert violation.field.endswith(field)


@pytest.mark.parametrize(
    "blank", [" " * 10, "\u00a0" * 10, "\u2003\u3000" * 5, "\u200b\ufeff" * 5, "\u3164\u2800" * 5], ids=ascii
)
async def test_emergency_access_needs_a_reason_that_says_something(
    directory: Directory, practice: Practice, suite: Suite, blank: str
) -> None:
    """Blanks of whatever script are no reason, however many there are, and grant nothing."""
    directory.token = suite.keys.token(practice.clinic, "admin", scopes=("break:glass", "read:audit"))
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await directory.call("BreakGlass", reason=blank)
    assert code_of(refused.value) == "INVALID_ARGUMENT"
    (violation,) = details_of(refused.value)["BadRequest"].field_violations
    assert (violation.field, violation.description) == ("reason", "must say why")
    assert not (await directory.call("ListBreakGlass")).grants


async def test_emergency_access_needs_a_reason(
    directory: Directory, practice: Practice, suite: Suite
) -> None:
    """Blanks are no reason."""
    directory.token = suite.keys.token(practice.clinic, "admin", scopes=("break:glass",))
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await directory.call("BreakGlass", reason=" \t ")
    assert code_of(refused.value) == "INVALID_ARGUMENT"


async def test_what_is_out_of_use_is_not_put_out_of_use_again(directory: Directory) -> None:
    """Patients and services refuse it alike, as providers and rooms do."""
    patient = await directory.add("Patient", **ASA)
    service = await directory.add("Service", name="Talk", default_duration_min=20)
    for word, entry in (("Patient", patient), ("Service", service)):
        fields = {f"{word.lower()}_id": entry.id}
        await directory.call(f"Deactivate{word}", **fields)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await directory.call(f"Deactivate{word}", **fields)
        assert reason_of(refused.value) == "INVALID_TRANSITION"


async def test_what_bookings_must_see_of_a_patient_waits_for_them(directory: Directory, suite: Suite) -> None:
    """A patient is put out of use, or turns into a placeholder, only when no booking of it is under way."""
    for method, fields in (
        (
            "UpdatePatient",
            {"patient": types.Patient(placeholder=True), "update_mask": FieldMask(paths=["placeholder"])},
        ),
        ("DeactivatePatient", {}),
    ):
        patient = (await directory.add("Patient", **ASA)).id
        with psycopg.connect(suite.database.owner_url) as booking:
            booking.execute("SELECT FROM patient WHERE id = %s FOR KEY SHARE", (patient,))
            change = asyncio.create_task(directory.call(method, patient_id=patient, **fields))

            async def waits() -> bool:
                return query(suite.database.owner_url, WAITING) == [(1,)]

            await wait_until_async(waits, what=f"{method} to wait for the booking")
            booking.rollback()
        assert (await change).patient.id == patient


async def test_a_patient_that_became_a_placeholder_meanwhile_is_told_when_to_come_again(
    directory: Directory, suite: Suite
) -> None:
    """Seen as somebody, locked as a placeholder: it is made somebody again by nobody who lacks the locks."""
    patient = (await directory.add("Patient", **ASA)).id
    fields = {"patient": types.Patient(placeholder=False), "update_mask": FieldMask(paths=["placeholder"])}
    with psycopg.connect(suite.database.owner_url) as other:
        other.execute("UPDATE patient SET placeholder = true WHERE id = %s", (patient,))
        change = asyncio.create_task(directory.call("UpdatePatient", patient_id=patient, **fields))

        async def waits() -> bool:
            return query(suite.database.owner_url, WAITING) == [(1,)]

        await wait_until_async(waits, what="the change to wait for the other one")
        other.commit()
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await change
    assert (code_of(refused.value), reason_of(refused.value)) == ("ABORTED", "CONCURRENT_BOOKING")
    assert details_of(refused.value)["RetryInfo"].retry_delay.ToMilliseconds() > 0
    assert not (await directory.call("UpdatePatient", patient_id=patient, **fields)).patient.placeholder


WAITING = (
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
)

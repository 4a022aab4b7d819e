"""Patients read by the hundred: all of them or none, each as by itself."""

from __future__ import annotations

import grpc.aio
import pytest

from tests.integration.directory.conftest import ASA, Directory, Suite
from tests.support.booking import code_of, details_of
from tests.support.invariants import query
from tests.support.practice import Practice, new_id


async def test_patients_are_read_together_in_the_order_asked(directory: Directory, suite: Suite) -> None:
    """A batch has what reading each by itself has, deactivated ones too, and as many audit rows."""
    made = [await directory.add("Patient", **{**ASA, "name": f"Asa {letter}"}) for letter in "BCA"]
    gone = (await directory.call("DeactivatePatient", patient_id=made[1].id)).patient
    asked = [made[2].id, gone.id.upper(), made[0].id]
    read = (await directory.call("BatchGetPatients", ids=asked)).patients
    assert list(read) == [made[2], gone, made[0]]
    rows = query(
        suite.database.owner_url,
        "SELECT entity_id::text, count(*) FROM audit_event WHERE action = 'patient.read' AND clinic_id = %s"
        " GROUP BY entity_id",
        directory.clinic,
    )
    assert dict(rows) == {patient.id: 1 for patient in made}


async def test_a_batch_is_all_or_nothing(directory: Directory, suite: Suite) -> None:
    """One that is not there refuses all, its place is told, and nobody was read."""
    made = [await directory.add("Patient", **ASA) for _ in range(2)]
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await directory.call("BatchGetPatients", ids=[made[0].id, made[1].id, new_id()])
    assert code_of(refused.value) == "NOT_FOUND"
    assert refused.value.details() == "ids[2]: No such patient."
    assert details_of(refused.value)["ErrorInfo"].metadata["place"] == "2"
    rows = query(
        suite.database.owner_url,
        "SELECT count(*) FROM audit_event WHERE action = 'patient.read' AND clinic_id = %s",
        directory.clinic,
    )
    assert rows == [(0,)]


async def test_a_batch_has_bounds(directory: Directory) -> None:
    """None, more than a hundred, one twice however spelled, and what is no id are malformed; a hundred are answered."""
    made = [await directory.add("Patient", name=f"Asa {n}", dob="1984-05-06") for n in range(100)]
    ids = [patient.id for patient in made]
    for wrong in ([], [*ids, new_id()], [ids[0], ids[0]], [*ids[:2], ids[0].upper()], ["nobody"]):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await directory.call("BatchGetPatients", ids=wrong)
        assert code_of(refused.value) == "INVALID_ARGUMENT"
        (violation,) = details_of(refused.value)["BadRequest"].field_violations
        assert violation.field.startswith("ids")
    read = await directory.call("BatchGetPatients", ids=ids)
    assert [patient.id for patient in read.patients] == ids


async def test_a_batch_opens_what_reading_one_by_one_does(
    directory: Directory, practice: Practice, suite: Suite
) -> None:
    """A provider's patients, a patient itself, whom an emergency opens; with anybody else among them: NOT_FOUND."""
    mine, other = [await directory.add("Patient", **ASA) for _ in range(2)]
    await directory.visit(practice, mine.id)
    admin = suite.keys.token(practice.clinic, "admin", "on-call", scopes=("break:glass",))
    read = ("read:phi",)
    tokens = [
        suite.keys.token(practice.clinic, "provider", scopes=read, provider_id=practice.provider),
        suite.keys.token(practice.clinic, "patient", scopes=read, patient_id=mine.id),
        admin,
    ]
    directory.token = admin
    await directory.call("BreakGlass", patient_id=mine.id, reason="found unconscious at the door")
    for token in tokens:
        directory.token = token
        assert list((await directory.call("BatchGetPatients", ids=[mine.id])).patients) == [mine]
        with pytest.raises(grpc.aio.AioRpcError) as unknown:
            await directory.call("BatchGetPatients", ids=[mine.id, other.id])
        assert code_of(unknown.value) == "NOT_FOUND"
    directory.token = admin
    await directory.call("BreakGlass", reason="the reading room is on fire")
    assert len((await directory.call("BatchGetPatients", ids=[mine.id, other.id])).patients) == 2

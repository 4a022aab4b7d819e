"""What makes two requests the same, and what a PATCH may ask for."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from medforall.booking.v1 import appointment_pb2
from medforall.booking.v1 import booking_pb2 as pb
from medforall.directory.v1 import directory_pb2 as directory
from medforall.directory.v1 import directory_types_pb2 as types

from booking_svc.model import Caller
from booking_svc.rpc import requests
from booking_svc.usecases.commands import ChangeNotes, ChangeStatus, Reschedule
from chassis.auth.principal import Principal, Role
from scheduling.appointment import AppointmentStatus
from scheduling.errors import Invalid

CALLER = Caller(principal=Principal(subject="tester", role=Role.ADMIN, clinic_id="clinic"))


def test_how_a_request_is_made_is_not_what_it_asks_for() -> None:
    """Key, tag and the age of the slots do not change a request's fingerprint; anything else does."""
    first = pb.CreateAppointmentRequest(clinic_id="c", start="2027-01-04T09:00", idempotency_key="one")
    again = pb.CreateAppointmentRequest(clinic_id="c", start="2027-01-04T09:00", idempotency_key="two")
    again.availability_fetched_at.GetCurrentTime()
    other = pb.CreateAppointmentRequest(clinic_id="c", start="2027-01-04T09:15", idempotency_key="one")
    assert requests.fingerprint(first) == requests.fingerprint(again) != requests.fingerprint(other)
    tagged = pb.CancelAppointmentRequest(appointment_id="a", etag='"3"')
    assert requests.fingerprint(tagged) == requests.fingerprint(
        pb.CancelAppointmentRequest(appointment_id="a")
    )


ID = "0190abcd-0000-7000-8000-00000000000a"


@pytest.mark.parametrize(
    ("field", "spellings"),
    [
        ("patient_id", (ID, ID.upper())),
        ("start", ("2027-01-04T09:00", "2027-01-04T09:00:00", "2027-01-04 09:00", "2027-01-04t09:00:00.000")),
        ("end", ("2027-01-04T09:30Z", "2027-01-04T09:30:00+00:00", "2027-01-04T09:30+0000")),
    ],
)
def test_a_request_is_the_same_however_it_is_spelled(field: str, spellings: tuple[str, ...]) -> None:
    """Ids in capitals and local times without seconds are the same; another offset, or text in notes, is not."""
    fields: list[dict[str, Any]] = [{field: spelling} for spelling in spellings]
    requests_ = [pb.CreateAppointmentRequest(**wanted) for wanted in fields]
    assert len({requests.fingerprint(request) for request in requests_}) == 1
    noted = [pb.CreateAppointmentRequest(notes=spelling) for spelling in spellings]
    assert len({requests.fingerprint(request) for request in noted}) == len(spellings)
    without, other = (
        pb.CreateAppointmentRequest(start=f"2027-01-04T09:00{offset}") for offset in ("", "-05:00")
    )
    assert requests.fingerprint(without) != requests.fingerprint(other)


@pytest.mark.parametrize("start", ["2027-01-04T09:00", "2027-01-04T14:00Z", "2027-01-04T09:00-05:00"])
def test_the_usual_spelling_has_the_fingerprint_of_the_request_as_it_came(start: str) -> None:
    """So a call that is repeated across an upgrade is still known: older services hashed texts as they were."""
    request = pb.CreateAppointmentRequest(clinic_id=ID, start=start)
    as_it_came = hashlib.sha256(request.SerializeToString(deterministic=True)).digest()
    assert requests.fingerprint(request) == as_it_came


def test_ids_within_messages_and_lists_are_spelled_alike_too() -> None:
    """Directory requests have their ids deeper: in messages and in lists of them."""
    first, again = (
        directory.CreatePreferenceRequest(
            clinic_id=spelled,
            preference=types.Preference(provider_id=spelled, preferred_room_ids=[spelled]),
        )
        for spelled in (ID, ID.upper())
    )
    assert requests.fingerprint(first) == requests.fingerprint(again)


def test_a_patch_hands_over_to_the_right_use_case() -> None:
    """A status is a step, a time or place a move, notes alone are notes; notes go along with both."""
    status, step = requests.update_appointment(
        pb.UpdateAppointmentRequest(status=appointment_pb2.APPOINTMENT_STATUS_CANCELED, notes="x"), CALLER
    )
    assert status is AppointmentStatus.CANCELED
    assert isinstance(step, ChangeStatus)
    assert step.notes == "x"
    _, move = requests.update_appointment(pb.UpdateAppointmentRequest(start="2027-01-04T09:00"), CALLER)
    assert isinstance(move, Reschedule)
    assert move.notes is None
    _, notes = requests.update_appointment(pb.UpdateAppointmentRequest(notes=""), CALLER)
    assert isinstance(notes, ChangeNotes)


@pytest.mark.parametrize(
    "request_",
    [
        pb.UpdateAppointmentRequest(),
        pb.UpdateAppointmentRequest(
            start="2027-01-04T09:00", status=appointment_pb2.APPOINTMENT_STATUS_CANCELED
        ),
        pb.UpdateAppointmentRequest(notes="a\x00b"),
    ],
)
def test_a_patch_of_nothing_or_of_two_things_is_refused(request_: pb.UpdateAppointmentRequest) -> None:
    """Nothing to change, a status together with a time, and text that no database holds."""
    with pytest.raises(Invalid):
        requests.update_appointment(request_, CALLER)

"""The section `appointments`: from words to visits to book, by the fields and checks of the booking contract."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from medforall.booking.v1 import appointment_pb2, booking_pb2

from booking_svc.model import Appointment, Caller
from booking_svc.rpc.requests import create_appointment
from booking_svc.usecases.history import HISTORY
from booking_svc.usecases.judging_many import TO_STAND, Given
from ctl.transfer.faults import Fault
from ctl.transfer.meaning import WrongError, contract_faults, scalar_of
from ctl.transfer.reading import RawEntry
from scheduling import localtime
from scheduling.appointment import AppointmentStatus
from scheduling.errors import Invalid

_OWN: Final = ("id", "status")
_ASKED: Final = (
    "location_id",
    "provider_id",
    "service_id",
    "patient_id",
    "room_id",
    "start",
    "end",
    "notes",
    "override_reason",
)
_DESCRIPTORS: Final[Mapping[str, Any]] = {
    **{name: appointment_pb2.Appointment.DESCRIPTOR.fields_by_name[name] for name in _OWN},
    **{name: booking_pb2.CreateAppointmentRequest.DESCRIPTOR.fields_by_name[name] for name in _ASKED},
}
"""What can be said of a visit: `id` and `status` as an appointment has them, the rest as a booking is asked for."""

STATUS_WORDS: Final = tuple(status.value for status in AppointmentStatus if status in HISTORY | TO_STAND)
"""Every status but those of holds."""
_LOCAL_TIMES: Final = ("start", "end")
AS_EXPORTED: Final = "as exported"
"""Why a visit that stood is booked again, if it takes a reason."""


@dataclass(frozen=True, slots=True)
class WantedVisit:
    """A visit that a file asks for, and where it stands there."""

    given: Given
    raw: RawEntry


class VisitReader:
    """Makes visits of one clinic's entries, and collects what is wrong with them."""

    def __init__(self, clinic_id: str, caller: Caller) -> None:
        self._clinic_id = clinic_id
        self._caller = caller

    def wanted(self, raw: RawEntry, faults: list[Fault] | None) -> WantedVisit | None:
        """The visit; None when it has faults, which are added. Without a list it was checked before.

        A null, or an empty cell, says nothing.
        """
        found: list[Fault] = []
        words = self._words(raw, found)
        visit_id, status = words.pop("id", ""), words.pop("status", None)
        request = booking_pb2.CreateAppointmentRequest(clinic_id=self._clinic_id, **words)
        if faults is not None and not found:
            found += _faults(request, raw, visit_id)
        if found:
            if faults is not None:
                faults += found
            return None
        book = create_appointment(request, self._caller)
        given = Given(id=visit_id, book=book, status=None if status is None else AppointmentStatus(status))
        return WantedVisit(given, raw)

    def _words(self, raw: RawEntry, faults: list[Fault]) -> dict[str, Any]:
        if not isinstance(raw.tree, dict):
            faults.append(raw.fault((), "must be a mapping of fields"))
            return {}
        words: dict[str, Any] = {}
        for name, value in raw.tree.items():
            if name not in _DESCRIPTORS:
                faults.append(raw.fault((name,), "is no field that can be set"))
            elif value:
                try:
                    words[name] = self._word(name, value)
                except WrongError as error:
                    faults.append(raw.fault((name,), str(error)))
        return words

    def _word(self, name: str, value: Any) -> str:
        if name == "status":
            return _status(value)
        return str(scalar_of(_DESCRIPTORS[name], value, self._clinic_id))


def _status(value: Any) -> str:
    word = value.lower() if isinstance(value, str) else ""
    if word not in STATUS_WORDS:
        raise WrongError(f"must be one of: {', '.join(STATUS_WORDS)}")
    return word


def entry_of(visit: Appointment) -> dict[str, str]:
    """A visit as a file says it, notes and reasons in the clear; what is empty is left out.

    One that stands has a reason to be taken again after it has begun, or when a rule that came later is against it.
    """
    reason = visit.override.reason if visit.override else ""
    if visit.status in TO_STAND:
        reason = reason or AS_EXPORTED
    said = {
        "id": visit.id,
        "location_id": visit.location_id,
        "provider_id": visit.provider_id,
        "service_id": visit.service_id,
        "patient_id": visit.patient_id,
        "room_id": visit.room_id,
        "start": localtime.format_local(visit.zone, visit.start_min),
        "end": localtime.format_local(visit.zone, visit.end_min),
        "status": visit.status.value,
        "notes": visit.notes,
        "override_reason": reason,
    }
    return {name: value for name, value in said.items() if value}


def _faults(request: booking_pb2.CreateAppointmentRequest, raw: RawEntry, visit_id: str) -> list[Fault]:
    faults = contract_faults(request, raw)
    if not visit_id:
        faults.append(raw.fault((), "needs an id: a UUID, or a word of your own"))
    for name in _LOCAL_TIMES:
        text = getattr(request, name)
        if text and not any(fault.field == name for fault in faults):
            try:
                localtime.parse_local(text, "UTC", name)
            except Invalid as refused:
                faults += [raw.fault((name,), violation.description) for violation in refused.violations]
    return faults

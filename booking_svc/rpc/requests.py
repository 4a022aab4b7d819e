"""Requests to commands."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from functools import cache
from typing import Any, Final

from buf.validate import validate_pb2
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from medforall.booking.v1 import appointment_pb2 as appointment
from medforall.booking.v1 import booking_pb2 as booking

from booking_svc.model import Caller
from booking_svc.reasons import require_said
from booking_svc.usecases import commands
from chassis.grpc.context import current_call
from scheduling import localtime
from scheduling.appointment import AppointmentStatus
from scheduling.errors import Invalid
from scheduling.facts import RoomMode

STATUSES: Final = {
    appointment.APPOINTMENT_STATUS_HELD: AppointmentStatus.HELD,
    appointment.APPOINTMENT_STATUS_SCHEDULED: AppointmentStatus.SCHEDULED,
    appointment.APPOINTMENT_STATUS_CONFIRMED: AppointmentStatus.CONFIRMED,
    appointment.APPOINTMENT_STATUS_CHECKED_IN: AppointmentStatus.CHECKED_IN,
    appointment.APPOINTMENT_STATUS_IN_PROGRESS: AppointmentStatus.IN_PROGRESS,
    appointment.APPOINTMENT_STATUS_COMPLETED: AppointmentStatus.COMPLETED,
    appointment.APPOINTMENT_STATUS_CANCELED: AppointmentStatus.CANCELED,
    appointment.APPOINTMENT_STATUS_NO_SHOW: AppointmentStatus.NO_SHOW,
    appointment.APPOINTMENT_STATUS_RELEASED: AppointmentStatus.RELEASED,
    appointment.APPOINTMENT_STATUS_EXPIRED: AppointmentStatus.EXPIRED,
}
ROOM_MODES: Final = {
    appointment.ROOM_SELECTION_MODE_AUTO: RoomMode.AUTO,
    appointment.ROOM_SELECTION_MODE_SPECIFIC: RoomMode.SPECIFIC,
    appointment.ROOM_SELECTION_MODE_NONE: RoomMode.NONE,
}

# They say how a request is made, not what it asks for: the same intent may come with others.
_NOT_CANONICAL: Final = ("idempotency_key", "availability_fetched_at", "etag", "hold_token")
_LOCAL_TIMES: Final = ("start", "end")
_KEY_CHARS_MAX: Final = 255


def caller_of(request: Message) -> Caller:
    """Who makes the current call; the idempotency key is the request's, else the header's."""
    call = current_call()
    key: str = getattr(request, "idempotency_key", "") or call.idempotency_key or ""
    if len(key) > _KEY_CHARS_MAX or "\x00" in key:
        raise Invalid.field("idempotency_key", f"must have at most {_KEY_CHARS_MAX} characters")
    return Caller(
        principal=call.caller,
        request_id=call.request_id,
        traceparent=call.traceparent,
        idempotency_key=key,
        address=call.client_address,
    )


def fingerprint(request: Message) -> bytes:
    """The SHA-256 of what a request asks for, however its ids and local times are spelled."""
    canonical = type(request)()
    canonical.CopyFrom(request)
    for name in _NOT_CANONICAL:
        if name in canonical.DESCRIPTOR.fields_by_name:
            canonical.ClearField(name)
    for name in _LOCAL_TIMES:
        if name in canonical.DESCRIPTOR.fields_by_name:
            setattr(canonical, name, localtime.canonical_text(getattr(canonical, name)))
    _lower_ids(canonical)
    return hashlib.sha256(canonical.SerializeToString(deterministic=True)).digest()


def _lower_ids(message: Message) -> None:
    """Spell every id of the request as the database does; the contract says which texts are ids."""
    for field, value in message.ListFields():
        if field.message_type is not None:
            is_map = field.message_type.GetOptions().map_entry
            items = value.values() if is_map else value if field.is_repeated else (value,)
            for item in items:
                if isinstance(item, Message):
                    _lower_ids(item)
        elif _is_id(field) and field.is_repeated:
            value[:] = [item.lower() for item in value]
        elif _is_id(field):
            setattr(message, field.name, value.lower())


@cache
def _is_id(field: FieldDescriptor) -> bool:
    rules = field.GetOptions().Extensions[validate_pb2.field]
    return bool(rules.string.uuid or rules.repeated.items.string.uuid)


def create_appointment(request: booking.CreateAppointmentRequest, caller: Caller) -> commands.Book:
    """A booking."""
    return commands.Book(caller=caller, **_wish(request))


def create_hold(request: booking.CreateHoldRequest, caller: Caller) -> commands.Book:
    """A hold."""
    return commands.Book(caller=caller, hold_ttl_s=request.ttl_seconds, **_wish(request))


def _wish(request: booking.CreateAppointmentRequest | booking.CreateHoldRequest) -> dict[str, Any]:
    return {
        "clinic_id": request.clinic_id.lower(),
        "patient_id": _id(request.patient_id),
        "service_id": request.service_id.lower(),
        "provider_id": request.provider_id.lower(),
        "location_id": _id(request.location_id),
        "start": request.start,
        "end": request.end,
        "room_id": _id(request.room_id),
        "room_mode": ROOM_MODES.get(request.room_selection_mode),
        "notes": _text(request.notes, "notes"),
        "override_reason": _override_reason(request.override_reason),
        "availability_fetched_at": instant_in(request, "availability_fetched_at"),
    }


def get_appointment(request: booking.GetAppointmentRequest, caller: Caller) -> commands.Get:
    """A look at one appointment."""
    return commands.Get(
        caller=caller, clinic_id=request.clinic_id.lower(), appointment_id=request.appointment_id.lower()
    )


def list_appointments(request: booking.ListAppointmentsRequest, caller: Caller) -> commands.List:
    """A page."""
    return commands.List(
        caller=caller,
        clinic_id=request.clinic_id.lower(),
        provider_id=_id(request.provider_id),
        patient_id=_id(request.patient_id),
        location_id=_id(request.location_id),
        date=request.date,
        date_range=request.date_range,
        statuses=tuple(STATUSES[status] for status in request.status if status in STATUSES),
        page=request.page,
        limit=request.limit,
        page_token=request.page_token,
    )


StatusRequest = (
    booking.CancelAppointmentRequest
    | booking.ConfirmAppointmentRequest
    | booking.CheckInAppointmentRequest
    | booking.StartAppointmentRequest
    | booking.CompleteAppointmentRequest
    | booking.MarkNoShowRequest
)


def change_status(request: StatusRequest, caller: Caller) -> commands.ChangeStatus:
    """A step in an appointment's life."""
    return commands.ChangeStatus(
        caller=caller,
        clinic_id=request.clinic_id.lower(),
        appointment_id=request.appointment_id.lower(),
        etag=request.etag,
        reason=_text(request.reason, "reason"),
    )


def reschedule(request: booking.RescheduleAppointmentRequest, caller: Caller) -> commands.Reschedule:
    """A move."""
    return commands.Reschedule(caller=caller, **_move(request))


def _move(request: booking.RescheduleAppointmentRequest | booking.UpdateAppointmentRequest) -> dict[str, Any]:
    return {
        "clinic_id": request.clinic_id.lower(),
        "appointment_id": request.appointment_id.lower(),
        "etag": request.etag,
        "start": request.start,
        "end": request.end,
        "provider_id": _id(request.provider_id),
        "location_id": _id(request.location_id),
        "room_id": _id(request.room_id),
        "room_mode": ROOM_MODES.get(request.room_selection_mode),
        "reason": _text(request.reason, "reason"),
        "override_reason": _override_reason(request.override_reason),
        "availability_fetched_at": instant_in(request, "availability_fetched_at"),
    }


def update_appointment(
    request: booking.UpdateAppointmentRequest, caller: Caller
) -> tuple[AppointmentStatus | None, commands.Existing]:
    """What a PATCH asks for: a step with its status, a move, or other notes. Raises Invalid for both or nothing."""
    notes = _text(request.notes, "notes") if request.HasField("notes") else None
    moves = any(
        (request.start, request.end, request.provider_id, request.room_id, request.location_id)
    ) or bool(request.room_selection_mode)
    status = STATUSES.get(request.status)
    if status is not None and moves:
        raise Invalid.field("status", "does not go together with a new time, provider, room or location")
    common: dict[str, Any] = {
        "caller": caller,
        "clinic_id": request.clinic_id.lower(),
        "appointment_id": request.appointment_id.lower(),
        "etag": request.etag,
    }
    if status is not None:
        return status, commands.ChangeStatus(**common, reason=_text(request.reason, "reason"), notes=notes)
    if moves:
        return None, commands.Reschedule(caller=caller, notes=notes, **_move(request))
    if notes is None:
        raise Invalid.field("status", "nothing to change: give start, status or notes")
    return None, commands.ChangeNotes(**common, notes=notes)


HoldRequest = booking.RenewHoldRequest | booking.ConfirmHoldRequest | booking.ReleaseHoldRequest


def renew_hold(request: booking.RenewHoldRequest, caller: Caller) -> commands.UseHold:
    """A longer hold."""
    return commands.UseHold(caller=caller, ttl_s=request.ttl_seconds, **_hold(request))


def confirm_hold(request: booking.ConfirmHoldRequest, caller: Caller) -> commands.UseHold:
    """A hold that becomes an appointment."""
    notes = _text(request.notes, "notes") if request.HasField("notes") else None
    return commands.UseHold(caller=caller, patient_id=_id(request.patient_id), notes=notes, **_hold(request))


def release_hold(request: booking.ReleaseHoldRequest, caller: Caller) -> commands.UseHold:
    """A hold that is given back."""
    return commands.UseHold(caller=caller, **_hold(request))


def _hold(request: HoldRequest) -> dict[str, Any]:
    return {
        "clinic_id": request.clinic_id.lower(),
        "hold_id": request.hold_id.lower(),
        "hold_token": request.hold_token,
    }


def _id(value: str) -> str | None:
    return value.lower() or None


def _override_reason(value: str) -> str:
    """Why soft rules may be broken; empty when they may not. The contract knows ASCII's blanks alone."""
    if value:
        require_said(value, "override_reason")
    return _text(value, "override_reason")


def _text(value: str, field: str) -> str:
    """Text that the database can hold."""
    if "\x00" in value:
        raise Invalid.field(field, "must not contain the character NUL")
    return value


def instant_in(request: Any, field: str) -> datetime | None:
    """The instant in a field, if there is one. Raises Invalid for one that no calendar has."""
    if not request.HasField(field):
        return None
    try:
        found: datetime = getattr(request, field).ToDatetime(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise Invalid.field(field, "must be an instant of the years 1 to 9999") from None
    return found

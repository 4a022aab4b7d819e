"""Results to replies."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, Final, Generic, TypeVar

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from medforall.booking.v1 import appointment_pb2 as appointment
from medforall.type.v1 import reason_pb2, scheduling_pb2

from booking_svc.model import Appointment, Conflicts, FreeSlot, Outcome
from booking_svc.rpc.requests import ROOM_MODES, STATUSES
from chassis.auth.principal import Principal
from chassis.interceptors.errors import DETAIL_BYTES_MAX
from scheduling.clock import instant_of
from scheduling.facts import ResourceKind
from scheduling.localtime import zone_of

AnswerT = TypeVar("AnswerT", bound=Message)

_STATUS_NUMBERS: Final = {status: number for number, status in STATUSES.items()}
_MODE_NUMBERS: Final = {mode: number for number, mode in ROOM_MODES.items()}
_KINDS: Final = {
    ResourceKind.PROVIDER: scheduling_pb2.SCARCE_KIND_PROVIDER,
    ResourceKind.ROOM: scheduling_pb2.SCARCE_KIND_ROOM,
    ResourceKind.EQUIPMENT: scheduling_pb2.SCARCE_KIND_EQUIPMENT,
    ResourceKind.PATIENT: scheduling_pb2.SCARCE_KIND_PATIENT,
    ResourceKind.QUOTA: scheduling_pb2.SCARCE_KIND_QUOTA,
}
_SECONDS_A_MINUTE: Final = 60
_CONFLICT_ROOMS_MAX: Final = 3


def may_read_phi(principal: Principal) -> bool:
    """Whether the caller sees what was said of a visit."""
    return principal.reads_phi


def appointment_message(visit: Appointment, *, with_phi: bool) -> appointment.Appointment:
    """An appointment as a reply shows it."""
    message = appointment.Appointment(
        id=visit.id,
        clinic_id=visit.clinic_id,
        location_id=visit.location_id,
        patient_id=visit.patient_id or "",
        provider_id=visit.provider_id,
        room_id=visit.room_id,
        service_id=visit.service_id,
        start=local_text(visit.start_min, visit.zone),
        end=local_text(visit.end_min, visit.zone),
        start_utc=_minute(visit.start_min),
        end_utc=_minute(visit.end_min),
        status=_STATUS_NUMBERS[visit.status],
        notes=visit.notes if with_phi else "",
        created_at=_instant(visit.created_at),
        updated_at=_instant(visit.updated_at),
        version=visit.version,
        etag=visit.etag,
        room_selection_mode=_MODE_NUMBERS[visit.room_mode],
        equipment=[
            appointment.EquipmentUse(equipment_id=use.equipment_id, units=use.units)
            for use in visit.equipment
        ],
        timezone=visit.zone,
        reason=visit.reason if with_phi else "",
    )
    if visit.override is not None:
        reason = visit.override.reason if with_phi else ""
        message.override.CopyFrom(
            appointment.Override(reason=reason, by=visit.override.by, rules=visit.override.rules)
        )
    if visit.expires_at is not None:
        message.expires_at.CopyFrom(_instant(visit.expires_at))
    return message


@dataclass(frozen=True, slots=True)
class AnswerCodec(Generic[AnswerT]):
    """The answers of one method to one caller: an appointment, a consistency token, and a hold's token where told."""

    message: type[AnswerT]
    with_phi: bool

    def answer(self, outcome: Outcome) -> AnswerT:
        """Return the answer to a new outcome."""
        fields: dict[str, Any] = {"hold_token": outcome.hold_token} if outcome.hold_token else {}
        return self.message(
            appointment=appointment_message(outcome.appointment, with_phi=self.with_phi),
            consistency_token=outcome.consistency_token,
            **fields,
        )

    def dump(self, answer: AnswerT) -> bytes:
        """Return the answer as bytes."""
        return answer.SerializeToString()

    def replay(self, raw: bytes) -> AnswerT:
        """Return a stored answer, marked as a replay."""
        answer = self.message.FromString(raw)
        answer.replayed = True  # type: ignore[attr-defined]
        return answer


def conflict_message(conflicts: Conflicts) -> scheduling_pb2.BookingConflict:
    """What is taken and what is free instead, as an error's detail: all that is taken, and as many slots as fit."""
    message = scheduling_pb2.BookingConflict(
        taken=[
            scheduling_pb2.TakenResource(
                kind=_KINDS[item.kind],
                id="" if item.kind is ResourceKind.QUOTA else item.id,
                reason=reason_pb2.ErrorReason.Value(f"ERROR_REASON_{item.reason.value}"),
            )
            for item in conflicts.taken
            if item.kind in _KINDS
        ],
        same_provider=map(_slot, conflicts.same_provider),
        any_provider=map(_slot, conflicts.any_provider),
    )
    # The last one is the farthest away.
    while message.ByteSize() > DETAIL_BYTES_MAX and (message.same_provider or message.any_provider):
        longer = max(message.same_provider, message.any_provider, key=len)
        del longer[-1]
    return message


def _slot(slot: FreeSlot) -> scheduling_pb2.Slot:
    return scheduling_pb2.Slot(
        start=local_text(slot.start_min, slot.zone),
        end=local_text(slot.end_min, slot.zone),
        start_utc=_minute(slot.start_min),
        end_utc=_minute(slot.end_min),
        provider=scheduling_pb2.ProviderSummary(
            id=slot.provider_id, name=slot.provider_name, specialty=slot.specialty
        ),
        room_options=[
            scheduling_pb2.RoomOption(id=room.id, name=room.name, type=room.type)
            for room in slot.rooms[:_CONFLICT_ROOMS_MAX]
        ],
        score=slot.score,
        location_id=slot.location_id,
    )


@lru_cache(maxsize=8_192)
def local_text(at_min: int, zone: str) -> str:
    """Local time with its offset, `2026-02-20T09:00:00-05:00`."""
    return instant_of(at_min).astimezone(zone_of(zone)).isoformat()


def _minute(at_min: int) -> Timestamp:
    return Timestamp(seconds=at_min * _SECONDS_A_MINUTE)


def _instant(instant: datetime) -> Timestamp:
    stamp = Timestamp()
    stamp.FromDatetime(instant)
    return stamp

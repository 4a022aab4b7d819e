"""Booking a time that nobody has yet: what an appointment and a hold have in common."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from booking_svc.model import Appointment, Change, EquipmentUse, EventType, Outcome, Override
from booking_svc.store.session import Session
from booking_svc.usecases import access
from booking_svc.usecases.commands import Book
from booking_svc.usecases.judged_facts import ask_all
from booking_svc.usecases.places import Places
from booking_svc.usecases.recording import Recorder
from booking_svc.usecases.taking import Granted, Taker, Wanted, held_claims
from chassis.auth.principal import Role
from database.location_facts import LocationFacts
from scheduling import localtime
from scheduling.appointment import AppointmentStatus
from scheduling.errors import Invalid
from scheduling.facts import EquipmentUnit, Location, RoomChoice, RoomMode, Service
from scheduling.frame import service_of
from scheduling.ids import NewId
from scheduling.judge import Proposal

HOLD_DEFAULT_S: Final = 300
HOLD_MAX_S: Final = 900


class Booker:
    """Books; `new_token` makes the secret of a hold."""

    def __init__(
        self, places: Places, taker: Taker, recorder: Recorder, *, new_id: NewId, new_token: Callable[[], str]
    ) -> None:
        self._places = places
        self._taker = taker
        self._recorder = recorder
        self._new_id = new_id
        self._new_token = new_token

    async def __call__(self, session: Session, command: Book) -> Outcome:
        """Take provider, room, equipment and patient, or nothing."""
        principal = command.caller.principal
        command = for_its_caller(command)
        access.require_may_book(principal, patient_id=command.patient_id)
        if command.override_reason:
            access.require_may_override(principal)
        location_id = command.location_id or await self._places.find(session, command)
        entered = await self._places.enter(
            session,
            location_id,
            command.service_id,
            command.provider_id,
            lambda facts: ask_all(session, facts.static, proposal_of(command, facts)),
        )
        facts = entered.facts
        visit_id = self._new_id()
        token = "" if command.hold_ttl_s is None else self._new_token()

        def write(granted: Granted) -> tuple[Outcome, datetime | None]:
            visit = new_visit(command, granted, visit_id, token)
            session.insert_appointment(visit)
            change = Change(
                event_type=EventType.CREATED if command.hold_ttl_s is None else EventType.HOLD_CREATED,
                after=visit,
                claims=held_claims(granted.verdict.claims, visit.expires_at),
                versions=granted.versions,
            )
            outcome = self._recorder.record(session, command.caller, change, granted.now)
            return replace(outcome, hold_token=token), visit.expires_at

        wanted = Wanted(
            caller=command.caller,
            appointment_id=visit_id,
            facts=facts,
            proposal=entered.question.proposal if entered.question else proposal_of(command, facts),
            fetched_at=command.availability_fetched_at,
            first=entered.question,
        )
        return await self._taker.take(session, wanted, write)


def for_its_caller(command: Book) -> Book:
    """The command with its patient: a patient who names nobody books for itself."""
    principal = command.caller.principal
    if principal.role is Role.PATIENT and command.patient_id is None:
        return replace(command, patient_id=principal.patient_id)
    return command


def proposal_of(command: Book, facts: LocationFacts) -> Proposal:
    """The proposal that a command is at a location. Raises Invalid for a time that is none."""
    zone = facts.static.location.zone
    return Proposal(
        service_id=command.service_id,
        provider_id=command.provider_id,
        start_min=localtime.parse_local(command.start, zone),
        end_min=localtime.parse_local(command.end, zone, "end") if command.end else None,
        patient_id=command.patient_id,
        room=room_choice(command.room_id, command.room_mode),
        is_override=bool(command.override_reason),
    )


def room_choice(room_id: str | None, mode: RoomMode | None) -> RoomChoice:
    """How a room is chosen: the mode asked for, else specific when a room is named, else auto."""
    if mode is None:
        mode = RoomMode.AUTO if room_id is None else RoomMode.SPECIFIC
    if (mode is RoomMode.SPECIFIC) != (room_id is not None):
        raise Invalid.field("room_id", "goes with the room selection mode specific, and must be given then")
    return RoomChoice(mode, room_id)


def new_visit(command: Book, granted: Granted, visit_id: str, token: str) -> Appointment:
    """The appointment or hold that is booked."""
    static, verdict = granted.facts.static, granted.verdict
    is_hold = command.hold_ttl_s is not None
    return visit_of(
        command,
        service_of(static, command.service_id),
        static.location,
        visit_id=visit_id,
        start_min=verdict.start_min,
        end_min=verdict.end_min,
        room_id=verdict.room_id,
        status=AppointmentStatus.HELD if is_hold else AppointmentStatus.SCHEDULED,
        override=override_of(command.override_reason, command.caller.principal.subject, granted),
        now=granted.now,
        expires_at=expiry(granted.now, command.hold_ttl_s) if is_hold else None,
        hold_token_hash=token_hash(token) if is_hold else None,
        equipment=equipment_uses(verdict.equipment),
    )


def visit_of(
    command: Book,
    service: Service,
    location: Location,
    *,
    visit_id: str,
    start_min: int,
    end_min: int,
    room_id: str | None,
    status: AppointmentStatus,
    override: Override | None,
    now: datetime,
    expires_at: datetime | None = None,
    hold_token_hash: bytes | None = None,
    equipment: tuple[EquipmentUse, ...] = (),
) -> Appointment:
    """The visit that a command asks for, at its time and place, made now."""
    return Appointment(
        clinic_id=command.clinic_id,
        id=visit_id,
        location_id=location.id,
        patient_id=command.patient_id,
        provider_id=command.provider_id,
        room_id=room_id,
        service_id=command.service_id,
        start_min=start_min,
        end_min=end_min,
        zone=location.zone,
        status=status,
        room_mode=shown_mode(command.room_id, command.room_mode, room_id),
        buffer_before_min=service.buffer_before_min,
        buffer_after_min=service.buffer_after_min,
        notes=command.notes,
        override=override,
        expires_at=expires_at,
        hold_token_hash=hold_token_hash,
        equipment=equipment,
        created_by=command.caller.principal.subject,
        created_at=now,
        updated_at=now,
    )


def shown_mode(wanted_id: str | None, mode: RoomMode | None, room_id: str | None) -> RoomMode:
    """The mode that is kept: a visit that took no room has none."""
    if room_id is None:
        return RoomMode.NONE
    return room_choice(wanted_id, mode).mode


def override_of(reason: str, subject: str, granted: Granted) -> Override | None:
    """What was overridden, if anything was."""
    broken = tuple(dict.fromkeys(refusal.reason.value for refusal in granted.verdict.overridden))
    return Override(reason, subject, broken) if reason and broken else None


def equipment_uses(units: tuple[EquipmentUnit, ...]) -> tuple[EquipmentUse, ...]:
    """The units of each item, items in order."""
    by_item: dict[str, list[int]] = {}
    for chosen in units:
        by_item.setdefault(chosen.equipment_id, []).append(chosen.unit)
    return tuple(EquipmentUse(item, tuple(sorted(found))) for item, found in sorted(by_item.items()))


def expiry(now: datetime, ttl_s: int | None) -> datetime:
    """When a hold ends that begins or is renewed now."""
    return now + timedelta(seconds=min(ttl_s or HOLD_DEFAULT_S, HOLD_MAX_S))


def token_hash(token: str) -> bytes:
    """What is kept of a hold's token."""
    return hashlib.sha256(token.encode()).digest()

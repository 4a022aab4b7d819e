"""Moving an appointment or hold: the new time is had and the old one given back in one transaction, or neither."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from booking_svc.model import Appointment, Change, EventType, Outcome
from booking_svc.store.session import Session
from booking_svc.usecases import access, existing
from booking_svc.usecases.book import (
    equipment_uses,
    override_of,
    room_choice,
    shown_mode,
)
from booking_svc.usecases.commands import Reschedule
from booking_svc.usecases.existing import Found
from booking_svc.usecases.places import Places
from booking_svc.usecases.recording import Recorder
from booking_svc.usecases.taking import Granted, Taker, Wanted, held_claims
from database.location_facts import LocationFacts
from scheduling import localtime
from scheduling.appointment import AppointmentStatus, status_after_reschedule
from scheduling.errors import Reason, Refused
from scheduling.facts import RoomChoice, RoomMode
from scheduling.frame import service_of
from scheduling.judge import Proposal


class RescheduleAppointment:
    """Moves; its own claims do not stand in its way."""

    def __init__(self, places: Places, taker: Taker, recorder: Recorder) -> None:
        self._places = places
        self._taker = taker
        self._recorder = recorder

    async def __call__(self, session: Session, command: Reschedule) -> Outcome:
        """Move to another time, provider, room or place. Raises as a booking does, and NotFound and Stale."""
        caller = command.caller
        access.require_may_write_notes(caller.principal, command.notes)
        if command.override_reason:
            access.require_may_override(caller.principal)

        def check(found: Found) -> None:
            access.require_etag(found.visit, command.etag)
            status_after_reschedule(found.visit.status)
            require_not_expired(found)

        found = await existing.find(session, caller, command.appointment_id)
        check(found)
        before = found.visit
        provider_id = command.provider_id or before.provider_id
        access.require_may_book(caller.principal, patient_id=before.patient_id)
        location_id = command.location_id or before.location_id
        facts = (await self._places.enter(session, location_id, before.service_id, provider_id)).facts
        choice, proposal = moved(command, before, facts)

        def write(granted: Granted) -> tuple[Outcome, datetime | None]:
            assert granted.found is not None  # noqa: S101 - an existing one was wanted
            after = _visit(command, granted, choice)
            session.update_appointment(granted.found.visit, after)
            is_hold = after.status is AppointmentStatus.HELD
            change = Change(
                event_type=EventType.HOLD_RESCHEDULED if is_hold else EventType.RESCHEDULED,
                after=after,
                before=granted.found.visit,
                claims=held_claims(granted.verdict.claims, after.expires_at),
                claims_before=granted.found.claims,
                versions=granted.versions,
            )
            return self._recorder.record(session, caller, change, granted.now), after.expires_at

        wanted = Wanted(
            caller=caller,
            appointment_id=before.id,
            facts=facts,
            proposal=proposal,
            fetched_at=command.availability_fetched_at,
            found=found,
            check=check,
        )
        return await self._taker.take(session, wanted, write)


def require_not_expired(found: Found) -> None:
    """Refuse a hold that has ended, whether or not it was swept yet."""
    expires_at = found.visit.expires_at
    if found.visit.status is AppointmentStatus.HELD and expires_at is not None and expires_at <= found.now:
        raise Refused("The hold has ended.", reason=Reason.HOLD_EXPIRED)


def moved(command: Reschedule, before: Appointment, facts: LocationFacts) -> tuple[RoomChoice, Proposal]:
    """The proposal: what is not asked for otherwise stays, and keeps its duration; an `auto` room is chosen again."""
    zone = facts.static.location.zone
    start_min = localtime.parse_local(command.start, zone) if command.start else before.start_min
    end_min = localtime.parse_local(command.end, zone, "end") if command.end else None
    choice = _room(command, before)
    return choice, Proposal(
        service_id=before.service_id,
        provider_id=command.provider_id or before.provider_id,
        start_min=start_min,
        end_min=end_min if end_min is not None else start_min + before.end_min - before.start_min,
        patient_id=before.patient_id,
        room=choice,
        ignore_appointment_ids=frozenset({before.id}),
        is_override=bool(command.override_reason),
    )


def _room(command: Reschedule, before: Appointment) -> RoomChoice:
    if command.room_id is not None or command.room_mode is not None:
        return room_choice(command.room_id, command.room_mode)
    is_kept = before.room_mode is RoomMode.SPECIFIC and command.location_id in (None, before.location_id)
    return RoomChoice(RoomMode.SPECIFIC, before.room_id) if is_kept else RoomChoice(RoomMode.AUTO)


def _visit(command: Reschedule, granted: Granted, choice: RoomChoice) -> Appointment:
    """The appointment at its new time, one version later."""
    assert granted.found is not None  # noqa: S101 - an existing one was wanted
    before, verdict = granted.found.visit, granted.verdict
    service = service_of(granted.facts.static, before.service_id)
    return replace(
        before,
        location_id=granted.facts.static.location.id,
        zone=granted.facts.static.location.zone,
        provider_id=command.provider_id or before.provider_id,
        room_id=verdict.room_id,
        room_mode=shown_mode(choice.room_id, choice.mode, verdict.room_id),
        start_min=verdict.start_min,
        end_min=verdict.end_min,
        status=status_after_reschedule(before.status),
        version=before.version + 1,
        buffer_before_min=service.buffer_before_min,
        buffer_after_min=service.buffer_after_min,
        equipment=equipment_uses(verdict.equipment),
        override=override_of(command.override_reason, command.caller.principal.subject, granted),
        reason=command.reason or before.reason,
        notes=before.notes if command.notes is None else command.notes,
        updated_at=granted.now,
    )

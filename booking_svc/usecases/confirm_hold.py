"""A hold becomes an appointment: same id, same claims, and the patient's if it was not known before."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from booking_svc.model import Appointment, Change, EventType, Outcome
from booking_svc.store.session import Session
from booking_svc.usecases import access, existing
from booking_svc.usecases.book import equipment_uses
from booking_svc.usecases.commands import Existing, UseHold
from booking_svc.usecases.existing import Found
from booking_svc.usecases.holds import require_usable
from booking_svc.usecases.places import Places
from booking_svc.usecases.recording import Recorder
from booking_svc.usecases.taking import Granted, Taker, Wanted, held_claims
from scheduling.appointment import AppointmentStatus
from scheduling.errors import Forbidden, Invalid, Reason
from scheduling.facts import RoomChoice, RoomMode
from scheduling.frame import service_of
from scheduling.judge import Proposal


class ConfirmHold:
    """Confirms. A hold whose patient is known keeps what it has; another one is judged again with its patient."""

    def __init__(self, places: Places, taker: Taker, recorder: Recorder) -> None:
        self._places = places
        self._taker = taker
        self._recorder = recorder

    async def __call__(self, session: Session, command: UseHold) -> Outcome:
        """Confirm the hold. Raises NotFound, Refused and, for the patient's other visits, Conflict."""
        check = require_usable(command, AppointmentStatus.SCHEDULED)
        found = await existing.find(session, command.caller, command.hold_id)
        check(found)
        patient_id = _patient(command, found.visit)
        principal = command.caller.principal
        access.require_may_book(principal, patient_id=patient_id)
        if found.visit.patient_id is not None:
            return await self._keep(session, command)
        return await self._with_patient(session, command, found, patient_id)

    async def _keep(self, session: Session, command: UseHold) -> Outcome:
        """Everything is claimed already: the claims only stop ending by themselves."""
        target = Existing(caller=command.caller, clinic_id=command.clinic_id, appointment_id=command.hold_id)
        check = require_usable(command, AppointmentStatus.SCHEDULED)
        locked = await existing.lock(session, target, check, with_claims=True)
        changed = _confirmed(command, locked.found.visit, locked.found.visit.patient_id)
        claims = [replace(claim, expires_at=None) for claim in locked.found.claims]
        outcome = existing.write(
            session,
            self._recorder,
            command.caller,
            locked,
            event_type=EventType.HOLD_CONFIRMED,
            changed=changed,
            claims=claims,
        )
        await session.run()
        return outcome

    async def _with_patient(
        self, session: Session, command: UseHold, found: Found, patient_id: str
    ) -> Outcome:
        hold = found.visit
        facts = (await self._places.enter(session, hold.location_id, hold.service_id, hold.provider_id)).facts

        def write(granted: Granted) -> tuple[Outcome, datetime | None]:
            assert granted.found is not None  # noqa: S101 - an existing one was wanted
            before = granted.found.visit
            after = _as_granted(_confirmed(command, before, patient_id), granted)
            session.update_appointment(before, after)
            change = Change(
                event_type=EventType.HOLD_CONFIRMED,
                after=after,
                before=before,
                claims=held_claims(granted.verdict.claims, None),
                claims_before=granted.found.claims,
                versions=granted.versions,
            )
            return self._recorder.record(session, command.caller, change, granted.now), None

        wanted = Wanted(
            caller=command.caller,
            appointment_id=hold.id,
            facts=facts,
            proposal=_proposal(hold, patient_id),
            found=found,
            check=require_usable(command, AppointmentStatus.SCHEDULED),
            binding=frozenset({Reason.PATIENT_LIMIT}),
        )
        return await self._taker.take(session, wanted, write)


def _patient(command: UseHold, hold: Appointment) -> str:
    if hold.patient_id is None:
        if command.patient_id is None:
            raise Invalid.field("patient_id", "is needed: the hold has no patient yet")
        return command.patient_id
    if command.patient_id not in (None, hold.patient_id):
        raise Forbidden("The hold is another patient's.")
    return hold.patient_id


def _confirmed(command: UseHold, hold: Appointment, patient_id: str | None) -> Appointment:
    return replace(
        hold,
        status=AppointmentStatus.SCHEDULED,
        patient_id=patient_id,
        expires_at=None,
        notes=hold.notes if command.notes is None else command.notes,
    )


def _as_granted(visit: Appointment, granted: Granted) -> Appointment:
    """The visit one version later, with the room, units and buffers that its claims now stand for."""
    verdict, service = granted.verdict, service_of(granted.facts.static, visit.service_id)
    return replace(
        visit,
        room_id=verdict.room_id,
        equipment=equipment_uses(verdict.equipment),
        buffer_before_min=service.buffer_before_min,
        buffer_after_min=service.buffer_after_min,
        version=visit.version + 1,
        updated_at=granted.now,
    )


def _proposal(hold: Appointment, patient_id: str) -> Proposal:
    """The hold's own time with its patient; the other soft rules were judged when it was held."""
    room = RoomChoice(RoomMode.AUTO) if hold.room_id is None else RoomChoice(RoomMode.SPECIFIC, hold.room_id)
    return Proposal(
        service_id=hold.service_id,
        provider_id=hold.provider_id,
        start_min=hold.start_min,
        end_min=hold.end_min,
        patient_id=patient_id,
        room=room,
        ignore_appointment_ids=frozenset({hold.id}),
        is_override=True,
    )

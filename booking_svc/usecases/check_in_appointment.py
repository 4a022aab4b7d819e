"""The patient has arrived; after a no-show only on the same local day, and only if the claims can be had again."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from booking_svc.model import Change, Conflicts, EventType, HeldClaim, Outcome, Taken
from booking_svc.store.session import Reply, Session
from booking_svc.usecases import access, existing
from booking_svc.usecases.commands import ChangeStatus
from booking_svc.usecases.existing import Found, changed_meanwhile
from booking_svc.usecases.mutation import MetExpiredHolds
from booking_svc.usecases.places import Places
from booking_svc.usecases.recording import Recorder
from booking_svc.usecases.status_change import StatusChange, Step
from booking_svc.usecases.taking import held_claims
from database.busy_facts import Stretch
from database.location_facts import LocationFacts
from scheduling import localtime
from scheduling.appointment import AppointmentStatus, require_transition
from scheduling.claims import Visit, locks_of, visit_claims
from scheduling.clock import exact_minutes_of, minutes_of
from scheduling.errors import Conflict, NotFound, Reason, Refused
from scheduling.facts import Claim, EquipmentUnit, PatientFacts, PlannedClaim, ResourceKind
from scheduling.frame import service_of
from scheduling.judge import SENTENCES

_MOST_TELLING_FIRST: Final = (
    ResourceKind.PROVIDER,
    ResourceKind.PATIENT,
    ResourceKind.ROOM,
    ResourceKind.EQUIPMENT,
    ResourceKind.GAP,
    ResourceKind.QUOTA,
)
_REASONS: Final = {
    ResourceKind.PROVIDER: Reason.SLOT_ALREADY_BOOKED,
    ResourceKind.GAP: Reason.SLOT_ALREADY_BOOKED,
    ResourceKind.ROOM: Reason.ROOM_ALREADY_BOOKED,
    ResourceKind.EQUIPMENT: Reason.EQUIPMENT_UNAVAILABLE,
    ResourceKind.PATIENT: Reason.PATIENT_ALREADY_BOOKED,
    ResourceKind.QUOTA: Reason.CONCURRENT_BOOKING,
}


class CheckInAppointment(StatusChange):
    """Checks in."""

    def __init__(self, places: Places, recorder: Recorder) -> None:
        super().__init__(Step(to=AppointmentStatus.CHECKED_IN, event_type=EventType.CHECKED_IN), recorder)
        self._places = places

    async def __call__(self, session: Session, command: ChangeStatus) -> Outcome:
        """Check in. Raises NotFound, Stale, Refused and, after a no-show, Conflict and MetExpiredHolds."""
        access.require_may_step(command.caller.principal, AppointmentStatus.CHECKED_IN)
        found = await existing.find(session, command.caller, command.appointment_id)
        if found.visit.status is not AppointmentStatus.NO_SHOW:
            return await super().__call__(session, command)
        visit = found.visit
        facts = (
            await self._places.enter(session, visit.location_id, visit.service_id, visit.provider_id)
        ).facts
        return await self._claim_again(session, command, found, facts)

    def _require_step(self, found: Found) -> None:
        """Refuse a visit that became a no-show meanwhile: it has no claims any more."""
        if found.visit.status is AppointmentStatus.NO_SHOW:
            raise changed_meanwhile()
        super()._require_step(found)

    async def _claim_again(
        self, session: Session, command: ChangeStatus, found: Found, facts: LocationFacts
    ) -> Outcome:
        """One attempt of the common shape: choose, lock, look again, give up, claim."""
        _check(found, command)
        session.savepoint()
        planned = await self._plan(session, found, facts)
        lock_ids = {lock_id for lock_id, _ in locks_of(planned)} | found.lock_ids
        versions = session.lock_resources(sorted(lock_ids))
        session.lock_appointment(command.appointment_id)
        patient = _ask_patient(session, found, lock=True)
        locked = await existing.find(session, command.caller, command.appointment_id)
        _check(locked, command)
        if locked.visit.version != found.visit.version or versions.get().keys() != lock_ids:
            raise changed_meanwhile()
        _require_patient(patient)
        service = service_of(facts.static, locked.visit.service_id)
        after = replace(
            locked.visit,
            status=AppointmentStatus.CHECKED_IN,
            buffer_before_min=service.buffer_before_min,
            buffer_after_min=service.buffer_after_min,
            version=locked.visit.version + 1,
            reason=command.reason or locked.visit.reason,
            notes=locked.visit.notes if command.notes is None else command.notes,
            updated_at=locked.now,
        )
        claims = held_claims(planned, None)
        session.delete_claims(after.id)
        had = session.insert_claims(after.id, None, claims)
        session.update_appointment(locked.visit, after)
        change = Change(
            event_type=EventType.CHECKED_IN,
            after=after,
            before=locked.visit,
            claims=claims,
            claims_before=locked.claims,
            versions=versions.get(),
        )
        outcome = self._recorder.record(session, command.caller, change, locked.now)
        await session.run()
        await _require_all(session, locked, claims, had.get())
        return outcome

    async def _plan(self, session: Session, found: Found, facts: LocationFacts) -> tuple[PlannedClaim, ...]:
        """The claims it had: the same units of equipment and quotas, and of its room any unit that is free."""
        visit, static = found.visit, facts.static
        asked = _ask_patient(session, found, lock=False)
        await session.run()
        patient = _require_patient(asked)
        quota_units = {
            claim.resource_id: claim.unit for claim in found.claims if claim.kind is ResourceKind.QUOTA
        }
        planned = visit_claims(
            static,
            Visit(
                service_id=visit.service_id,
                provider_id=visit.provider_id,
                start_min=visit.start_min,
                end_min=visit.end_min,
                patient_id=visit.patient_id,
                is_placeholder_patient=patient is not None and patient.is_placeholder,
                room_id=visit.room_id,
                equipment=tuple(
                    EquipmentUnit(use.equipment_id, unit) for use in visit.equipment for unit in use.units
                ),
                quota_units=quota_units,
            ),
        )
        # A limit that was set since then counts without it.
        planned = tuple(
            claim
            for claim in planned
            if claim.kind is not ResourceKind.QUOTA or claim.resource_id in quota_units
        )
        units = next((room.concurrent_visits for room in static.rooms if room.id == visit.room_id), 1)
        return await self._with_free_room_unit(session, planned, units, exact_minutes_of(found.now))

    async def _with_free_room_unit(
        self, session: Session, planned: tuple[PlannedClaim, ...], units: int, now_min: float
    ) -> tuple[PlannedClaim, ...]:
        room = next((claim for claim in planned if claim.kind is ResourceKind.ROOM), None)
        if room is None:
            return planned
        reply = session.claims([Stretch(room.resource_id, room.start_min, room.end_min)])
        await session.run()
        claims = [claim for stretch in reply.get().values() for claim in stretch.claims]
        taken = {claim.unit for claim in claims}
        lively = {claim.unit for claim in claims if claim.is_live(now_min)}
        # When only holds that have ended are on a unit, they are met there. When none is free, writing the claims says
        # so, after what tells more.
        free = [unit for unit in range(1, units + 1) if unit not in taken]
        ended = [unit for unit in range(1, units + 1) if unit not in lively]
        unit = next(iter(free or ended), room.unit)
        return tuple(replace(claim, unit=unit) if claim is room else claim for claim in planned)


def _ask_patient(session: Session, found: Found, *, lock: bool) -> Reply[PatientFacts | None] | None:
    """Queue the patient; None when the visit has none. Locked, it is in use until the transaction ends."""
    patient_id = found.visit.patient_id
    return None if patient_id is None else session.patient(patient_id, None, lock=lock)


def _require_patient(asked: Reply[PatientFacts | None] | None) -> PatientFacts | None:
    """The patient that was asked for. Raises NotFound for one that is out of use."""
    patient = None if asked is None else asked.get()
    if asked is not None and patient is None:
        raise NotFound("There is no such patient.", metadata={"resource": "patient"})
    return patient


def _check(found: Found, command: ChangeStatus) -> None:
    visit = found.visit
    access.require_open(found.clinic_status, may_be_suspended=False)
    access.require_etag(visit, command.etag)
    require_transition(visit.status, AppointmentStatus.CHECKED_IN)
    if localtime.day_at(visit.zone, minutes_of(found.now)) != localtime.day_at(visit.zone, visit.start_min):
        raise Refused("A no-show can be checked in on the day of the visit only.")


async def _require_all(
    session: Session, locked: Found, claims: tuple[HeldClaim, ...], had: set[tuple[str, int]]
) -> None:
    """Refuse unless every claim was had, naming what tells most: the provider, the patient, then the rest.

    Raises MetExpiredHolds when nothing but holds that have ended is in the way.
    """
    missing = [claim for claim in claims if (claim.resource_id, claim.unit) not in had]
    if not missing:
        return
    now_min = exact_minutes_of(locked.now)
    in_the_way = await _in_the_way(session, missing)
    taken = [
        claim
        for claim, others in zip(missing, in_the_way, strict=True)
        if not others or any(other.is_live(now_min) for other in others)
    ]
    if not taken:
        raise MetExpiredHolds(frozenset(other.appointment_id for others in in_the_way for other in others))
    first = min(taken, key=lambda claim: _MOST_TELLING_FIRST.index(claim.kind))
    raise _taken(first.kind, first.resource_id)


async def _in_the_way(session: Session, missing: list[HeldClaim]) -> list[list[Claim]]:
    """The claims that kept each one from being written, in their order."""
    stretches = [
        Stretch(claim.resource_id, claim.start_min, claim.end_min, claim.lock_id) for claim in missing
    ]
    reply = session.claims(stretches)
    await session.run()
    found = reply.get()
    return [
        [other for other in found[stretch].claims if other.unit == claim.unit]
        for claim, stretch in zip(missing, stretches, strict=True)
    ]


def _taken(kind: ResourceKind, resource_id: str) -> Conflict:
    reason = _REASONS[kind]
    return Conflict(
        SENTENCES.get(reason, "Something of the visit is taken."),
        reason=reason,
        alternatives=Conflicts(taken=(Taken(kind, resource_id, reason),)),
    )

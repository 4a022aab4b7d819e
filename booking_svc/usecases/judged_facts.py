"""The facts that one proposal is judged by: which calendars, how far, and what they say."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from booking_svc.store.session import Reply, Session
from database.busy_facts import Stretch, VersionedClaims
from scheduling import reading
from scheduling.busy import BusyFacts, Calendar
from scheduling.clock import exact_minutes_of
from scheduling.facts import (
    Claim,
    PatientFacts,
    PlannedClaim,
    RoomMode,
    StaticFacts,
    rules_of,
)
from scheduling.frame import service_of
from scheduling.ids import gap_id
from scheduling.judge import Proposal
from scheduling.rules.min_gap import Gap
from scheduling.rules.patient_limit import PatientLimits
from scheduling.rules.required_equipment_type import RequiredUnits


@dataclass(frozen=True, slots=True)
class Judged:
    """What was read: busy time and the database's clock, moved by the tests' offset."""

    busy: BusyFacts
    now: datetime

    @property
    def now_min(self) -> float:
        """The clock in minutes since the epoch, with its fraction."""
        return exact_minutes_of(self.now)


class Question:
    """Queued questions about busy time; `answer` once the session has run."""

    def __init__(
        self,
        claims: Reply[dict[Stretch, VersionedClaims]],
        patient: Reply[PatientFacts | None] | PatientFacts | None,
        clock: Reply[datetime],
    ) -> None:
        self._claims = claims
        self._patient = patient
        self._clock = clock

    def answer(self) -> Judged:
        """Return the facts. The patient is None when the clinic has no such patient."""
        calendars = {
            stretch.resource_id: (Calendar(found.claims),) for stretch, found in self._claims.get().items()
        }
        patient = self._patient.get() if isinstance(self._patient, Reply) else self._patient
        return Judged(BusyFacts(calendars, patient), self._clock.get())


def ask_all(session: Session, static: StaticFacts, proposal: Proposal) -> Question:
    """Queue what decides about a proposal before anything is chosen: every room and item that might do."""
    request = proposal.request()
    window = reading.window_of_visit(static, request, proposal.start_min)
    unread = _never_chosen(static, proposal)
    resource_ids = [found for found in reading.resources_read(static, request, window) if found not in unread]
    return _ask(session, static, proposal, resource_ids, _patient(session, static, proposal))


def _never_chosen(static: StaticFacts, proposal: Proposal) -> set[str]:
    """Return the rooms and equipment that this proposal cannot take, whatever is free."""
    rules = rules_of(static, proposal.service_id, proposal.provider_id)
    types = {rule.payload.equipment_type for rule in rules if isinstance(rule.payload, RequiredUnits)}
    unread = {item.id for item in static.equipment if item.equipment_type not in types}
    is_named = proposal.room.mode is RoomMode.SPECIFIC
    if is_named or not service_of(static, proposal.service_id).requires_room:
        unread |= {room.id for room in static.rooms if room.id != proposal.room.room_id}
    return unread


def ask_chosen(
    session: Session,
    static: StaticFacts,
    proposal: Proposal,
    chosen: Iterable[PlannedClaim],
    patient: PatientFacts | None,
) -> Question:
    """Queue the same for what was chosen and locked; the patient's visits again only where a rule counts them."""
    resource_ids = sorted({claim.resource_id for claim in chosen})
    asked = _patient(session, static, proposal) if limits_of(static, proposal) else patient
    return _ask(session, static, proposal, resource_ids, asked)


def _ask(
    session: Session,
    static: StaticFacts,
    proposal: Proposal,
    resource_ids: Sequence[str],
    patient: Reply[PatientFacts | None] | PatientFacts | None,
) -> Question:
    request = proposal.request()
    window = reading.window_of_visit(static, request, proposal.start_min)
    service = service_of(static, proposal.service_id)
    first_min = window.start_min - service.buffer_before_min
    end_min = window.end_min + reading.reach_min(static, proposal.service_id)
    locks = gap_locks(static, proposal.service_id, [proposal.provider_id])
    stretches = [Stretch(found, first_min, end_min, locks.get(found, "")) for found in resource_ids]
    return Question(session.claims(stretches), patient, session.clock())


def gap_locks(static: StaticFacts, service_id: str, provider_ids: Iterable[str]) -> Mapping[str, str]:
    """Return the provider whose row guards each gap that binds the service."""
    return {
        gap_id(rule.id, provider_id): provider_id
        for provider_id in provider_ids
        for rule in rules_of(static, service_id, provider_id)
        if isinstance(rule.payload, Gap)
    }


def limits_of(static: StaticFacts, proposal: Proposal) -> list[PatientLimits]:
    """Return the patient limits that bind a proposal."""
    if proposal.patient_id is None:
        return []
    rules = rules_of(static, proposal.service_id, proposal.provider_id)
    return [rule.payload for rule in rules if isinstance(rule.payload, PatientLimits)]


def _patient(session: Session, static: StaticFacts, proposal: Proposal) -> Reply[PatientFacts | None] | None:
    """Queue the patient, with the visits that the limits count and no others."""
    if proposal.patient_id is None:
        return None
    since_min = reading.patient_since_min(
        static, proposal.service_id, proposal.start_min, proposal.provider_id
    )
    return session.patient(proposal.patient_id, since_min)


def expired_in_the_way(
    busy: BusyFacts, planned: Iterable[PlannedClaim], now_min: float, own_id: str
) -> frozenset[str]:
    """Return the holds that have ended but whose claims still keep planned ones from being written."""
    return frozenset(
        claim.appointment_id
        for wanted in planned
        for claim in busy.claims_of(wanted.resource_id)
        if claim.appointment_id != own_id and not claim.is_live(now_min) and _collides(claim, wanted)
    )


def _collides(claim: Claim, wanted: PlannedClaim) -> bool:
    return claim.unit == wanted.unit and claim.start_min < wanted.end_min and claim.end_min > wanted.start_min

"""The facts that one proposal is judged by: which calendars, how far, and what they say."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from math import ceil, floor

from booking_svc.store.session import Reply, Session
from database.busy_facts import Stretch, VersionedClaims
from scheduling import reading
from scheduling.busy import BusyFacts, Calendar
from scheduling.clock import exact_minutes_of
from scheduling.errors import NotFound
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

    def require_patient(self, proposal: Proposal) -> None:
        """Refuse a proposal for a patient that the clinic does not have, or whom it has put out of use."""
        if proposal.patient_id is not None and self.busy.patient is None:
            raise NotFound("There is no such patient.", metadata={"resource": "patient"})

    def still_says(self, before: Judged, planned: Iterable[PlannedClaim]) -> bool:
        """Whether a verdict on facts that were read `before`, which planned these claims, would be the same on these.

        It would when the patient and what is taken of these resources are the same, nothing of it ends by itself, and
        no whole minute has come: rules count in minutes.
        """
        patient = self.busy.patient
        return (
            _minute_of(self.now_min) == _minute_of(before.now_min)
            and patient == before.busy.patient
            and (patient is None or all(visit.expires_min is None for visit in patient.visits))
            and all(self._still_taken(before, found) for found in {claim.resource_id for claim in planned})
        )

    def _still_taken(self, before: Judged, resource_id: str) -> bool:
        now, then = (tuple(judged.busy.claims_of(resource_id)) for judged in (self, before))
        return now == then and all(claim.expires_min is None for claim in now)


def _minute_of(now_min: float) -> tuple[int, int]:
    """The minute that a moment lies in; a whole minute is one of its own."""
    return floor(now_min), ceil(now_min)


class Question:
    """Queued questions about busy time; `answer` once the session has run."""

    def __init__(
        self,
        claims: Reply[dict[Stretch, VersionedClaims]],
        patient: Reply[PatientFacts | None] | None,
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
        patient = None if self._patient is None else self._patient.get()
        return Judged(BusyFacts(calendars, patient), self._clock.get())


def ask_all(
    session: Session, static: StaticFacts, proposal: Proposal, *, is_locked: bool = False
) -> Question:
    """Queue what decides about a proposal before anything is chosen: every room and item that might do.

    `is_locked`: the rows are locked, and so is the patient from now on.
    """
    return _ask(session, static, proposal, resources_of(static, proposal), is_locked=is_locked)


def resources_of(static: StaticFacts, proposal: Proposal) -> list[str]:
    """Return the resources that decide about a proposal before anything is chosen."""
    request = proposal.request()
    window = reading.window_of_visit(static, request, proposal.start_min)
    unread = _never_chosen(static, proposal)
    return [found for found in reading.resources_read(static, request, window) if found not in unread]


def stretches_of(static: StaticFacts, proposal: Proposal, resource_ids: Iterable[str]) -> list[Stretch]:
    """Return the parts of resources' calendars that decide about a proposal."""
    request = proposal.request()
    window = reading.window_of_visit(static, request, proposal.start_min)
    service = service_of(static, proposal.service_id)
    first_min = window.start_min - service.buffer_before_min
    end_min = window.end_min + reading.reach_min(static, proposal.service_id)
    locks = gap_locks(static, proposal.service_id, [proposal.provider_id])
    return [Stretch(found, first_min, end_min, locks.get(found, "")) for found in resource_ids]


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
    session: Session, static: StaticFacts, proposal: Proposal, chosen: Iterable[PlannedClaim]
) -> Question:
    """Queue the same for what was chosen and locked."""
    resource_ids = sorted({claim.resource_id for claim in chosen})
    return _ask(session, static, proposal, resource_ids, is_locked=True)


def ask_patient_alone(
    session: Session, static: StaticFacts, proposal: Proposal, *, is_locked: bool
) -> Question:
    """Queue what decides about the proposal's patient, and nothing about the rest."""
    resource_ids = [] if proposal.patient_id is None else [proposal.patient_id]
    return _ask(session, static, proposal, resource_ids, is_locked=is_locked)


def _ask(
    session: Session,
    static: StaticFacts,
    proposal: Proposal,
    resource_ids: Sequence[str],
    *,
    is_locked: bool,
) -> Question:
    stretches = stretches_of(static, proposal, resource_ids)
    patient = _ask_patient(session, static, proposal, is_locked=is_locked)
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


def counted_patients(static: StaticFacts, proposal: Proposal, patient: PatientFacts | None) -> set[str]:
    """Return the patient whose visits the limits count, if any: its row is locked, whether or not it is claimed."""
    is_counted = patient is not None and not patient.is_placeholder and limits_of(static, proposal)
    return {patient.id} if patient is not None and is_counted else set()


def _ask_patient(
    session: Session, static: StaticFacts, proposal: Proposal, *, is_locked: bool
) -> Reply[PatientFacts | None] | None:
    """Queue the patient, with the visits that the limits count and no others; None when there is none.

    `is_locked` keeps the patient in use until the transaction ends: whoever puts it out of use comes before or after.
    """
    if proposal.patient_id is None:
        return None
    since_min = reading.patient_since_min(
        static, proposal.service_id, proposal.start_min, proposal.provider_id
    )
    return session.patient(proposal.patient_id, since_min, lock=is_locked)


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

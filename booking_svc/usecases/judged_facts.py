"""The facts that one proposal is judged by: which calendars, how far, and what they say."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from math import ceil, floor
from typing import Final

from booking_svc.store.session import Reply, Session
from database.busy_facts import Stretch, VersionedClaims
from scheduling import reading
from scheduling.busy import BusyFacts, Calendar
from scheduling.clock import exact_minutes_of, instant_of
from scheduling.errors import NotFound
from scheduling.facts import (
    Claim,
    Equipment,
    PatientFacts,
    PlannedClaim,
    Room,
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

_FORESEEN_MAX: Final = timedelta(milliseconds=250)
"""How old the clock that a booking was judged by may be when its rows are locked."""


@dataclass(frozen=True, slots=True)
class Judged:
    """What was read: busy time, the database's clock, moved by the tests' offset, and the version of each calendar.

    A calendar without a version here is one that nobody can tell has changed.
    """

    busy: BusyFacts
    now: datetime
    versions: Mapping[str, int] = field(default_factory=dict)

    @property
    def now_min(self) -> float:
        """The clock in minutes since the epoch, with its fraction."""
        return exact_minutes_of(self.now)

    def require_patient(self, proposal: Proposal) -> None:
        """Refuse a proposal for a patient that the clinic does not have, or whom it has put out of use."""
        if proposal.patient_id is not None and self.busy.patient is None:
            raise NotFound("There is no such patient.", metadata={"resource": "patient"})

    def still_holds(self, planned: Iterable[PlannedClaim], locked: Locked) -> bool:
        """Whether a verdict on these facts, which planned these claims, would be the same now that all is locked.

        It would when each calendar's version is what the lock has made of it and nobody else, the patient is the same,
        nothing of it all ends by itself, and no whole minute has come: rules count in minutes.
        """
        patient = locked.patient
        return (
            _minute_of(locked.now) == _minute_of(self.now)
            and patient == self.busy.patient
            and (patient is None or all(visit.expires_min is None for visit in patient.visits))
            and all(self._is_untouched(claim, locked) for claim in planned)
        )

    def foreseen(self, planned: Iterable[PlannedClaim]) -> Foreseen | None:
        """The condition on which such a verdict will hold; None when there is none that the database could check.

        It could not when something of it all ends by itself. That the patient's visits are not compared is for the
        caller to see.
        """
        versions: dict[str, int] = {}
        for claim in planned:
            version = self._fenced_version(claim)
            if version is None or versions.setdefault(claim.lock_id, version) != version:
                return None
        _, end_min = _minute_of(self.now)
        return Foreseen(versions, min(instant_of(end_min), self.now + _FORESEEN_MAX))

    def _is_untouched(self, planned: PlannedClaim, locked: Locked) -> bool:
        version = self._fenced_version(planned)
        return version is not None and locked.versions[planned.lock_id] == version + 1

    def _fenced_version(self, planned: PlannedClaim) -> int | None:
        """The version that tells whether a calendar has changed; None when it may change without one."""
        claims = self.busy.claims_of(planned.resource_id)
        if any(claim.expires_min is not None for claim in claims):
            return None
        return self.versions.get(planned.resource_id)


@dataclass(frozen=True, slots=True)
class Foreseen:
    """On what condition a verdict will hold: the versions that the rows to lock must still have, and until when."""

    versions: Mapping[str, int]
    before: datetime


@dataclass(frozen=True, slots=True)
class Locked:
    """What is read with the locks: the versions that they have raised, by locked row, the patient, and the clock."""

    versions: Mapping[str, int]
    patient: PatientFacts | None
    now: datetime


def _minute_of(now: datetime) -> tuple[int, int]:
    """The minute that a moment lies in; a whole minute is one of its own."""
    now_min = exact_minutes_of(now)
    return floor(now_min), ceil(now_min)


class PatientQuestion:
    """A queued question about the patient and the clock; `answer` once the session has run."""

    def __init__(self, patient: Reply[PatientFacts | None] | None, clock: Reply[datetime]) -> None:
        self._patient = patient
        self._clock = clock

    def answer(self) -> tuple[PatientFacts | None, datetime]:
        """Return both. The patient is None when the clinic has no such patient, or nobody asked for one."""
        return None if self._patient is None else self._patient.get(), self._clock.get()


class Question:
    """Queued questions about busy time for a proposal; `answer` once the session has run."""

    def __init__(
        self, proposal: Proposal, claims: Reply[dict[Stretch, VersionedClaims]], rest: PatientQuestion
    ) -> None:
        self.proposal = proposal
        self._claims = claims
        self._rest = rest

    def answer(self) -> Judged:
        """Return the facts. The patient is None when the clinic has no such patient."""
        calendars, versions = {}, {}
        for stretch, found in self._claims.get().items():
            calendars[stretch.resource_id] = (Calendar(found.claims),)
            versions[stretch.resource_id] = found.version
        patient, now = self._rest.answer()
        return Judged(BusyFacts(calendars, patient), now, versions)


def ask_all(
    session: Session, static: StaticFacts, proposal: Proposal, *, is_locked: bool = False
) -> Question:
    """Queue what decides about a proposal before anything is chosen: every room and item that might do.

    `is_locked`: the rows are locked, and so is the patient from now on.
    """
    return _ask(session, static, proposal, resources_of(static, proposal), is_locked=is_locked)


def resources_of(static: StaticFacts, proposal: Proposal) -> Sequence[str]:
    """Return the resources that decide about a proposal before anything is chosen."""
    request = proposal.request()
    window = reading.window_of_visit(static, request, proposal.start_min)
    rooms, equipment = _choosable(static, proposal)
    return reading.resources_read(static, request, window, rooms=rooms, equipment=equipment)


def stretches_of(static: StaticFacts, proposal: Proposal, resource_ids: Iterable[str]) -> list[Stretch]:
    """Return the parts of resources' calendars that decide about a proposal."""
    request = proposal.request()
    window = reading.window_of_visit(static, request, proposal.start_min)
    service = service_of(static, proposal.service_id)
    first_min = window.start_min - service.buffer_before_min
    end_min = window.end_min + reading.reach_min(static, proposal.service_id)
    locks = gap_locks(static, proposal.service_id, [proposal.provider_id])
    return [Stretch(found, first_min, end_min, locks.get(found, "")) for found in resource_ids]


def _choosable(static: StaticFacts, proposal: Proposal) -> tuple[Sequence[Room], Sequence[Equipment]]:
    """Return the rooms and equipment that this proposal may take, if they are free."""
    rules = rules_of(static, proposal.service_id, proposal.provider_id)
    types = {rule.payload.equipment_type for rule in rules if isinstance(rule.payload, RequiredUnits)}
    equipment = [item for item in static.equipment if item.equipment_type in types]
    is_named = proposal.room.mode is RoomMode.SPECIFIC
    if not is_named and service_of(static, proposal.service_id).requires_room:
        return static.rooms, equipment
    named = static.rooms_by_id.get(proposal.room.room_id or "")
    return [] if named is None else [named], equipment


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
    claims = session.claims(stretches_of(static, proposal, resource_ids))
    return Question(proposal, claims, ask_patient(session, static, proposal, is_locked=is_locked))


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


def ask_patient(
    session: Session, static: StaticFacts, proposal: Proposal, *, is_locked: bool
) -> PatientQuestion:
    """Queue the patient, if there is one, with the visits that the limits count and no others, and the clock.

    `is_locked` keeps the patient in use until the transaction ends: whoever puts it out of use comes before or after.
    """
    if proposal.patient_id is None:
        return PatientQuestion(None, session.clock())
    since_min = reading.patient_since_min(
        static, proposal.service_id, proposal.start_min, proposal.provider_id
    )
    patient = session.patient(proposal.patient_id, since_min, lock=is_locked)
    return PatientQuestion(patient, session.clock())


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

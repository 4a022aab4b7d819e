"""Many visits judged in memory, one after the other, each seeing those before it. Nothing here waits for anything.

A visit that is still to stand is judged by the code of a booking; one that is history is recorded as it is told.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from typing import Final

from booking_svc.model import Appointment, Caller, Change, EventType, HeldClaim, Override
from booking_svc.store.many_visits import NewVisit, NewVisits
from booking_svc.usecases.book import new_visit, proposal_of, visit_of
from booking_svc.usecases.commands import Book
from booking_svc.usecases.create_many import OneRefused
from booking_svc.usecases.diary import Diary
from booking_svc.usecases.history import HISTORY, Told, still_claimed, told_at
from booking_svc.usecases.judged_facts import Judged, counted_patients, resources_of, stretches_of
from booking_svc.usecases.places import in_use
from booking_svc.usecases.recording import Recorder
from booking_svc.usecases.taking import Granted, accepted, held_claims, quota_days
from database.busy_facts import PatientBook, Stretch
from database.location_facts import LocationFacts
from scheduling import localtime, reading
from scheduling.appointment import ACTIVE, TOOK_PLACE_OR_WILL, AppointmentStatus
from scheduling.busy import BusyFacts
from scheduling.claims import locks_of
from scheduling.derived import DerivedCache
from scheduling.errors import Conflict, DomainError, Invalid, NotFound, Reason
from scheduling.facts import Claim, PatientFacts, PatientVisit, ResourceKind, StaticFacts
from scheduling.judge import Proposal

_S = AppointmentStatus
TO_STAND: Final = ACTIVE - {_S.HELD}
"""What is going to happen or happens: judged, and claims everything."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """A visit that shall be there under this id. Where nothing is said of its status it is scheduled."""

    id: str
    book: Book
    status: AppointmentStatus | None = None

    @property
    def is_history(self) -> bool:
        """Whether it has come to its end."""
        return self.status in HISTORY


@dataclass(slots=True)
class Known:
    """What a batch is judged by: `there` are visits of the same ids, `kinds` what ids that history names stand for.

    `references` says when visits of the same ids start, those in archived months included; ids that are `elsewhere`
    cannot be used.
    """

    now: datetime
    there: Mapping[str, Appointment]
    references: Mapping[str, int]
    elsewhere: Collection[str]
    patients: Mapping[str, PatientBook]
    kinds: Mapping[str, ResourceKind]
    diary: Diary = field(default_factory=Diary)
    versions: dict[str, int] = field(default_factory=dict)

    def add(self, one: NewVisit) -> None:
        """Let later visits see this one."""
        visit = one.visit
        for claim in one.claims:
            self.diary.add(Claim(claim.resource_id, claim.unit, claim.start_min, claim.end_min, visit.id))
        patient = self.patients.get(visit.patient_id or "")
        if patient is not None and visit.status in TOOK_PLACE_OR_WILL:
            patient.visits.append(
                PatientVisit(visit.id, visit.service_id, visit.start_min, visit.end_min, visit.status)
            )

    def add_all(self, new: NewVisits) -> None:
        """Add what was judged before, and was not read because it was not written yet."""
        for one in new.visits:
            self.add(one)
        self.versions.update(new.versions)

    def raised(self, lock_ids: Iterable[str]) -> dict[str, int]:
        """The next calendar versions of resources."""
        for lock_id in lock_ids:
            self.versions[lock_id] = self.versions.get(lock_id, 0) + 1
        return {lock_id: self.versions[lock_id] for lock_id in lock_ids}


@dataclass(frozen=True, slots=True)
class Asked:
    """A visit with what it is judged at and by: what it proposes, or what is told of one of history.

    `since_min` is from when on its patient's visits count, if they do.
    """

    given: Given
    facts: LocationFacts
    wanted: Proposal | Told
    stretches: Sequence[Stretch] = ()
    since_min: int | None = None


Ask = Asked | DomainError
"""A visit to judge, or why there is nothing to judge."""


@dataclass(frozen=True, slots=True)
class Done:
    """What became of a batch: what is to be written, how many were there already, and which were refused, by place."""

    new: NewVisits
    unchanged: int
    refused: Sequence[OneRefused]


def asked(given: Given, facts: LocationFacts | None, now: datetime) -> Ask:
    """The visit at its place, or what is wrong with it before anything is read."""
    try:
        if facts is None:
            raise NotFound("There is no such location.", metadata={"resource": "location"})
        if given.is_history:
            told = told_at(facts.static, given.book, given.status, now)
            return Asked(given, facts, told, told.stretches())
        proposal = proposal_of(given.book, in_use(facts))
        static, start_min = facts.static, proposal.start_min
        stretches = stretches_of(static, proposal, resources_of(static, proposal))
        since_min = reading.patient_since_min(static, proposal.service_id, start_min, proposal.provider_id)
        return Asked(given, facts, proposal, stretches, since_min)
    except DomainError as refusal:
        return refusal


class Clerk:
    """Judges visits for one caller. `cache` keeps what is dear to derive from windows."""

    def __init__(self, caller: Caller, recorder: Recorder, cache: DerivedCache) -> None:
        self._caller = caller
        self._recorder = recorder
        self._cache = cache

    def judge(self, batch: Sequence[tuple[Given, Ask]], known: Known) -> Done:
        """Judge a batch in its order, each visit seeing those before it."""
        made: list[NewVisit] = []
        refused: list[OneRefused] = []
        raised: set[str] = set()
        quotas: dict[str, date] = {}
        for place, (given, ask) in enumerate(batch):
            try:
                one = self._one(given, ask, known)
            except DomainError as refusal:
                refused.append(OneRefused(place, refusal))
                continue
            if one is not None:
                made.append(one)
                known.add(one)
                raised.update(one.versions)
                quotas.update(one.quotas)
        new = NewVisits(
            caller=self._caller,
            action=EventType.CREATED.value,
            visits=made,
            versions={lock_id: known.versions[lock_id] for lock_id in sorted(raised)},
            quotas=sorted(quotas.items()),
        )
        return Done(new, len(batch) - len(made) - len(refused), refused)

    def _one(self, given: Given, ask: Ask, known: Known) -> NewVisit | None:
        """The visit to write; None when it is there already."""
        there = known.there.get(given.id)
        if there is not None:
            require_same(there, given)
            return None
        if isinstance(ask, DomainError):
            raise ask
        if given.id in known.references:
            _require_none([] if known.references[given.id] == ask.wanted.start_min else ["start"])
            return None
        if given.id in known.elsewhere:
            raise Invalid.field("id", "cannot be used: give the visit another one")
        if isinstance(ask.wanted, Told):
            return self._recorded(ask, ask.wanted, known)
        return self._taken(ask, ask.wanted, known)

    def _taken(self, ask: Asked, proposal: Proposal, known: Known) -> NewVisit:
        """A visit that takes its time, as a booking of it would."""
        facts, given = ask.facts, ask.given
        patient = _patient_of(known, proposal.patient_id, is_counted=ask.since_min is not None)
        stretch = ask.stretches[0]
        calendars = known.diary.on_days_of(stretch.start_min, stretch.end_min)
        judged = Judged(BusyFacts(calendars, patient), known.now)
        verdict = accepted(facts, judged, proposal, self._cache)
        lock_ids = {lock_id for lock_id, _ in locks_of(verdict.claims)}
        lock_ids |= counted_patients(facts.static, proposal, patient)
        granted = Granted(
            facts=facts, verdict=verdict, versions=known.raised(lock_ids), now=known.now, found=None
        )
        visit = new_visit(given.book, granted, given.id, "")
        if given.status is not None:
            visit = replace(visit, status=given.status)
        quotas = quota_days(verdict.claims, facts.static.location.zone)
        return self._new(visit, held_claims(verdict.claims, None), granted.versions, quotas, known.now)

    def _recorded(self, ask: Asked, told: Told, known: Known) -> NewVisit:
        """A visit of history: its references must be there, and what it claims still must be free."""
        book, static = ask.given.book, ask.facts.static
        _require_known(book, known)
        visit = _told(ask.given, told, static, known.now)
        first_min = min([told.start_min, *(claim.start_min for claim in told.planned)])
        end_min = max([told.end_min, *(claim.end_min for claim in told.planned)])
        busy = BusyFacts(known.diary.on_days_of(first_min, end_min))
        claims, broken = still_claimed(static, told, visit, busy, known.now)
        if visit.override is not None:
            rules = tuple(reason.value for reason in broken)
            visit = replace(visit, override=replace(visit.override, rules=rules))
        versions = known.raised({claim.lock_id for claim in claims})
        return self._new(visit, claims, versions, quota_days(claims, visit.zone), known.now)

    def _new(
        self,
        visit: Appointment,
        claims: tuple[HeldClaim, ...],
        versions: Mapping[str, int],
        quotas: Sequence[tuple[str, date]],
        now: datetime,
    ) -> NewVisit:
        change = Change(event_type=EventType.CREATED, after=visit, claims=claims, versions=versions)
        traces = self._recorder.traces(self._caller, change, now)
        return NewVisit(visit=visit, claims=claims, versions=versions, quotas=quotas, traces=traces)


def _told(given: Given, told: Told, static: StaticFacts, now: datetime) -> Appointment:
    """The appointment, with its override as it is told: nobody knows which rules it broke."""
    book, by = given.book, given.book.caller.principal.subject
    return visit_of(
        book,
        told.service,
        static.location,
        visit_id=given.id,
        start_min=told.start_min,
        end_min=told.end_min,
        room_id=book.room_id,
        status=given.status or _S.COMPLETED,
        override=Override(book.override_reason, by, ()) if book.override_reason else None,
        now=now,
    )


def require_same(there: Appointment, given: Given) -> None:
    """Refuse another visit under an id that is taken. What the file does not say may be anything."""
    _require_none([name for name, is_other in _differences(there, given) if is_other])


def _require_none(other: Sequence[str]) -> None:
    if other:
        raise Conflict(
            f"A visit of this id is there and says something else ({', '.join(other)}); an appointment is moved by"
            " RescheduleAppointment, not by an import.",
            reason=Reason.ALREADY_EXISTS,
        )


def _differences(there: Appointment, given: Given) -> Iterator[tuple[str, bool]]:
    book, zone = given.book, there.zone
    yield "location_id", book.location_id not in (None, there.location_id)
    yield "provider_id", book.provider_id != there.provider_id
    yield "service_id", book.service_id != there.service_id
    yield "patient_id", book.patient_id != there.patient_id
    yield "room_id", book.room_id not in (None, there.room_id)
    yield "start", localtime.parse_local(book.start, zone) != there.start_min
    yield "end", bool(book.end) and localtime.parse_local(book.end, zone, "end") != there.end_min
    yield "status", given.status not in (None, there.status)
    yield "notes", bool(book.notes) and book.notes != there.notes
    reason = there.override.reason if there.override else ""
    yield "override_reason", bool(book.override_reason and reason) and book.override_reason != reason


def _patient_of(known: Known, patient_id: str | None, *, is_counted: bool) -> PatientFacts | None:
    """The patient as a booking would read it: with visits only where a limit counts them; None when there is none."""
    patient = known.patients.get(patient_id or "")
    if patient is None or patient_id is None or not patient.active:
        return None
    visits = tuple(patient.visits) if is_counted else ()
    return PatientFacts(id=patient_id, visits=visits, is_placeholder=patient.is_placeholder)


def _require_known(book: Book, known: Known) -> None:
    """Refuse references to nothing; what is out of use by now may have been part of a visit."""
    wanted = {"provider": book.provider_id, "room": book.room_id}
    for kind, resource_id in wanted.items():
        if resource_id is not None and known.kinds.get(resource_id) != kind:
            raise NotFound(f"There is no such {kind}.", metadata={"resource": kind})
    if book.patient_id not in known.patients:
        raise NotFound("There is no such patient.", metadata={"resource": "patient"})

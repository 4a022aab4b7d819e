"""What is free instead: the nearest slots after a conflict, worked out when the attempt's locks are gone."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from booking_svc.model import Conflicts, FreeSlot, RoomLabel
from booking_svc.store.session import Reply, Session
from booking_svc.usecases.book import proposal_of, room_choice
from booking_svc.usecases.commands import Book, Reschedule
from booking_svc.usecases.judged_facts import gap_locks
from booking_svc.usecases.mutation import Alternatives
from booking_svc.usecases.places import Places
from database.busy_facts import Stretch
from database.location_facts import Label, LocationFacts
from scheduling import reading
from scheduling.busy import BusyFacts, Calendar
from scheduling.clock import exact_minutes_of
from scheduling.derived import DerivedCache
from scheduling.errors import Conflict, DomainError
from scheduling.facts import PatientFacts, RoomChoice, RoomMode, SlotRequest
from scheduling.judge import Proposal
from scheduling.localtime import parse_local
from scheduling.search import SearchQuery, SearchResult, SlotOrder, search
from scheduling.timeline import DAY_MIN, Horizon

COUNT: Final = 3

_NEAR_MIN: Final = DAY_MIN // 2
_FAR_DAYS: Final = 7
_PATIENT_DAYS: Final = 400


class NearestSlots:
    """Adds to a conflict the three nearest free slots of the same provider, and of any."""

    def __init__(self, places: Places, cache: DerivedCache) -> None:
        self._places = places
        self._cache = cache

    def of_booking(self, command: Book) -> Alternatives:
        """What could be booked instead."""

        async def add(session: Session, refusal: DomainError) -> DomainError:
            if not isinstance(refusal, Conflict):
                return refusal
            location_id = command.location_id or await self._places.find(session, command)
            facts = await _facts(session, location_id, command.service_id)
            if facts is None:
                return refusal
            return await self._add(session, refusal, facts, proposal_of(command, facts))

        return add

    def of_move(self, command: Reschedule) -> Alternatives:
        """Where it could be moved instead."""

        async def add(session: Session, refusal: DomainError) -> DomainError:
            if not isinstance(refusal, Conflict):
                return refusal
            reply = session.appointment(command.appointment_id)
            await session.run()
            stored = reply.get()
            if stored is None:
                return refusal
            visit = stored.appointment
            facts = await _facts(session, command.location_id or visit.location_id, visit.service_id)
            if facts is None:
                return refusal
            zone = facts.static.location.zone
            start_min = parse_local(command.start, zone) if command.start else visit.start_min
            proposal = Proposal(
                service_id=visit.service_id,
                provider_id=command.provider_id or visit.provider_id,
                start_min=start_min,
                duration_min=parse_local(command.end, zone) - start_min
                if command.end
                else visit.end_min - visit.start_min,
                patient_id=visit.patient_id,
                room=room_choice(command.room_id, command.room_mode),
                ignore_appointment_ids=frozenset({visit.id}),
            )
            return await self._add(session, refusal, facts, proposal)

        return add

    async def _add(
        self, session: Session, refusal: Conflict, facts: LocationFacts, proposal: Proposal
    ) -> DomainError:
        slots = await self._nearest(session, facts, proposal, _NEAR_MIN, 2 * _NEAR_MIN)
        if len(slots.same_provider) < COUNT:
            slots = await self._nearest(session, facts, proposal, DAY_MIN, _FAR_DAYS * DAY_MIN)
        known = refusal.alternatives
        taken = known.taken if isinstance(known, Conflicts) else ()
        refusal.alternatives = replace(slots, taken=taken)
        return refusal

    async def _nearest(
        self, session: Session, facts: LocationFacts, proposal: Proposal, before_min: int, after_min: int
    ) -> Conflicts:
        """The slots nearest to the proposal's start in a stretch around it, earlier ones first where equally near."""
        static = facts.static
        request = replace(proposal.request(), provider_ids=None)
        window = Horizon(proposal.start_min - before_min, proposal.start_min + after_min)
        span = reading.span_read(static, request, window)
        locks = gap_locks(static, proposal.service_id, [provider.id for provider in static.providers])
        stretches = [
            Stretch(found, span.start_min, span.end_min, locks.get(found, ""))
            for found in reading.resources_read(static, request, window)
        ]
        claims, clock = session.claims(stretches), session.clock()
        patient = _ask_patient(session, request, proposal)
        await session.run()
        calendars = {
            stretch.resource_id: (Calendar(found.claims),) for stretch, found in claims.get().items()
        }
        busy = BusyFacts(calendars, patient.get() if patient else None)
        query = SearchQuery(request, window.start_min, window.end_min, SlotOrder.TIME)
        now_min = exact_minutes_of(clock.get())
        found = search(static, busy, query, now_min, self._cache, room=_room(proposal))
        nearest = sorted(found.starts(), key=lambda key: (abs(key[0] - proposal.start_min), *key))
        same = [key for key in nearest if key[1] == proposal.provider_id]
        return Conflicts(
            same_provider=_slots(facts, found, same[:COUNT]),
            any_provider=_slots(facts, found, nearest[:COUNT]),
        )


def _ask_patient(
    session: Session, request: SlotRequest, proposal: Proposal
) -> Reply[PatientFacts | None] | None:
    if request.patient_id is None:
        return None
    return session.patient(request.patient_id, proposal.start_min - _PATIENT_DAYS * DAY_MIN)


def _room(proposal: Proposal) -> RoomChoice:
    """A named room stays wanted."""
    return proposal.room if proposal.room.mode is RoomMode.SPECIFIC else RoomChoice()


async def _facts(session: Session, location_id: str, service_id: str) -> LocationFacts | None:
    reply = session.location(location_id, service_id=service_id)
    await session.run()
    return reply.get()


def _slots(
    facts: LocationFacts, found: SearchResult, keys: Iterable[tuple[int, str]]
) -> tuple[FreeSlot, ...]:
    return tuple(_slot(facts, found, start_min, provider_id) for start_min, provider_id in keys)


def _slot(facts: LocationFacts, found: SearchResult, start_min: int, provider_id: str) -> FreeSlot:
    slot = found.slot(start_min, provider_id)
    location, nobody = facts.static.location, Label("", "")
    provider = facts.providers.get(provider_id, nobody)
    rooms = ((room_id, facts.rooms.get(room_id, nobody)) for room_id in slot.room_ids)
    return FreeSlot(
        start_min=slot.start_min,
        end_min=slot.end_min,
        zone=location.zone,
        location_id=location.id,
        provider_id=provider_id,
        provider_name=provider.name,
        specialty=provider.detail,
        score=slot.score,
        rooms=tuple(RoomLabel(room_id, label.name, label.detail) for room_id, label in rooms),
    )

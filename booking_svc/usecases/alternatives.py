"""What is free instead: the nearest slots after a conflict, worked out when the attempt's locks are gone."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable, Sequence
from dataclasses import replace
from typing import Final

from booking_svc.model import Conflicts, FreeSlot, RoomLabel
from booking_svc.store.session import Session
from booking_svc.usecases.book import proposal_of
from booking_svc.usecases.commands import Book, Reschedule
from booking_svc.usecases.judged_facts import gap_locks, limits_of
from booking_svc.usecases.mutation import Alternatives
from booking_svc.usecases.places import Places
from booking_svc.usecases.reschedule_appointment import moved
from database.busy_facts import Stretch
from database.location_facts import Label, LocationFacts
from scheduling import reading
from scheduling.busy import BusyFacts, Calendar
from scheduling.clock import exact_minutes_of
from scheduling.derived import DerivedCache
from scheduling.errors import Conflict, DomainError
from scheduling.facts import Claim, RoomChoice, RoomMode
from scheduling.judge import Proposal
from scheduling.search import SearchQuery, SearchResult, search
from scheduling.slots import SlotOrder
from scheduling.timeline import DAY_MIN, Horizon

COUNT: Final = 3

_NEAR_MIN: Final = DAY_MIN // 2
_FAR_DAYS: Final = 7
_CANDIDATES: Final = 12
_SHARED_S: Final = 0.2
_SHARED_MAX: Final = 256

Candidates = tuple[FreeSlot, ...]


class NearestSlots:
    """Adds to a conflict the three nearest free slots of the same provider, and of any."""

    def __init__(self, places: Places, cache: DerivedCache) -> None:
        self._places = places
        self._cache = cache
        self._shared = _Shared()

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
            _, proposal = moved(command, visit, facts)
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
        window = Horizon(proposal.start_min - before_min, proposal.start_min + after_min)
        if limits_of(facts.static, proposal):
            return _first_of(await self._search(session, facts, proposal, window), proposal.provider_id, [])
        anybody = replace(proposal, patient_id=None)
        key = (session.clinic_id, facts.static.location.fingerprint, anybody, window)
        candidates = await self._shared.of(key, lambda: self._search(session, facts, anybody, window))
        return _first_of(candidates, proposal.provider_id, await _patient_times(session, proposal, window))

    async def _search(
        self, session: Session, facts: LocationFacts, proposal: Proposal, window: Horizon
    ) -> Candidates:
        """The nearest free slots of the proposal's provider, and of any, for whoever the proposal is for."""
        static = facts.static
        request = replace(proposal.request(), provider_ids=None)
        span = reading.span_read(static, request, window)
        locks = gap_locks(static, proposal.service_id, [provider.id for provider in static.providers])
        stretches = [
            Stretch(found, span.start_min, span.end_min, locks.get(found, ""))
            for found in reading.resources_read(static, request, window)
        ]
        claims, clock = session.claims(stretches), session.clock()
        since_min = reading.patient_since_min(static, proposal.service_id, window.start_min)
        patient = session.patient(proposal.patient_id, since_min) if proposal.patient_id else None
        await session.run()
        calendars = {
            stretch.resource_id: (Calendar(found.claims),) for stretch, found in claims.get().items()
        }
        busy = BusyFacts(calendars, patient.get() if patient else None)
        query = SearchQuery(request, window.start_min, window.end_min, SlotOrder.TIME)
        now_min = exact_minutes_of(clock.get())
        found = search(static, busy, query, now_min, self._cache, room=_room(proposal))
        return _candidates(facts, found, proposal)


class _Shared:
    """Answers that callers of one moment share: of many who lost one slot, one searches for all."""

    def __init__(self) -> None:
        self._answers: OrderedDict[Hashable, tuple[float, asyncio.Future[Candidates]]] = OrderedDict()

    async def of(self, key: Hashable, work: Callable[[], Awaitable[Candidates]]) -> Candidates:
        """The answer that is being worked out, or was a moment ago, or what `work` returns."""
        now_s = asyncio.get_running_loop().time()
        known_s, known = self._answers.get(key, (0.0, None))
        if known is not None and (not known.done() or now_s - known_s < _SHARED_S):
            await asyncio.wait({known})
            if not known.cancelled():
                return known.result()
        return await self._work_out(key, work)

    async def _work_out(self, key: Hashable, work: Callable[[], Awaitable[Candidates]]) -> Candidates:
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Candidates] = loop.create_future()
        self._answers[key] = (loop.time(), answer)
        while len(self._answers) > _SHARED_MAX:
            self._answers.popitem(last=False)
        try:
            found = await work()
        except BaseException:
            # Whoever waits works it out again.
            self._answers.pop(key, None)
            answer.cancel()
            raise
        self._answers[key] = (loop.time(), answer)
        answer.set_result(found)
        return found


async def _patient_times(session: Session, proposal: Proposal, window: Horizon) -> list[Claim]:
    """When the patient is taken already, a visit that is to be moved left out."""
    if proposal.patient_id is None:
        return []
    reply = session.claims([Stretch(proposal.patient_id, window.start_min, window.end_min)])
    await session.run()
    (found,) = reply.get().values()
    return [claim for claim in found.claims if claim.appointment_id not in proposal.ignore_appointment_ids]


def _candidates(facts: LocationFacts, found: SearchResult, proposal: Proposal) -> Candidates:
    """A few more than are told, nearest first: the patient may be somewhere else at some of them."""

    def distance(pair: tuple[int, str]) -> tuple[int, int, str]:
        return abs(pair[0] - proposal.start_min), *pair

    nearest = sorted(found.starts(), key=distance)
    same = [pair for pair in nearest if pair[1] == proposal.provider_id]
    wanted = sorted({*same[:_CANDIDATES], *nearest[:_CANDIDATES]}, key=distance)
    return tuple(_slot(facts, found, start_min, provider_id) for start_min, provider_id in wanted)


def _first_of(candidates: Candidates, provider_id: str, taken: Sequence[Claim]) -> Conflicts:
    """The first of the candidates, without those at which the patient is somewhere else."""
    free = [slot for slot in candidates if not any(_collides(slot, claim) for claim in taken)]
    same = [slot for slot in free if slot.provider_id == provider_id]
    return Conflicts(same_provider=tuple(same[:COUNT]), any_provider=tuple(free[:COUNT]))


def _collides(slot: FreeSlot, claim: Claim) -> bool:
    return claim.start_min < slot.end_min and claim.end_min > slot.start_min


def _room(proposal: Proposal) -> RoomChoice:
    """A named room stays wanted."""
    return proposal.room if proposal.room.mode is RoomMode.SPECIFIC else RoomChoice()


async def _facts(session: Session, location_id: str, service_id: str) -> LocationFacts | None:
    reply = session.location(location_id, service_id=service_id)
    await session.run()
    return reply.get()


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

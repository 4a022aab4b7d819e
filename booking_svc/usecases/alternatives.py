"""What is free instead: the nearest slots after a refusal of a time, worked out when the attempt's locks are gone."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Final

from booking_svc.model import Appointment, Conflicts, FreeSlot, RoomLabel
from booking_svc.store.session import Session
from booking_svc.usecases.book import for_its_caller, proposal_of
from booking_svc.usecases.commands import Book, ChangeStatus, Reschedule, UseHold
from booking_svc.usecases.existing import proposal_of_visit
from booking_svc.usecases.judged_facts import gap_locks, limits_of
from booking_svc.usecases.mutation import Alternatives
from booking_svc.usecases.places import Places
from booking_svc.usecases.reschedule_appointment import moved
from database.busy_facts import Stretch
from database.location_facts import Label, LocationFacts
from scheduling import reading
from scheduling.busy import BusyFacts, Calendar
from scheduling.clock import exact_minutes_of, minutes_of
from scheduling.derived import DerivedCache
from scheduling.errors import DomainError, Invalid, NotFound, Reason, Refused
from scheduling.facts import Claim, RoomChoice, RoomMode, rules_of
from scheduling.frame import service_of
from scheduling.judge import Proposal
from scheduling.rules.lead_time import Lead
from scheduling.rules.patient_limit import PatientLimits
from scheduling.search import SearchQuery, SearchResult, search
from scheduling.slots import SlotOrder
from scheduling.timeline import DAY_MIN, Horizon

COUNT: Final = 3

OF_THE_TIME: Final = frozenset(
    {
        Reason.SLOT_ALREADY_BOOKED,
        Reason.ROOM_ALREADY_BOOKED,
        Reason.EQUIPMENT_UNAVAILABLE,
        Reason.PATIENT_ALREADY_BOOKED,
        Reason.OFF_GRID,
        Reason.OUTSIDE_HOURS,
        Reason.LEAD_TIME,
        Reason.BLACKOUT_DATE,
        Reason.MAX_DAILY_REACHED,
        Reason.MIN_GAP,
        Reason.PATIENT_LIMIT,
    }
)
"""Refusals of a time where another time may do."""

_REACHES: Final = ((DAY_MIN // 2, DAY_MIN), (DAY_MIN, 7 * DAY_MIN), (DAY_MIN, 28 * DAY_MIN))
"""How far before and after the wanted time is looked; a provider may work every other week, or one in four."""
_CANDIDATES: Final = 12
_SHARED_S: Final = 0.2
ANSWERS_MAX: Final = 256

Candidates = tuple[FreeSlot, ...]


@dataclass(frozen=True, slots=True)
class Wish:
    """What was refused: slots are looked for near `near_min`, which is its start, or `now_min` when that has passed.

    `provider_ids` None means all of the place.
    """

    facts: LocationFacts
    proposal: Proposal
    near_min: int
    now_min: int
    provider_ids: tuple[str, ...] | None = None

    @property
    def key(self) -> Hashable:
        """What names the wish among those of one location."""
        return self.proposal, self.near_min, self.provider_ids


class NearestSlots:
    """Adds to a refusal of a time the three nearest free slots of the same provider, and of any."""

    def __init__(self, places: Places, cache: DerivedCache) -> None:
        self._places = places
        self._cache = cache
        self._shared = Answers()

    def of_booking(self, command: Book) -> Alternatives:
        """What could be booked instead."""
        command = for_its_caller(command)

        async def wish(session: Session) -> Wish | None:
            location_id = command.location_id or await self._places.find(session, command)
            return await self._wish(
                session, location_id, command.service_id, lambda facts: proposal_of(command, facts)
            )

        return self._adding(wish)

    def of_move(self, command: Reschedule) -> Alternatives:
        """Where it could be moved instead."""
        return self._of_visit(
            command.appointment_id,
            lambda visit, facts: moved(command, visit, facts)[1],
            location_id=command.location_id,
        )

    def of_confirmation(self, command: UseHold) -> Alternatives:
        """When the patient, unknown until now, could come instead."""
        patient_id = command.patient_id
        return self._of_visit(
            command.hold_id,
            lambda hold, _: proposal_of_visit(replace(hold, patient_id=hold.patient_id or patient_id)),
        )

    def of_return(self, command: ChangeStatus) -> Alternatives:
        """What could be booked instead for a patient who came after all, and whose time is taken."""
        return self._of_visit(command.appointment_id, lambda visit, _: proposal_of_visit(visit))

    def _of_visit(
        self,
        appointment_id: str,
        propose: Callable[[Appointment, LocationFacts], Proposal],
        *,
        location_id: str | None = None,
    ) -> Alternatives:
        async def wish(session: Session) -> Wish | None:
            reply = session.appointment(appointment_id)
            await session.run()
            stored = reply.get()
            if stored is None:
                return None
            visit = stored.appointment
            place = location_id or visit.location_id
            return await self._wish(session, place, visit.service_id, lambda facts: propose(visit, facts))

        return self._adding(wish)

    def _adding(self, wish_of: Callable[[Session], Awaitable[Wish | None]]) -> Alternatives:
        async def add(session: Session, refusal: DomainError) -> DomainError:
            if refusal.reason not in OF_THE_TIME:
                return refusal
            try:
                wish = await wish_of(session)
                if wish is None:
                    return refusal
                slots = await self._three(session, wish, how_far(wish, refusal))
            except (
                Invalid,
                NotFound,
                Refused,
            ):  # what was asked for went out of use, so nothing of it is free
                return refusal
            known = refusal.alternatives
            refusal.alternatives = replace(slots, taken=known.taken if isinstance(known, Conflicts) else ())
            return refusal

        return add

    async def _wish(
        self,
        session: Session,
        location_id: str,
        service_id: str,
        propose: Callable[[LocationFacts], Proposal],
    ) -> Wish:
        clock = session.clock()
        facts = await self._places.whole(session, location_id, service_id)
        proposal = propose(facts)
        now_min = minutes_of(clock.get())
        return Wish(facts, proposal, max(proposal.start_min, now_min), now_min)

    async def _three(self, session: Session, wish: Wish, reaches: Sequence[tuple[int, int]]) -> Conflicts:
        """Look further and further, until the provider has three free slots; for others' no longer than they lack."""
        slots = Conflicts()
        for before_min, after_min in reaches:
            if len(slots.same_provider) >= COUNT:
                break
            window = Horizon(wish.near_min - before_min, wish.near_min + after_min)
            if len(slots.any_provider) < COUNT:
                slots = await self._nearest(session, wish, window)
            else:
                own = replace(wish, provider_ids=(wish.proposal.provider_id,))
                found = await self._nearest(session, own, window)
                slots = replace(slots, same_provider=found.same_provider)
        return slots

    async def _nearest(self, session: Session, wish: Wish, window: Horizon) -> Conflicts:
        """The nearest slots in a window, earlier ones first where equally near.

        Where no rule counts the patient's visits, all who lost the same time share one search, and each leaves out
        when its patient is somewhere else; only who then lacks some searches alone.
        """
        if not limits_of(wish.facts.static, wish.proposal):
            anybody = replace(wish, proposal=replace(wish.proposal, patient_id=None))
            key = (session.clinic_id, wish.facts.static.location.fingerprint, anybody.key, window)
            candidates = await self._shared.of(key, lambda: self._search(session, anybody, window))
            taken = await _patient_times(session, wish, window)
            slots = _first_of(candidates, wish.proposal.provider_id, taken)
            if not taken or len(slots.same_provider) >= COUNT:
                return slots
        return _first_of(await self._search(session, wish, window), wish.proposal.provider_id, [])

    async def _search(self, session: Session, wish: Wish, window: Horizon) -> Candidates:
        """The nearest free slots of the proposal's provider, and of any, for whoever the proposal is for."""
        static, proposal = wish.facts.static, wish.proposal
        request = replace(proposal.request(), provider_ids=wish.provider_ids)
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
        return _candidates(wish, found)


class Answers:
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
        while len(self._answers) > ANSWERS_MAX:
            self._answers.popitem(last=False)
        try:
            found = await work()
        except BaseException:
            # Whoever waits works it out again, unless somebody does so already.
            if self._answers.get(key, (0.0, None))[1] is answer:
                del self._answers[key]
            answer.cancel()
            raise
        self._answers[key] = (loop.time(), answer)
        answer.set_result(found)
        return found


def how_far(wish: Wish, refusal: DomainError) -> Sequence[tuple[int, int]]:
    """How far to look: not beyond the nearest times where the rule that refused refuses all others as well.

    Those are looked at, as it may not bind other providers.
    """
    rules = rules_of(wish.facts.static, wish.proposal.service_id, wish.proposal.provider_id)
    payload = next((rule.payload for rule in rules if rule.id == refusal.metadata.get("ruleId")), None)
    furthest_min = wish.near_min + _REACHES[-1][1]
    is_full = isinstance(payload, PatientLimits) and payload.min_days_between is None
    is_beyond = isinstance(payload, Lead) and wish.now_min + (payload.min_minutes or 0) >= furthest_min
    return _REACHES[:1] if is_full or is_beyond else _REACHES


async def _patient_times(session: Session, wish: Wish, window: Horizon) -> list[Claim]:
    """When the patient is taken already, if that matters; a visit that is to be moved left out."""
    proposal = wish.proposal
    if (
        proposal.patient_id is None
        or service_of(wish.facts.static, proposal.service_id).allow_patient_overlap
    ):
        return []
    reply = session.claims([Stretch(proposal.patient_id, window.start_min, window.end_min)])
    await session.run()
    (found,) = reply.get().values()
    return [claim for claim in found.claims if claim.appointment_id not in proposal.ignore_appointment_ids]


def _candidates(wish: Wish, found: SearchResult) -> Candidates:
    """A few more than are told, nearest first: the patient may be somewhere else at some of them."""
    near_min = wish.near_min
    same = islice(found.nearest(near_min, wish.proposal.provider_id), _CANDIDATES)
    wanted = sorted(
        {*same, *islice(found.nearest(near_min), _CANDIDATES)},
        key=lambda pair: (abs(pair[0] - near_min), *pair),
    )
    return tuple(_slot(wish.facts, found, start_min, provider_id) for start_min, provider_id in wanted)


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

"""A clinic's bookings in memory: who has what, until when, and what may become of it. No I/O, nothing of the engine.

It decides by plain intervals whether a wish must be granted. Which room, unit or item is taken is the service's to
choose: the model is told, refuses to believe in anything that was not free, and remembers it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

LIVE = frozenset({"held", "scheduled", "confirmed", "checked_in", "in_progress"})
STEPS = {
    "ConfirmAppointment": ({"scheduled"}, "confirmed"),
    "CheckInAppointment": ({"scheduled", "confirmed", "no_show"}, "checked_in"),
    "StartAppointment": ({"checked_in"}, "in_progress"),
    "CompleteAppointment": ({"in_progress"}, "completed"),
    "MarkNoShow": ({"scheduled", "confirmed", "checked_in"}, "no_show"),
    "CancelAppointment": ({"scheduled", "confirmed"}, "canceled"),
}
_TAKEN, _REFUSED = "ALREADY_EXISTS", "FAILED_PRECONDITION"
SLOT, ROOM = f"{_TAKEN} SLOT_ALREADY_BOOKED", f"{_TAKEN} ROOM_ALREADY_BOOKED"
EQUIPMENT, PATIENT = f"{_TAKEN} EQUIPMENT_UNAVAILABLE", f"{_TAKEN} PATIENT_ALREADY_BOOKED"
MIN_GAP, MAX_DAILY = f"{_REFUSED} MIN_GAP", f"{_REFUSED} MAX_DAILY_REACHED"
PATIENT_LIMIT, OFF_GRID = f"{_REFUSED} PATIENT_LIMIT", f"{_REFUSED} OFF_GRID"
INVALID_TRANSITION = f"{_REFUSED} INVALID_TRANSITION"
HOLD_EXPIRED, WRONG_TOKEN = f"{_REFUSED} HOLD_EXPIRED", f"{_REFUSED} HOLD_TOKEN_MISMATCH"
STALE_ETAG = "ABORTED STALE_ETAG"
OK = frozenset({"OK"})
SOFT = frozenset({MAX_DAILY, PATIENT_LIMIT, OFF_GRID})


class Claim(NamedTuple):
    """One unit of something scarce in the minutes `[start, end)`."""

    resource: str
    unit: int
    start: int
    end: int

    def meets(self, other: Claim) -> bool:
        """Whether both want the same unit in the same minute."""
        return self[:2] == other[:2] and self.start < other.end and other.start < self.end


@dataclass(frozen=True, slots=True)
class Pool:
    """A room or an equipment item: so many units, and the minutes after a visit that it needs."""

    units: int = 1
    turnaround: int = 0


@dataclass(frozen=True, slots=True)
class Service:
    """What a visit of a service needs. `gaps` gives each provider's gap resource; `quota` the day's."""

    id: str
    requires_room: bool = True
    items_needed: int = 0
    buffer_after: int = 0
    gap: int = 0
    gaps: Mapping[str, str] = field(default_factory=dict)
    quota: str = ""
    per_day: int = 0
    per_patient: int = 0


@dataclass(frozen=True, slots=True)
class Clinic:
    """Everything that can be had on its one day, whose first and last minute are given."""

    services: Mapping[str, Service]
    rooms: Mapping[str, Pool]
    items: Mapping[str, Pool]
    day: tuple[int, int]
    step: int = 15


@dataclass(frozen=True, slots=True)
class Wish:
    """A proposal; `room` is None for any room."""

    service: str
    provider: str
    start: int
    end: int
    patient: str = ""
    room: str | None = None


@dataclass(frozen=True, slots=True)
class Visit:
    """An appointment or hold and its claims; `expires` is the minute in which a hold ends.

    `had` is what it claimed before nobody came.
    """

    id: str
    wish: Wish
    state: str
    room: str = ""
    token: str = ""
    expires: int | None = None
    version: int = 1
    claims: frozenset[Claim] = frozenset()
    had: frozenset[Claim] = frozenset()


class Bookings:
    """All visits of a clinic at the minute `now`."""

    def __init__(self, clinic: Clinic, now: int) -> None:
        self.clinic = clinic
        self.now = now
        self.visits: dict[str, Visit] = {}

    # what is, and what may be

    def has_lapsed(self, visit: Visit) -> bool:
        """Whether it is a hold that has ended, though nobody may have noticed."""
        return visit.state == "held" and visit.expires is not None and visit.expires <= self.now

    def standing(self, but: str = "") -> Iterator[Claim]:
        """The claims that stand in others' way."""
        for visit in self.visits.values():
            if visit.id != but and not self.has_lapsed(visit):
                yield from visit.claims

    def refusals(self, wish: Wish, *, but: str = "", override: bool = False) -> frozenset[str]:
        """Every reason to refuse; empty when the wish must be granted."""
        standing = list(self.standing(but))
        found = set(self._taken(wish, standing))
        service = self.clinic.services[wish.service]
        if service.per_day and sum(claim.resource == service.quota for claim in standing) >= service.per_day:
            found.add(MAX_DAILY)
        if self.exceeds_limit(wish, but):
            found.add(PATIENT_LIMIT)
        if wish.start % self.clinic.step:
            found.add(OFF_GRID)
        return frozenset(found - SOFT if override else found)

    def expected(self, wish: Wish, *, but: str = "", override: bool = False) -> frozenset[str]:
        """What the answer may be."""
        return self.refusals(wish, but=but, override=override) or OK

    def exceeds_limit(self, wish: Wish, but: str = "") -> bool:
        """Whether the patient has as many visits of the service ahead as allowed."""
        most = self.clinic.services[wish.service].per_patient
        mine = [
            visit
            for visit in self.visits.values()
            if visit.id != but and visit.state in LIVE and not self.has_lapsed(visit)
            if visit.wish.patient == wish.patient and visit.wish.service == wish.service
        ]
        return bool(most and wish.patient and len(mine) >= most)

    def _taken(self, wish: Wish, standing: list[Claim]) -> Iterator[str]:
        service = self.clinic.services[wish.service]
        fixed = {claim.resource: claim for claim in self._fixed(wish)}
        gap = service.gaps.get(wish.provider, "") if service.gap else ""
        for resource, reason in ((wish.provider, SLOT), (wish.patient, PATIENT), (gap, MIN_GAP)):
            if resource and any(fixed[resource].meets(claim) for claim in standing):
                yield reason
        wants_room = service.requires_room or wish.room is not None
        rooms = self.clinic.rooms if wish.room is None else [wish.room]
        if wants_room and not any(self._free_units(room, wish, standing) for room in rooms):
            yield ROOM
        free_items = sum(len(self._free_units(item, wish, standing)) for item in self.clinic.items)
        if free_items < service.items_needed:
            yield EQUIPMENT

    def _fixed(self, wish: Wish) -> list[Claim]:
        """The claims that leave no choice."""
        service = self.clinic.services[wish.service]
        claims = [Claim(wish.provider, 1, wish.start, wish.end + service.buffer_after)]
        if wish.patient:
            claims.append(Claim(wish.patient, 1, wish.start, wish.end))
        if service.gap:
            claims.append(Claim(service.gaps[wish.provider], 1, wish.start, wish.end + service.gap))
        return claims

    def _pool_claim(self, resource: str, unit: int, wish: Wish) -> Claim:
        room, buffer = self.clinic.rooms.get(resource), self.clinic.services[wish.service].buffer_after
        after = max(buffer, room.turnaround) if room else self.clinic.items[resource].turnaround
        return Claim(resource, unit, wish.start, wish.end + after)

    def _free_units(self, resource: str, wish: Wish, standing: list[Claim]) -> list[int]:
        pool = self.clinic.rooms.get(resource) or self.clinic.items[resource]
        return [
            unit
            for unit in range(1, pool.units + 1)
            if not any(self._pool_claim(resource, unit, wish).meets(claim) for claim in standing)
        ]

    # what happens

    def granted(self, visit: Visit, claims: frozenset[Claim]) -> None:
        """Believe that the visit has these claims: none is another's, and they are what its wish needs."""
        standing = list(self.standing(visit.id))
        assert not any(claim.meets(other) for claim in claims for other in standing), "taken twice"
        wish, service = visit.wish, self.clinic.services[visit.wish.service]
        rooms = [claim for claim in claims if claim.resource in self.clinic.rooms]
        items = [claim for claim in claims if claim.resource in self.clinic.items]
        quotas = [claim for claim in claims if claim.resource == service.quota]
        assert [claim.resource for claim in rooms] == ([visit.room] if visit.room else [])
        assert len(items) == service.items_needed
        for claim in (*rooms, *items):
            assert claim == self._pool_claim(claim.resource, claim.unit, wish)
        assert [claim[2:] for claim in quotas] == ([self.clinic.day] if service.quota else [])
        assert claims - {*rooms, *items, *quotas} == set(self._fixed(wish))
        self.visits[visit.id] = replace(visit, claims=claims)

    def step(self, visit_id: str, state: str, *, expires: int | None = None) -> Visit:
        """Lead a visit to another state, with what it keeps there."""
        visit = self.visits[visit_id]
        kept = visit.claims if state in LIVE else frozenset(self._quotas(visit, state))
        self.visits[visit_id] = found = replace(
            visit, state=state, version=visit.version + 1, claims=kept, had=visit.claims, expires=expires
        )
        return found

    def _quotas(self, visit: Visit, state: str) -> Iterable[Claim]:
        """A visit that took place, or for which nobody came, keeps its place in the day's quota."""
        quota = self.clinic.services[visit.wish.service].quota
        keeps = state in {"no_show", "completed"}
        return [claim for claim in visit.claims if keeps and claim.resource == quota]

    def may_step(self, visit_id: str, method: str) -> frozenset[str]:
        """What the answer to a step may be."""
        visit = self.visits[visit_id]
        if visit.state not in STEPS[method][0]:
            return frozenset({INVALID_TRANSITION})
        if visit.state != "no_show":
            return OK
        return frozenset(self._taken_meanwhile(visit)) or OK

    def _taken_meanwhile(self, visit: Visit) -> Iterator[str]:
        """Why a visit to which nobody came cannot have its claims again: any unit of its room, the same equipment."""
        standing = list(self.standing(visit.id))
        for reason in self._taken(replace(visit.wish, room=visit.room or None), standing):
            if reason != EQUIPMENT:
                yield SLOT if reason == MIN_GAP else reason
        items = [claim for claim in visit.had if claim.resource in self.clinic.items]
        if any(item.meets(claim) for item in items for claim in standing):
            yield EQUIPMENT

"""A visit that has come to its end, as it is told: what it names must be there, and what it claims may go on.

It is not judged. But what its end would have left it of its claims, and has not run out yet, counts like theirs that
ended here: the day's quota, and of a completed one the buffers, turnarounds and gaps that go on. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from booking_svc.model import Appointment, HeldClaim
from booking_svc.usecases.commands import Book
from booking_svc.usecases.existing import Found
from booking_svc.usecases.retained_claims import Retain, none_of, quotas_of, without_tail
from booking_svc.usecases.taking import held_claims
from database.busy_facts import Stretch
from scheduling import claims, localtime
from scheduling.appointment import AppointmentStatus
from scheduling.busy import BusyFacts
from scheduling.clock import exact_minutes_of, minutes_of
from scheduling.errors import Conflict, DomainError, Invalid, NotFound, Reason, Refused
from scheduling.facts import PlannedClaim, ResourceKind, Service, StaticFacts
from scheduling.judge import SENTENCES, as_held

_S = AppointmentStatus
_RETAINED: Final[Mapping[AppointmentStatus, Retain]] = {
    _S.COMPLETED: without_tail,
    _S.NO_SHOW: quotas_of,
    _S.CANCELED: none_of,
}
HISTORY: Final = frozenset(_RETAINED)
"""What has come to its end: recorded as it is told, unjudged."""

_MINUTES_MAX: Final = 1_440
_TAKEN: Final = {
    ResourceKind.PROVIDER: Reason.SLOT_ALREADY_BOOKED,
    ResourceKind.ROOM: Reason.ROOM_ALREADY_BOOKED,
    ResourceKind.GAP: Reason.MIN_GAP,
    ResourceKind.QUOTA: Reason.MAX_DAILY_REACHED,
}
_MOST_TELLING_FIRST: Final = tuple(_TAKEN)


@dataclass(frozen=True, slots=True)
class Told:
    """When a visit was, of which service, and which claims of it might not have run out; each is of unit 1."""

    service: Service
    start_min: int
    end_min: int
    planned: Sequence[PlannedClaim]

    def stretches(self) -> list[Stretch]:
        """The parts of calendars that decide about the claims."""
        return [
            Stretch(
                one.resource_id,
                one.start_min,
                one.end_min,
                one.lock_id if one.kind is ResourceKind.GAP else "",
            )
            for one in self.planned
        ]


def told_at(static: StaticFacts, book: Book, status: AppointmentStatus | None, now: datetime) -> Told:
    """The visit at its place. Raises NotFound for its service, and Invalid for times that cannot be."""
    service, zone = _service_of(static, book.service_id), static.location.zone
    start_min = localtime.parse_local(book.start, zone)
    end_min = localtime.parse_local(book.end, zone, "end") if book.end else start_min + service.duration_min
    if not 0 < end_min - start_min <= _MINUTES_MAX:
        raise Invalid.field("end", "must be after start, by a day at most")
    if status is _S.CANCELED:
        return Told(service, start_min, end_min, ())
    if start_min > minutes_of(now):
        raise Invalid.field("status", "cannot be that of a visit that is still to come")
    planned = _planned(static, service, book, start_min, end_min)
    return Told(service, start_min, end_min, [one for one in planned if one.end_min > exact_minutes_of(now)])


def _planned(
    static: StaticFacts, service: Service, book: Book, start_min: int, end_min: int
) -> tuple[PlannedClaim, ...]:
    """What it claimed, as far as it is known: its patient is free when it ends, and nothing tells its equipment."""
    visit = claims.Visit(
        service_id=service.id,
        provider_id=book.provider_id,
        start_min=start_min,
        end_min=end_min,
        room_id=book.room_id if any(room.id == book.room_id for room in static.rooms) else None,
    )
    return claims.visit_claims(as_held(static, service.id, service.duration_min), visit)


def still_claimed(
    static: StaticFacts, told: Told, visit: Appointment, busy: BusyFacts, now: datetime
) -> tuple[tuple[HeldClaim, ...], tuple[Reason, ...]]:
    """What the visit claims still, at units that are free, and why it would have been refused without its override.

    With an override it has a place above a quota that is full, and leaves out what somebody else has.
    Raises Refused and Conflict without one.
    """
    if not told.planned:
        return (), ()
    retained = _RETAINED[visit.status](Found(visit, held_claims(told.planned, None), now, ""))
    going_on = sorted(
        (one for one in retained if one.end_min > exact_minutes_of(now)),
        key=lambda one: _MOST_TELLING_FIRST.index(one.kind),
    )
    limits = {
        quota.resource_id: quota.limit
        for quota in claims.quotas_of(static, visit.service_id, visit.provider_id, visit.start_min)
    }
    room_units = {room.id: room.concurrent_visits for room in static.rooms}
    kept: list[HeldClaim] = []
    broken: list[Reason] = []
    for one in going_on:
        units = limits.get(one.resource_id) if one.kind is ResourceKind.QUOTA else None
        unit, is_free = _unit(one, units, room_units.get(one.resource_id, 1), busy, now)
        if not is_free:
            if visit.override is None:
                raise _refused(one)
            broken.append(_TAKEN[one.kind])
        if unit is not None:
            kept.append(replace(one, unit=unit))
    return tuple(kept), tuple(dict.fromkeys(broken))


def _unit(
    wanted: HeldClaim, limit: int | None, units: int, busy: BusyFacts, now: datetime
) -> tuple[int | None, bool]:
    """The unit to claim, if there is one, and whether it may be had without an override. A quota has a `limit`."""
    used = frozenset(_units_in_the_way(wanted, busy, now))
    if limit is not None:
        return claims.quota_unit(used, limit), len(used) < limit
    free = next((unit for unit in range(1, units + 1) if unit not in used), None)
    return free, free is not None


def _units_in_the_way(wanted: HeldClaim, busy: BusyFacts, now: datetime) -> Iterator[int]:
    for other in busy.claims_of(wanted.resource_id):
        is_apart = other.end_min <= wanted.start_min or other.start_min >= wanted.end_min
        if not is_apart and other.is_live(exact_minutes_of(now)):
            yield other.unit


def _refused(claim: HeldClaim) -> DomainError:
    reason = _TAKEN[claim.kind]
    is_conflict = claim.kind in (ResourceKind.PROVIDER, ResourceKind.ROOM)
    return (Conflict if is_conflict else Refused)(SENTENCES[reason], reason=reason)


def _service_of(static: StaticFacts, service_id: str) -> Service:
    """The service, whether in use or not. Raises NotFound."""
    for service in static.services:
        if service.id == service_id:
            return service
    raise NotFound("There is no such service.", metadata={"resource": "service"})

"""Whether a booked visit fits a place: every reason of hours and fitness against it, not the first one alone.

A visit keeps the service and the duration it was booked with, so neither hides what else has become of it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from booking_svc.model import Appointment
from database.location_facts import LocationFacts
from scheduling.busy import BusyFacts
from scheduling.derived import DerivedCache
from scheduling.errors import Reason
from scheduling.facts import Provider, RoomChoice, RoomMode, StaticFacts
from scheduling.frame import service_of
from scheduling.judge import Proposal, judge

_NOTHING_BUSY: Final = BusyFacts()
_CACHE: Final = DerivedCache()
_DURATION_MAX: Final = 1_440
_COUNTED: Final = frozenset(
    {
        Reason.OUTSIDE_HOURS,
        Reason.RESOURCE_INACTIVE,
        Reason.PROVIDER_NOT_ALLOWED,
        Reason.ROOM_TYPE,
        Reason.ROOM_ALREADY_BOOKED,
        Reason.EQUIPMENT_UNAVAILABLE,
        Reason.BLACKOUT_DATE,
    }
)
"""What can make a booked visit fall outside; the rest is about the moment of booking, or settled by its claims."""


@dataclass(frozen=True, slots=True)
class Place:
    """A location as visits that are booked there already are judged under it."""

    static: StaticFacts
    active: bool
    services_out_of_use: frozenset[str]
    rooms: frozenset[str]
    providers: frozenset[str]


def place_of(facts: LocationFacts) -> Place:
    """The place that a location's facts describe."""
    static = facts.static
    allowing = tuple(
        replace(service, active=True, min_duration_min=1, max_duration_min=_DURATION_MAX)
        for service in static.services
    )
    return Place(
        static=replace(static, services=allowing),
        active=facts.active,
        services_out_of_use=frozenset(service.id for service in static.services if not service.active),
        rooms=frozenset(room.id for room in static.rooms),
        providers=frozenset(provider.id for provider in static.providers),
    )


def came_up(visit: Appointment, before: Place | None, after: Place | None) -> Reason | None:
    """The most telling reason against a visit that was none before; None when there is no new one.

    What its own override broke does not count: staff knew of it.
    """
    known = {*_reasons(visit, before), *(visit.override.rules if visit.override else ())}
    return next((reason for reason in _reasons(visit, after) if reason not in known), None)


def _reasons(visit: Appointment, place: Place | None) -> tuple[Reason, ...]:
    if place is None:
        return (Reason.RESOURCE_INACTIVE,)
    is_room_elsewhere = visit.room_id is not None and visit.room_id not in place.rooms
    is_out_of_use = not place.active or is_room_elsewhere or visit.service_id in place.services_out_of_use
    verdict = judge(
        _with_provider(place, visit.provider_id),
        _NOTHING_BUSY,
        _proposal(visit, place, is_room_elsewhere=is_room_elsewhere),
        visit.start_min - 1,
        _CACHE,
    )
    against = [refusal.reason for refusal in verdict.refusals if refusal.reason in _COUNTED]
    return tuple(dict.fromkeys([*([Reason.RESOURCE_INACTIVE] if is_out_of_use else []), *against]))


def _with_provider(place: Place, provider_id: str) -> StaticFacts:
    """The facts with the visit's provider; one who does not work at the place any more has no hours there."""
    if provider_id in place.providers:
        return place.static
    return replace(place.static, providers=(*place.static.providers, Provider(provider_id)))


def _proposal(visit: Appointment, place: Place, *, is_room_elsewhere: bool) -> Proposal:
    """The visit as it would be asked for; one without a room here finds none where its service needs one."""
    room = RoomChoice(RoomMode.SPECIFIC, visit.room_id)
    if visit.room_id is None or is_room_elsewhere:
        requires_room = service_of(place.static, visit.service_id).requires_room
        room = RoomChoice(RoomMode.AUTO if requires_room else RoomMode.NONE)
    return Proposal(
        visit.service_id,
        visit.provider_id,
        visit.start_min,
        visit.end_min,
        room=room,
        is_override=False,
        only_resources=frozenset({visit.room_id or "", *(use.equipment_id for use in visit.equipment)}),
    )

"""Visits that fill a made-up clinic's diary: each one a slot that a search would have offered at its turn.

Every visit lies in its provider's open time, on its service's grid, in a room and where units are free, within every
rule but the notice that a service wants. They come as entries of an import, which judges and books them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from random import Random
from typing import Final

from ctl.seed.daybook import DayBook
from ctl.seed.facts import ClinicFacts
from scheduling import localtime, timeline, windows
from scheduling.claims import Visit, quotas_of, visit_claims
from scheduling.derived import DerivedCache
from scheduling.facts import (
    Equipment,
    EquipmentUnit,
    Location,
    Provider,
    Room,
    Service,
    StaticFacts,
    rules_of,
)
from scheduling.rules.allowed_provider import AllowedProviders
from scheduling.rules.blackout_dates import Blackout
from scheduling.rules.lead_time import Lead
from scheduling.rules.patient_limit import PatientLimits
from scheduling.rules.required_equipment_type import RequiredUnits
from scheduling.rules.room_type import RequiredRoomType
from scheduling.timeline import Bits, Horizon

BUSY_SHARE: Final = 0.6

_EAGER: Final = 0.85
_RELUCTANT: Final = 0.04
_STEP_MIN: Final = 5
_PLAIN_WEIGHT: Final = 4
_SERVICES_TRIED_MAX: Final = 4
_PATIENTS_TRIED_MAX: Final = 6


@dataclass(frozen=True, slots=True)
class PlannedVisit:
    """A visit at its place; `is_on_notice` where its service must be booked some time ahead."""

    location: Location
    visit: Visit
    is_on_notice: bool


@dataclass(frozen=True, slots=True)
class _Needs:
    """What the rules ask of a service, gathered once a location."""

    service: Service
    weight: int
    provider_ids: frozenset[str] | None
    room_types: frozenset[str]
    units: Mapping[str, int]
    blackouts: tuple[Blackout, ...]
    is_once_a_patient: bool
    is_on_notice: bool

    def allows(self, provider: Provider) -> bool:
        """Whether the provider may give the service."""
        return self.provider_ids is None or provider.id in self.provider_ids

    def fits(self, at_min: int, wall_min: int, run_end: int) -> bool:
        """Whether a start is on the service's grid and leaves time enough in the run."""
        service = self.service
        return wall_min % service.slot_step_min == 0 and at_min + service.duration_min <= run_end


class _Place:
    """One location while it is being filled: its facts, and each provider's open time over the whole stretch."""

    def __init__(self, static: StaticFacts, horizon: Horizon, cache: DerivedCache) -> None:
        self.location = static.location
        self.static = static
        self.providers = [found for found in static.providers if found.active]
        self.rooms = [room for room in static.rooms if room.active]
        self.equipment = [item for item in static.equipment if item.active]
        self.needs = [_needs(static, service) for service in static.services if service.active]
        self.horizon = horizon
        self._open = {
            found.id: windows.provider_open(cache, found.schedule, self.location, horizon)
            for found in self.providers
        }
        self._closed: dict[str, Bits] = {}
        things: tuple[Room | Equipment, ...] = (*self.rooms, *self.equipment)
        for thing in things:
            opened = windows.resource_open(cache, thing.schedule, self.location, horizon)
            if opened is not None:
                self._closed[thing.id] = timeline.without(timeline.always(horizon), opened)

    def open_runs(self, provider: Provider, day: tuple[int, int]) -> list[tuple[int, int]]:
        """The stretches of a day in which the provider works here."""
        low, high = day
        span = Horizon(low, high)
        return list(timeline.runs(timeline.moved(self._open[provider.id], self.horizon, span), span))

    def is_closed(self, resource_id: str, start_min: int, end_min: int) -> bool:
        """Whether a room or an item is under maintenance in part of the time."""
        closed = self._closed.get(resource_id)
        return closed is not None and bool(closed & timeline.interval(self.horizon, start_min, end_min))


def make_visits(clinic: ClinicFacts, *, seed: int, first_day: date, days: int) -> Iterator[PlannedVisit]:
    """Fill `days` local days from `first_day` to about 60 % of each provider's open time, day by day."""
    rng = Random(f"{seed}/{clinic.id}/visits")  # noqa: S311 - made-up data
    filler = _Filler(clinic, rng, first_day, days)
    for offset in range(days):
        yield from filler.fill(first_day + timedelta(days=offset))


@dataclass(frozen=True, slots=True)
class _Turn:
    """One provider's day at one place: what may be booked, and the book it goes into."""

    place: _Place
    provider: Provider
    offered: list[_Needs]
    book: DayBook


class _Filler:
    """Fills one clinic's days in turn."""

    def __init__(self, clinic: ClinicFacts, rng: Random, first_day: date, days: int) -> None:
        self._rng = rng
        self._zone = clinic.zone
        self._patient_ids = (*clinic.placeholder_ids, *clinic.patient_ids)
        self._placeholder_ids = frozenset(clinic.placeholder_ids)
        self._seen: set[tuple[str, str]] = set()
        cache = DerivedCache()
        starts = localtime.day_bounds(clinic.zone, first_day)[0]
        ends = localtime.day_bounds(clinic.zone, first_day + timedelta(days=days))[0]
        horizon = Horizon(starts, ends)
        self._places = [_Place(static, horizon, cache) for static in clinic.statics]

    def fill(self, local_day: date) -> Iterator[PlannedVisit]:
        """The visits of one local day of the clinic at all locations."""
        day = localtime.day_bounds(self._zone, local_day)
        book = DayBook(*day)
        for place in self._places:
            needs = [need for need in place.needs if not any(b.holds(local_day) for b in need.blackouts)]
            for provider in place.providers:
                turn = _Turn(place, provider, [need for need in needs if need.allows(provider)], book)
                yield from self._fill(turn, place.open_runs(provider, day))

    def _fill(self, turn: _Turn, runs: list[tuple[int, int]]) -> Iterator[PlannedVisit]:
        """Walk the provider's open time; book eagerly while it is below its share."""
        booked = passed = 0
        for run_start, run_end in runs:
            at_min = run_start
            while at_min < run_end:
                is_eager = booked <= BUSY_SHARE * passed
                wants = self._rng.random() < (_EAGER if is_eager else _RELUCTANT)
                planned = self._find(turn, at_min, run_end) if wants else None
                if planned is None:
                    ends_min = min(at_min + _STEP_MIN, run_end)
                else:
                    ends_min = planned.visit.end_min
                    booked += ends_min - at_min
                    yield planned
                passed += ends_min - at_min
                at_min = ends_min

    def _find(self, turn: _Turn, at_min: int, run_end: int) -> PlannedVisit | None:
        """A visit that starts at `at_min` exactly, written into the book; None if no service fits there."""
        wall_min = localtime.wall_at(turn.place.location.zone, at_min) % timeline.DAY_MIN
        fitting = [need for need in turn.offered if need.fits(at_min, wall_min, run_end)]
        if not fitting:
            return None
        weights = [need.weight for need in fitting]
        for need in self._rng.choices(fitting, weights, k=_SERVICES_TRIED_MAX):
            visit = self._fit(turn, need, at_min)
            if visit is not None and turn.book.take(visit_claims(turn.place.static, visit)):
                self._seen.add((visit.patient_id or "", visit.service_id))
                return PlannedVisit(turn.place.location, visit, need.is_on_notice)
        return None

    def _fit(self, turn: _Turn, need: _Needs, at_min: int) -> Visit | None:
        """The visit with room, units, quota and patient, or None when one of them cannot be had."""
        place, provider_id, book = turn.place, turn.provider.id, turn.book
        service = need.service
        end = at_min + service.duration_min
        low, high = at_min - service.buffer_before_min, end + service.buffer_after_min
        if not book.is_free(provider_id, 1, low, high):
            return None
        if service.buffers_within_hours and place.open_runs(turn.provider, (low, high)) != [(low, high)]:
            return None
        quotas = quotas_of(place.static, service.id, provider_id, at_min)
        room = self._room(place, need, low, high, book=book)
        equipment = _units(place, need, at_min, end, book=book)
        patient_id = self._patient(need, at_min, end, book)
        if (room is None and service.requires_room) or equipment is None or patient_id is None:
            return None
        if any(book.quota_count(quota.resource_id) >= quota.limit for quota in quotas):
            return None
        return Visit(
            service.id,
            provider_id,
            at_min,
            end,
            patient_id=patient_id,
            is_placeholder_patient=patient_id in self._placeholder_ids,
            room_id=room[0] if room else None,
            room_unit=room[1] if room else 1,
            equipment=equipment,
            quota_units={quota.resource_id: book.quota_count(quota.resource_id) + 1 for quota in quotas},
        )

    def _room(
        self, place: _Place, need: _Needs, low: int, high: int, *, book: DayBook
    ) -> tuple[str, int] | None:
        """A free unit of a suitable room, whichever comes first in a random order."""
        service = need.service
        if not service.requires_room:
            return None
        suitable = [room for room in place.rooms if need.room_types <= {room.room_type}]
        for room in self._rng.sample(suitable, len(suitable)):
            until = high - service.buffer_after_min + max(service.buffer_after_min, room.turnaround_min)
            if place.is_closed(room.id, low, high):
                continue
            unit = book.free_unit(room.id, room.concurrent_visits, low, until)
            if unit is not None:
                return room.id, unit
        return None

    def _patient(self, need: _Needs, start: int, end: int, book: DayBook) -> str | None:
        """A patient without another visit then, and without one of this service if its rule says so."""
        for patient_id in self._rng.choices(self._patient_ids, k=_PATIENTS_TRIED_MAX):
            if need.is_once_a_patient and (patient_id, need.service.id) in self._seen:
                continue
            if patient_id in self._placeholder_ids or book.is_free(patient_id, 1, start, end):
                return patient_id
        return None


def _units(
    place: _Place, need: _Needs, start: int, end: int, *, book: DayBook
) -> tuple[EquipmentUnit, ...] | None:
    """The units that the service takes, the location's own first; None when there are too few."""
    chosen: list[EquipmentUnit] = []
    for equipment_type, wanted in need.units.items():
        found = [
            EquipmentUnit(item.id, unit)
            for item in sorted(place.equipment, key=lambda item: (item.location_id is None, item.id))
            if item.equipment_type == equipment_type and not place.is_closed(item.id, start, end)
            for unit in range(1, item.quantity + 1)
            if book.is_free(item.id, unit, start, end + item.turnaround_min)
        ]
        if len(found) < wanted:
            return None
        chosen.extend(found[:wanted])
    return tuple(chosen)


def _needs(static: StaticFacts, service: Service) -> _Needs:
    """What all rules of the service say together; one without any is asked for more often."""
    rules = rules_of(static, service.id)
    payloads = [rule.payload for rule in rules]
    named = [payload.provider_ids for payload in payloads if isinstance(payload, AllowedProviders)]
    return _Needs(
        service=service,
        weight=1 if any(rule.provider_id is None for rule in rules) else _PLAIN_WEIGHT,
        provider_ids=frozenset.intersection(*named) if named else None,
        room_types=frozenset(found.room_type for found in payloads if isinstance(found, RequiredRoomType)),
        units={
            found.equipment_type: found.min_units for found in payloads if isinstance(found, RequiredUnits)
        },
        blackouts=tuple(found for found in payloads if isinstance(found, Blackout)),
        is_once_a_patient=any(isinstance(found, PatientLimits) for found in payloads),
        is_on_notice=any(isinstance(found, Lead) for found in payloads),
    )

"""What is bookable, decided minute by minute with sets, datetimes and dateutil: no masks, no shifts, no caches.

It reads the same facts as the engine and takes only the ids of quotas and gaps from it. Everything else is said again
here, as literally as the written semantics allow.
"""

# ruff: noqa: DTZ001 - a wall clock has no zone

import math
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from dateutil.rrule import rruleset, rrulestr

from scheduling.errors import Reason
from scheduling.facts import (
    Claim,
    Equipment,
    PatientFacts,
    Provider,
    Room,
    RoomChoice,
    Rule,
    Schedule,
    Service,
    SlotRequest,
    StaticFacts,
    Window,
    WindowKind,
)
from scheduling.ids import gap_id, quota_id

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
ONE_DAY = timedelta(days=1)
OF_PLACE = {"allowed_provider", "required_equipment_type", "min_gap"}
ACTIVE = {"held", "scheduled", "confirmed", "checked_in", "in_progress"}


def minute_of(instant: datetime) -> int:
    """Return minutes since the epoch."""
    return int((instant - EPOCH).total_seconds() // 60)


@lru_cache(maxsize=200_000)
def local_time(zone: str, minute: int) -> datetime:
    """Return the naive wall-clock time at a minute."""
    return (EPOCH + timedelta(minutes=minute)).astimezone(ZoneInfo(zone)).replace(tzinfo=None)


@lru_cache(maxsize=200_000)
def instant(zone: str, wall: datetime) -> int:
    """Return the minute of a wall-clock time: the first of two, or the first existing one after a gap."""
    for ahead in range(24 * 60 + 1):
        candidate = wall + timedelta(minutes=ahead)
        there = minute_of(candidate.replace(tzinfo=ZoneInfo(zone), fold=0).astimezone(UTC))
        if local_time(zone, there) == candidate:
            return there
    raise AssertionError("no gap is a day long")


def day_span(zone: str, day: date) -> range:
    """Return the minutes of a local day."""
    midnight = datetime(day.year, day.month, day.day)
    return range(instant(zone, midnight), instant(zone, midnight + ONE_DAY))


def is_blacked_out(payload: object, day: date) -> bool:
    """Tell whether a day is one of the dates, or in a range with both its ends."""
    dates, ranges = payload.dates, payload.ranges  # type: ignore[attr-defined]
    return any(one == day for one in dates) or any(first <= day and day <= last for first, last in ranges)  # noqa: PLR1716


class Oracle:
    """Answers for one location, one request, one moment; `first`..`end` are the minutes it may be asked about."""

    def __init__(
        self,
        static: StaticFacts,
        claims: Iterable[Claim],
        request: SlotRequest,
        *,
        now_min: float,
        first: int,
        end: int,
        patient: PatientFacts | None = None,
        room: RoomChoice | None = None,
    ) -> None:
        self.static, self.request, self.now, self.patient = static, request, now_min, patient
        self.room = room
        self.zone = static.location.zone
        self.first, self.end = first - 4 * 1440, end + 4 * 1440
        self.service: Service = next(s for s in static.services if s.id == request.service_id)
        self.duration = request.duration_min or self.service.duration_min
        self.claims = [
            claim
            for claim in claims
            if (claim.expires_min is None or claim.expires_min > now_min)
            and claim.appointment_id not in request.ignore_appointment_ids
        ]
        self.rules = [rule for rule in static.rules if rule.service_id in (None, self.service.id)]
        self._open: dict[tuple[str, bool], set[int]] = {}
        self._taken: dict[tuple[str, int], set[int]] = {}
        self._place: set[int] | None = None

    # what is open

    def occurrences(self, window: Window) -> list[tuple[datetime, datetime]]:
        """Return the wall-clock intervals of a window near the time asked about."""
        low, high = local_time(self.zone, self.first) - 3 * ONE_DAY, local_time(self.zone, self.end)
        if not window.recurrence:
            starts = [window.local_start]
        else:
            found = rrulestr(window.recurrence, dtstart=window.local_start, forceset=True)
            assert isinstance(found, rruleset)
            starts = found.between(low - 10 * ONE_DAY, high + ONE_DAY, inc=True)
        length = window.local_end - window.local_start
        return [(start, start + length) for start in starts]

    def minutes_of(self, pieces: Iterable[tuple[datetime, datetime]]) -> set[int]:
        """Return the minutes of wall-clock intervals."""
        found: set[int] = set()
        for start, end in pieces:
            found.update(
                range(max(instant(self.zone, start), self.first), min(instant(self.zone, end), self.end))
            )
        return found

    def windows_open(self, schedule: Schedule, *, always: bool) -> set[int]:
        """Return the minutes that a resource's own windows leave open."""
        here = [w for w in schedule.windows if w.location_id in (None, self.static.location.id)]
        kinds: dict[WindowKind, list[tuple[datetime, datetime]]] = {kind: [] for kind in WindowKind}
        for window in here:
            kinds[window.kind].extend(self.occurrences(window))
        available = kinds[WindowKind.AVAILABLE]
        if always and not any(w.kind is WindowKind.AVAILABLE for w in here):
            day = local_time(self.zone, self.first).date() - 2 * ONE_DAY
            while day <= local_time(self.zone, self.end).date():
                midnight = datetime(day.year, day.month, day.day)
                available.append((midnight, midnight + ONE_DAY))
                day += ONE_DAY
        replaced = {start.date() for start, _ in kinds[WindowKind.OVERRIDE]}
        kept = [piece for piece in available if piece[0].date() not in replaced]
        return self.minutes_of(kept + kinds[WindowKind.OVERRIDE]) - self.minutes_of(
            kinds[WindowKind.UNAVAILABLE]
        )

    def place_open(self) -> set[int]:
        """Return the minutes in which the location is open."""
        if self._place is None:
            location = self.static.location
            if location.hours:
                pieces = []
                day = local_time(self.zone, self.first).date() - 3 * ONE_DAY
                while day <= local_time(self.zone, self.end).date():
                    midnight = datetime(day.year, day.month, day.day)
                    for hours in location.hours:
                        if hours.weekday == day.weekday():
                            opens, closes = (
                                timedelta(minutes=hours.opens_min),
                                timedelta(minutes=hours.closes_min),
                            )
                            pieces += [(midnight + opens, midnight + closes)]
                    day += ONE_DAY
                self._place = self.minutes_of(pieces)
            else:
                self._place = set(range(self.first, self.end))
            self._place -= self.minutes_of((c.local_start, c.local_end) for c in location.closures)
        return self._place

    def open_minutes(self, resource: Provider | Room | Equipment) -> set[int]:
        """Return the minutes in which a provider, room or equipment item may be used."""
        is_provider = isinstance(resource, Provider)
        key = (resource.id, is_provider)
        if key not in self._open:
            found = self.windows_open(resource.schedule, always=not is_provider)
            self._open[key] = found & self.place_open() if is_provider else found
        return self._open[key]

    # what is taken

    def taken(self, resource_id: str, unit: int) -> set[int]:
        """Return the minutes in which one unit is taken."""
        key = (resource_id, unit)
        if key not in self._taken:
            found: set[int] = set()
            for claim in self.claims:
                if (claim.resource_id, claim.unit) == key:
                    found.update(range(claim.start_min, claim.end_min))
            self._taken[key] = found
        return self._taken[key]

    def units_seen(self, resource_id: str) -> set[int]:
        """Return every unit that any claim names."""
        return {claim.unit for claim in self.claims if claim.resource_id == resource_id}

    def is_taken(self, resource_id: str, start: int, end: int) -> bool:
        """Tell whether any unit is taken in part of the interval."""
        return any(
            minute in self.taken(resource_id, unit)
            for unit in self.units_seen(resource_id)
            for minute in range(start, end)
        )

    def units_free(self, resource_id: str, capacity: int, start: int, end: int) -> int:
        """Return how many units are free for the whole interval, counting all concurrent use."""
        free = sum(
            not any(minute in self.taken(resource_id, unit) for minute in range(start, end))
            for unit in range(1, capacity + 1)
        )
        used = max(
            sum(minute in self.taken(resource_id, unit) for unit in self.units_seen(resource_id))
            for minute in range(start, end)
        )
        return max(0, min(free, capacity - used))

    # the answer

    def reasons(self, provider: Provider, start: int) -> set[Reason]:
        """Return every reason why the provider cannot be booked at that minute; empty means bookable."""
        end = start + self.duration
        found = self.reasons_of_place(provider, start)
        if not self.is_on_grid(provider, start):
            found.add(Reason.OFF_GRID)
        if start < self.now:
            found.add(Reason.LEAD_TIME)
        if start > self.latest():
            found.add(Reason.TOO_FAR_AHEAD)
        if self.patient_is_taken(start, end):
            found.add(Reason.PATIENT_ALREADY_BOOKED)
        for rule in self.rules:
            if rule.provider_id in (None, provider.id) and rule.rule_type not in OF_PLACE:
                found |= self.rule_reasons(rule, provider, start, end)
        return found

    def reasons_of_place(self, provider: Provider, start: int) -> set[Reason]:
        """Return those that are about the provider, the room and the equipment: what the visit needs is not free."""
        end = start + self.duration
        before, after = self.service.buffer_before_min, self.service.buffer_after_min
        found: set[Reason] = set()
        span = range(start - before, end + after) if self.service.buffers_within_hours else range(start, end)
        if not all(minute in self.open_minutes(provider) for minute in span):
            found.add(Reason.OUTSIDE_HOURS)
        if self.is_taken(provider.id, start - before, end + after):
            found.add(Reason.SLOT_ALREADY_BOOKED)
        for rule in self.rules:
            if rule.provider_id in (None, provider.id) and rule.rule_type in OF_PLACE:
                found |= self.rule_reasons(rule, provider, start, end)
        wants_room = self.service.requires_room or (self.room is not None and self.room.room_id is not None)
        if wants_room and not self.free_rooms(provider, start):
            found.add(Reason.ROOM_ALREADY_BOOKED)
        return found

    def latest(self) -> int:
        """Return the last minute, 24 months from now, at which anything may start."""
        now = EPOCH + timedelta(minutes=math.floor(self.now))
        try:
            later = now.replace(year=now.year + 2)
        except ValueError:
            later = now.replace(year=now.year + 2, day=28)
        return minute_of(later)

    def patient_is_taken(self, start: int, end: int) -> bool:
        """Tell whether the patient is elsewhere."""
        if self.patient is None or self.patient.is_placeholder or self.service.allow_patient_overlap:
            return False
        return self.is_taken(self.patient.id, start, end)

    def free_rooms(self, provider: Provider, start: int) -> set[str]:
        """Return the rooms that can take the visit."""
        end = start + self.duration
        before, after = self.service.buffer_before_min, self.service.buffer_after_min
        types = {
            rule.payload.room_type  # type: ignore[attr-defined]
            for rule in self.rules
            if rule.rule_type == "room_type" and rule.provider_id in (None, provider.id)
        }
        found = set()
        for room in self.static.rooms:
            if not room.active or any(room.room_type != wanted for wanted in types):
                continue
            if self.room is not None and self.room.room_id not in (None, room.id):
                continue
            span = (
                range(start - before, end + after) if self.service.buffers_within_hours else range(start, end)
            )
            if not all(minute in self.open_minutes(room) for minute in span):
                continue
            until = end + max(after, room.turnaround_min)
            if self.units_free(room.id, room.concurrent_visits, start - before, until) >= 1:
                found.add(room.id)
        return found

    def equipment_units(self, kind: str, start: int) -> int:
        """Return how many units of a type can be had."""
        end, total = start + self.duration, 0
        for item in self.static.equipment:
            if not item.active or item.equipment_type != kind:
                continue
            if item.location_id not in (None, self.static.location.id):
                continue
            if all(minute in self.open_minutes(item) for minute in range(start, end)):
                total += self.units_free(item.id, item.quantity, start, end + item.turnaround_min)
        return total

    def rule_reasons(self, rule: Rule, provider: Provider, start: int, end: int) -> set[Reason]:  # noqa: PLR0911
        """Return why one rule refuses, if it does."""
        payload, day = rule.payload, local_time(self.zone, start).date()
        today = local_time(self.zone, math.floor(self.now)).date()
        match rule.rule_type:
            case "allowed_provider":
                ok = provider.id in payload.provider_ids  # type: ignore[attr-defined]
                return set() if ok else {Reason.PROVIDER_NOT_ALLOWED}
            case "required_equipment_type":
                units = self.equipment_units(payload.equipment_type, start)  # type: ignore[attr-defined]
                return set() if units >= payload.min_units else {Reason.EQUIPMENT_UNAVAILABLE}  # type: ignore[attr-defined]
            case "room_type":
                return set()
            case "min_gap":
                gap = payload.min_gap_minutes  # type: ignore[attr-defined]
                near = self.is_taken(gap_id(rule.id, provider.id), start, end + gap)
                return {Reason.MIN_GAP} if near else set()
            case "max_daily":
                who = provider.id if payload.is_per_provider else None  # type: ignore[attr-defined]
                used = self.units_seen(quota_id(rule.id, self.static.location.id, day, who))
                return {Reason.MAX_DAILY_REACHED} if len(used) >= payload.max_per_day else set()  # type: ignore[attr-defined]
            case "lead_time":
                return self.lead_reasons(payload, start, day, today)
            case "blackout_dates":
                return {Reason.BLACKOUT_DATE} if is_blacked_out(payload, day) else set()
            case "patient_limit":
                return self.patient_reasons(rule, day)
        raise AssertionError(rule.rule_type)

    def lead_reasons(self, payload: object, start: int, day: date, today: date) -> set[Reason]:
        """Return whether a lead time finds the start too soon or too late."""
        found = set()
        if start < self.now + (payload.min_minutes or 0):  # type: ignore[attr-defined]
            found.add(Reason.LEAD_TIME)
        if payload.no_same_day and day <= today:  # type: ignore[attr-defined]
            found.add(Reason.LEAD_TIME)
        ahead = payload.max_days_ahead  # type: ignore[attr-defined]
        if ahead is not None and (day - today).days > ahead:
            found.add(Reason.TOO_FAR_AHEAD)
        return found

    def patient_reasons(self, rule: Rule, day: date) -> set[Reason]:
        """Return whether the patient has too many visits, or one too near."""
        if self.patient is None or self.patient.is_placeholder:
            return set()
        visits = [
            visit
            for visit in self.patient.visits
            if rule.service_id in (None, visit.service_id)
            and visit.status.value in ACTIVE | {"completed"}
            and (visit.expires_min is None or visit.expires_min > self.now)
            and visit.appointment_id not in self.request.ignore_appointment_ids
        ]
        limit, days = rule.payload.max_active, rule.payload.min_days_between  # type: ignore[attr-defined]
        ahead = [v for v in visits if v.status.value in ACTIVE and v.start_min >= self.now]
        if limit is not None and len(ahead) >= limit:
            return {Reason.PATIENT_LIMIT}
        if days is not None and any(
            abs((local_time(self.zone, v.start_min).date() - day).days) < days for v in visits
        ):
            return {Reason.PATIENT_LIMIT}
        return set()

    def slots(self, first: int, end: int) -> set[tuple[int, str]]:
        """Return every (start, provider) bookable wholly inside the window."""
        wanted = self.request.provider_ids
        providers = [p for p in self.static.providers if p.active and (wanted is None or p.id in wanted)]
        return {
            (start, provider.id)
            for start in range(first, end - self.duration + 1)
            for provider in providers
            if self.is_on_grid(provider, start) and not self.reasons(provider, start)
        }

    def is_on_grid(self, _provider: Provider, start: int) -> bool:
        """Tell whether the provider's visits may start then: the grid is the same for everybody."""
        return self.on_grid(start)

    def on_grid(self, start: int) -> bool:
        """Tell whether the wall clock shows a multiple of the step."""
        wall = local_time(self.zone, start)
        return (wall.hour * 60 + wall.minute) % self.service.slot_step_min == 0

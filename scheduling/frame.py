"""One question put to the engine, with the timelines that its answer is made of.

A frame is built for one search, proposal or explanation and thrown away with it. It turns facts into masks
of starts over one horizon, each at most once, whoever asks: the rules, the checks, the allocation of rooms
and units.
"""

from collections.abc import Callable, Hashable, Iterable, Sequence
from datetime import date
from typing import Final

from scheduling import localtime, timeline, windows
from scheduling.busy import BusyFacts, Calendar
from scheduling.derived import DerivedCache, DerivedT
from scheduling.errors import Invalid, NotFound, Reason, Refused
from scheduling.facts import (
    Equipment,
    GridAnchor,
    PatientFacts,
    PatientVisit,
    Provider,
    Room,
    Schedule,
    Service,
    SlotRequest,
    StaticFacts,
)
from scheduling.timeline import Bits, Horizon

_NO_CALENDARS: Final[tuple[Calendar, ...]] = ()


class Pool:
    """The units of one room or one equipment item, and the starts for which each can be had.

    `levels[j]` holds the starts for which at least j + 1 units can be had at once.
    """

    __slots__ = ("levels", "resource_id", "unit_starts")

    def __init__(self, resource_id: str, unit_starts: Sequence[Bits], levels: Sequence[Bits]) -> None:
        self.resource_id, self.unit_starts, self.levels = resource_id, unit_starts, levels


class Frame:
    """Facts and a request, laid over the whole UTC days that the window and its margins touch.

    `window` bounds the visits asked for: a visit lies wholly inside. `reach_min` is how long after a visit's
    end some claim of it may last; claims beyond the horizon are not looked at. `keeps` makes of the horizon
    whole weeks and keeps what is derived of calendars for the next frame.
    """

    __slots__ = (
        "_blocked",
        "_days",
        "_keeps",
        "_shape",
        "_taken",
        "_units",
        "anchor",
        "busy",
        "cache",
        "duration_min",
        "everything",
        "horizon",
        "lead_min",
        "location",
        "now_min",
        "patient",
        "pools",
        "request",
        "service",
        "static",
        "tail_min",
        "window",
        "zone",
    )

    def __init__(
        self,
        static: StaticFacts,
        busy: BusyFacts,
        request: SlotRequest,
        *,
        window: Horizon,
        now_min: float,
        reach_min: int,
        cache: DerivedCache,
        anchor: GridAnchor = GridAnchor.LOCAL_MIDNIGHT,
        keeps: bool = False,
    ) -> None:
        self.static, self.busy, self.request = static, busy, request
        self.location, self.zone = static.location, static.location.zone
        self.service = service_of(static, request.service_id)
        self.duration_min = duration_of(self.service, request.duration_min)
        self.lead_min, self.tail_min = self.service.buffer_before_min, self.service.buffer_after_min
        self.now_min, self.cache, self.anchor = now_min, cache, anchor
        horizon = horizon_around(window, self.service, self.duration_min, reach_min)
        self.window, self.horizon = window, timeline.in_whole_weeks(horizon) if keeps else horizon
        self._keeps = keeps and not request.ignore_appointment_ids
        self._shape = (
            self.horizon.start_min,
            self.horizon.end_min,
            self.duration_min,
            self.lead_min,
            self.tail_min,
            self.service.buffers_within_hours,
            self.location.fingerprint,
        )
        self.everything = timeline.always(self.horizon)
        self.patient = patient_of(busy, request)
        self._days: tuple[date, ...] = ()
        self._units: dict[str, dict[int, Bits]] = {}
        self._taken: dict[str, Bits] = {}
        self._blocked: dict[tuple[object, ...], Bits] = {}
        self.pools: dict[str, Pool] = {}

    def starts_inside(self) -> Bits:
        """Return the minutes from which the visit lies wholly inside the window."""
        return timeline.interval(
            self.horizon, self.window.start_min, self.window.end_min - self.duration_min + 1
        )

    def days(self) -> tuple[date, ...]:
        """Return the local days that the window touches."""
        if not self._days:
            self._days = localtime.local_days(self.zone, self.window.start_min, self.window.end_min)
        return self._days

    def day(self, local_date: date) -> Bits:
        """Return one local day."""
        return timeline.interval(self.horizon, *localtime.day_bounds(self.zone, local_date))

    def before(self, at_min: int) -> Bits:
        """Return everything in the horizon that lies before an instant."""
        return timeline.interval(self.horizon, self.horizon.start_min, at_min)

    def since(self, at_min: int) -> Bits:
        """Return everything in the horizon from an instant on."""
        return timeline.interval(self.horizon, at_min, self.horizon.end_min)

    def grid(self) -> Bits:
        """Return the starts whose wall-clock minute of the local day is a multiple of the service's step."""
        key = ("grid", self.zone, self.service.slot_step_min, self.horizon.start_min, self.horizon.end_min)
        found: Bits | None = self.cache.get(key)
        return self.cache.put(key, self._local_grid()) if found is None else found

    def _local_grid(self) -> Bits:
        """Lay the grid over each stretch of constant offset of each local day."""
        step, bits = self.service.slot_step_min, timeline.NEVER
        for start_min, end_min, offset in localtime.segments(
            self.zone, self.horizon.start_min, self.horizon.end_min
        ):
            for wall_day in range(
                (start_min + offset) // timeline.DAY_MIN, (end_min - 1 + offset) // timeline.DAY_MIN + 1
            ):
                midnight = wall_day * timeline.DAY_MIN - offset
                low, high = max(start_min, midnight), min(end_min, midnight + timeline.DAY_MIN)
                first = midnight + -(-(low - midnight) // step) * step
                bits = timeline.union(bits, timeline.grid(self.horizon, step, first, high))
        return bits

    def provider_open(self, provider: Provider) -> Bits:
        """Return when the provider works at the location."""
        return windows.provider_open(self.cache, provider.schedule, self.location, self.horizon)

    def provider_open_starts(self, provider: Provider) -> Bits:
        """Return the starts from which the visit (with its buffers, if its service wants that) is in open time."""
        before, width = self._span_in_hours()
        key = (
            "starts",
            provider.schedule.fingerprint,
            self.location.fingerprint,
            self.horizon.start_min,
            self.horizon.end_min,
            before,
            width,
        )
        found: Bits | None = self.cache.masks.get(key)
        if found is None:
            starts = timeline.later(timeline.erode(self.provider_open(provider), width), before)
            found = self.cache.masks.put(key, starts)
        return found

    def resource_open(self, resource: Room | Equipment) -> Bits | None:
        """Return when a room or an equipment item is open, None meaning always."""
        schedule: Schedule = resource.schedule
        return windows.resource_open(self.cache, schedule, self.location, self.horizon)

    def room_open_starts(self, room: Room) -> Bits | None:
        """Return the starts from which the room is open long enough, None meaning always."""
        opened = self.resource_open(room)
        if opened is None:
            return None
        before, width = self._span_in_hours()
        return timeline.later(timeline.erode(opened, width), before)

    def _span_in_hours(self) -> tuple[int, int]:
        """Return how long before the start open time must begin, and how long it must last."""
        if self.service.buffers_within_hours:
            return self.lead_min, self.lead_min + self.duration_min + self.tail_min
        return 0, self.duration_min

    def kept(self, name: Hashable, resource_ids: Iterable[str], make: Callable[[], DerivedT]) -> DerivedT:
        """Return what `make` derives of some resources' calendars, from an earlier frame where one has it.

        It must follow from `name`, the location, the horizon, the visit's length and buffers, and what is
        taken of those resources; from nothing else.
        """
        if not self._keeps:
            return make()
        key = (name, self._shape, *map(self._state, resource_ids))
        found: DerivedT | None = self.cache.masks.get(key)
        return self.cache.masks.put(key, make()) if found is None else found

    def kept_of_place(
        self,
        name: Hashable,
        make: Callable[[], DerivedT],
        size_bytes: Callable[[DerivedT], int] | None = None,
    ) -> DerivedT:
        """Return what `make` derives of everything at the place, from an earlier frame where one has it.

        It must follow from `name`, the static facts, what is taken there, the horizon, the visit's length and the
        providers asked for; not from the moment, the window or the patient.
        """
        key = self._place_key(name)
        if key is None:
            return make()
        found: DerivedT | None = self.cache.masks.get(key)
        if found is None:
            found = make()
            self.cache.masks.put(key, found, None if size_bytes is None else size_bytes(found))
        return found

    def is_asked_again(self, name: Hashable) -> bool:
        """Tell whether an earlier frame has asked this under the same name of the same place."""
        key = self._place_key(("asked", name))
        if key is None or self.cache.masks.get(key) is not None:
            return key is not None
        self.cache.masks.put(key, timeline.NEVER)
        return False

    def _place_key(self, name: Hashable) -> Hashable | None:
        """Return the key of what is derived of everything at the place; None when nothing is kept."""
        kept = self.busy.kept
        if not self._keeps or kept is None:
            return None
        asked = (self.service.id, self.request.provider_ids, self.anchor)
        return name, self.static.serial, asked, self._shape, kept.state(self.now_min)

    def _state(self, resource_id: str) -> Hashable:
        """Return what names the time in which a resource is taken."""
        calendars = self.busy.calendars.get(resource_id, _NO_CALENDARS)
        return tuple([calendar.state(self.now_min) for calendar in calendars])

    def units(self, resource_id: str) -> dict[int, Bits]:
        """Return the taken minutes of each unit of a resource that is taken at all."""
        found = self._units.get(resource_id)
        if found is None:
            found = {}
            for calendar in self.busy.calendars.get(resource_id, _NO_CALENDARS):
                for unit, bits in calendar.units(
                    self.horizon, self.now_min, self.request.ignore_appointment_ids
                ):
                    found[unit] = timeline.union(found.get(unit, timeline.NEVER), bits)
            self._units[resource_id] = found
        return found

    def taken(self, resource_id: str) -> Bits:
        """Return the minutes in which any unit of a resource is taken."""
        found = self._taken.get(resource_id)
        if found is None:
            found = self._taken[resource_id] = timeline.union(*self.units(resource_id).values())
        return found

    def is_used_up(self, quota_id: str, limit: int) -> bool:
        """Tell whether a quota's live claims have reached the limit."""
        calendars = self.busy.calendars.get(quota_id)
        if calendars is None:
            return limit == 0
        if len(calendars) == 1 and len(calendars[0].claims) < limit:
            return False
        return len(self.live_units(quota_id)) >= limit

    def live_units(self, resource_id: str) -> frozenset[int]:
        """Return the units of a quota that live claims hold."""
        ignored = self.request.ignore_appointment_ids
        return frozenset(
            claim.unit
            for claim in self.busy.claims_of(resource_id)
            if claim.is_live(self.now_min) and claim.appointment_id not in ignored
        )

    def blocked_starts(self, taken: Bits, before_min: int, after_min: int) -> Bits:
        """Return the starts whose visit, widened by so much before and after, would touch taken time."""
        if not taken:
            return timeline.NEVER
        width = before_min + self.duration_min + after_min
        return timeline.later(timeline.dilate_back(taken, width), before_min)

    def provider_blocked(self, provider_id: str) -> Bits:
        """Return the starts whose visit, with its buffers, would meet another claim on the provider."""
        key = ("provider", provider_id)
        found = self._blocked.get(key)
        if found is None:
            found = self.blocked_starts(self.taken(provider_id), self.lead_min, self.tail_min)
            self._blocked[key] = found
        return found

    def once(self, key: tuple[object, ...], bits: Bits | None = None) -> Bits | None:
        """Return what is kept in this frame under `key`; keep `bits` when they are given."""
        if bits is not None:
            self._blocked[key] = bits
        return self._blocked.get(key)

    def patient_visits(self) -> Iterable[PatientVisit]:
        """Yield the patient's visits that count: not expired, not ignored. None without a patient."""
        if self.patient is None or self.patient.is_placeholder:
            return
        for visit in self.patient.visits:
            is_live = visit.expires_min is None or visit.expires_min > self.now_min
            if is_live and visit.appointment_id not in self.request.ignore_appointment_ids:
                yield visit


def service_of(static: StaticFacts, service_id: str) -> Service:
    """Return the service. Raises NotFound, or Refused with RESOURCE_INACTIVE for one that is out of use."""
    for service in static.services:
        if service.id == service_id:
            if not service.active:
                raise Refused("The service is out of use.", reason=Reason.RESOURCE_INACTIVE)
            return service
    raise NotFound("There is no such service.", metadata={"resource": "service"})


def duration_of(service: Service, wanted_min: int | None) -> int:
    """Return the visit's duration, or refuse one that the service does not allow."""
    if wanted_min is None or wanted_min == service.duration_min:
        return service.duration_min
    low = service.duration_min if service.min_duration_min is None else service.min_duration_min
    high = service.duration_min if service.max_duration_min is None else service.max_duration_min
    if low <= wanted_min <= high:
        return wanted_min
    raise Refused(
        f"The service takes {low} to {high} minutes." if low < high else f"The service takes {low} minutes.",
        reason=Reason.DURATION_NOT_ALLOWED,
        metadata={"minDurationMin": str(low), "maxDurationMin": str(high)},
    )


def patient_of(busy: BusyFacts, request: SlotRequest) -> PatientFacts | None:
    """Return the patient's facts when the request is for one."""
    if request.patient_id is None:
        return None
    if busy.patient is None or busy.patient.id != request.patient_id:
        raise Invalid.field("patient_id", "the facts of this patient were not read")
    return busy.patient


def horizon_around(window: Horizon, service: Service, duration_min: int, reach_min: int) -> Horizon:
    """Return the whole UTC days of the window, widened by what a visit may reach beyond it.

    That is its buffers and claims, and one more visit on either side: whether a slot leaves a crumb must not
    depend on where the window ends.
    """
    day, neighbour = timeline.DAY_MIN, service.buffer_before_min + duration_min + service.buffer_after_min
    start_min = window.start_min - service.buffer_before_min - neighbour
    end_min = window.end_min + reach_min + neighbour
    return Horizon(start_min // day * day, -(-end_min // day) * day)

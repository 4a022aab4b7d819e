"""What the engine is told: plain values that a store fills from SQL, Redis or a test.

Two kinds, which change at different speeds and are cached apart:

* `StaticFacts`: one location of one clinic with its services, rules, providers, rooms and equipment.
  They change when somebody edits the directory.
* `BusyFacts` (in `busy.py`): claims by resource. They change with every booking.

Ids are lower-case UUID strings. Local times are naive datetimes of whole minutes, in the location's zone.
`*_min` values that are instants count minutes since the Unix epoch, in UTC.
"""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from hashlib import blake2b
from itertools import count
from typing import Final

from scheduling.appointment import AppointmentStatus

SEARCH_DAYS_MAX: Final = 93
"""The longest window one search may span."""

NEXT_AVAILABLE_DAYS_MAX: Final = 365
"""How far a next-available search looks."""

_SERIALS: Final = count()

START_AHEAD_MONTHS_MAX: Final = 24
"""No visit starts later than this from now."""

START_PAST_DAYS_MAX: Final = 7
"""No visit starts earlier than this before now, whoever books it."""


class ResourceKind(StrEnum):
    """What can be scarce: the kinds of the `resource` table, and `gap`, which has no row of its own."""

    PROVIDER = "provider"
    ROOM = "room"
    EQUIPMENT = "equipment"
    PATIENT = "patient"
    QUOTA = "quota"
    GAP = "gap"


class WindowKind(StrEnum):
    """What a window says about its time."""

    AVAILABLE = "available"
    UNAVAILABLE = "unavailable"
    OVERRIDE = "override"


class TimeOfDay(StrEnum):
    """A third of the local day: morning < 12:00 ≤ afternoon < 17:00 ≤ evening."""

    MORNING = "morning"
    AFTERNOON = "afternoon"
    EVENING = "evening"


def _fingerprint(value: object) -> bytes:
    """Return 16 bytes that differ whenever `value`'s content differs."""
    return blake2b(repr(value).encode(), digest_size=16).digest()


@dataclass(frozen=True, slots=True)
class Window:
    """One stored window: wall-clock time, once or recurring.

    `local_start` and `local_end` are the first occurrence, `local_end` later than `local_start` (the next
    day's time for an overnight window). `recurrence` holds RFC 5545 lines (RRULE, EXDATE, RDATE), empty for
    a single occurrence. `location_id` is None for a window that holds wherever its resource works.
    """

    kind: WindowKind
    local_start: datetime
    local_end: datetime
    location_id: str | None = None
    recurrence: str = ""
    id: str = ""


@dataclass(frozen=True, slots=True)
class Schedule:
    """All windows of one resource. `fingerprint` names their content: equal windows, equal fingerprint."""

    windows: tuple[Window, ...] = ()
    fingerprint: bytes = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Derive the fingerprint once: derived bits are cached under it."""
        object.__setattr__(self, "fingerprint", _fingerprint(self.windows))


@dataclass(frozen=True, slots=True)
class WeeklyHours:
    """Opening hours of one weekday (0 is Monday), in minutes since local midnight.

    `closes_min` is greater than `opens_min` and may pass 1440: then they end on the next day.
    """

    weekday: int
    opens_min: int
    closes_min: int


@dataclass(frozen=True, slots=True)
class Closure:
    """Local time in which nobody works: a whole day is midnight to midnight. Half-open."""

    local_start: datetime
    local_end: datetime


@dataclass(frozen=True, slots=True)
class Location:
    """A place of work. `zone` is its IANA zone (its own, else the clinic's).

    No `hours` means always open. `closures` are the location's own and its clinic's.
    """

    id: str
    zone: str
    hours: tuple[WeeklyHours, ...] = ()
    closures: tuple[Closure, ...] = ()
    fingerprint: bytes = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Derive the fingerprint once: derived bits are cached under it."""
        object.__setattr__(self, "fingerprint", _fingerprint((self.id, self.zone, self.hours, self.closures)))


@dataclass(frozen=True, slots=True)
class Service:
    """Something that can be booked.

    A request may ask for a duration from `min_duration_min` to `max_duration_min`; where those are None, for
    `duration_min` alone.
    """

    id: str
    duration_min: int
    min_duration_min: int | None = None
    max_duration_min: int | None = None
    buffer_before_min: int = 0
    buffer_after_min: int = 0
    slot_step_min: int = 15
    requires_room: bool = True
    buffers_within_hours: bool = False
    allow_patient_overlap: bool = False
    active: bool = True


@dataclass(frozen=True, slots=True)
class Preference:
    """What a provider likes: `weight` 0–100 times how much of it a slot matches.

    `windows` are half-open pairs of minutes since local midnight.
    """

    weight: int = 50
    service_id: str | None = None
    room_ids: tuple[str, ...] = ()
    equipment_type: str | None = None
    windows: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Provider:
    """Somebody who sees patients."""

    id: str
    schedule: Schedule = Schedule()
    preferences: tuple[Preference, ...] = ()
    active: bool = True


@dataclass(frozen=True, slots=True)
class Room:
    """A room of the location, open always unless its schedule says otherwise."""

    id: str
    room_type: str = ""
    concurrent_visits: int = 1
    turnaround_min: int = 0
    schedule: Schedule = Schedule()
    active: bool = True
    fingerprint: tuple[object, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Name once what decides when a unit of it is free: derived bits are cached under it."""
        named = (self.concurrent_visits, self.turnaround_min, self.schedule.fingerprint)
        object.__setattr__(self, "fingerprint", (self.id, *named))


@dataclass(frozen=True, slots=True)
class Equipment:
    """`quantity` interchangeable units. Without a `location_id` every location of the clinic shares them."""

    id: str
    equipment_type: str
    quantity: int = 1
    turnaround_min: int = 0
    location_id: str | None = None
    schedule: Schedule = Schedule()
    active: bool = True


@dataclass(frozen=True, slots=True)
class Rule:
    """An active rule. `payload` is what its type's `parse` returned; None in `service_id` means all services.

    Rules with a greater `priority` are judged and reported first.
    """

    id: str
    rule_type: str
    payload: object
    service_id: str | None = None
    provider_id: str | None = None
    priority: int = 100


@dataclass(frozen=True, slots=True)
class StaticFacts:
    """Everything about one location that no booking changes.

    `providers`, `rooms` and `equipment` hold what may serve at this location; inactive ones may be left out.
    """

    location: Location
    services: tuple[Service, ...]
    providers: tuple[Provider, ...]
    rooms: tuple[Room, ...] = ()
    equipment: tuple[Equipment, ...] = ()
    rules: tuple[Rule, ...] = ()
    serial: int = field(init=False, repr=False, compare=False)
    rooms_by_id: dict[str, Room] = field(init=False, repr=False, compare=False)
    turnaround_max_min: int = field(init=False, repr=False, compare=False)
    binding: dict[tuple[str, str | None], tuple[Rule, ...]] = field(
        init=False, repr=False, compare=False, default_factory=dict
    )

    def __post_init__(self) -> None:
        """Name these facts: derived slots are cached under it. `binding` is what `rules_of` has found so far."""
        object.__setattr__(self, "serial", next(_SERIALS))
        object.__setattr__(self, "rooms_by_id", {room.id: room for room in self.rooms})
        turnarounds = (thing.turnaround_min for things in (self.rooms, self.equipment) for thing in things)
        object.__setattr__(self, "turnaround_max_min", max(turnarounds, default=0))


@dataclass(frozen=True, slots=True)
class Claim:
    """One unit of a resource taken for a time, as the `claim` table holds it.

    The interval is already widened by its own visit's buffers, the turnaround or the gap.
    `expires_min` is set for a hold; the claim is void from that moment on (fractions of a minute count).
    """

    resource_id: str
    unit: int
    start_min: int
    end_min: int
    appointment_id: str
    expires_min: float | None = None

    def is_live(self, now_min: float) -> bool:
        """Tell whether the claim still counts at `now_min`."""
        return self.expires_min is None or self.expires_min > now_min


@dataclass(frozen=True, slots=True)
class PatientVisit:
    """A visit of the patient a search or booking is for, at any location of the clinic."""

    appointment_id: str
    service_id: str
    start_min: int
    end_min: int
    status: AppointmentStatus
    expires_min: float | None = None


@dataclass(frozen=True, slots=True)
class PatientFacts:
    """The patient's visits: those that end after now, and past ones as far back as a distance rule looks.

    A placeholder stands for walk-ins: it is never taken and has no limits.
    """

    id: str
    visits: tuple[PatientVisit, ...] = ()
    is_placeholder: bool = False


@dataclass(frozen=True, slots=True)
class SlotRequest:
    """What is looked for, apart from the time: shared by searches, proposals and explanations.

    `duration_min` None means the service's. `patient_id` None leaves patient rules out; its visits are in
    `BusyFacts.patient`. `ignore_appointment_ids` do not stand in the way (one's own hold, a visit to move).
    """

    service_id: str
    provider_ids: tuple[str, ...] | None = None
    duration_min: int | None = None
    patient_id: str | None = None
    ignore_appointment_ids: frozenset[str] = frozenset()
    preferred_time_of_day: TimeOfDay | None = None


class GridAnchor(StrEnum):
    """Where the grid of starts begins: at local midnight here, elsewhere in other schedulers.

    WINDOW_START begins it anew with each stretch of the provider's open time. FREE_START_CEIL does so wherever, in the
    window asked about, everything that the visit needs begins to be free, rounded up by the local clock to 60, 30, 20,
    15, 10 or 5 minutes: the longest of them that divides the step, or not at all.
    """

    LOCAL_MIDNIGHT = "local_midnight"
    WINDOW_START = "window_start"
    FREE_START_CEIL = "free_start_ceil"


class RoomMode(StrEnum):
    """How a booking chooses its room."""

    AUTO = "auto"
    SPECIFIC = "specific"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class RoomChoice:
    """Which room a booking asks for; `room_id` goes with SPECIFIC alone."""

    mode: RoomMode = RoomMode.AUTO
    room_id: str | None = None


@dataclass(frozen=True, slots=True)
class EquipmentUnit:
    """One unit of one equipment item."""

    equipment_id: str
    unit: int


@dataclass(frozen=True, slots=True)
class PlannedClaim:
    """A claim that a visit would write.

    `lock_id` is the resource row that is locked for it; a gap's is its provider's.
    """

    resource_id: str
    unit: int
    start_min: int
    end_min: int
    kind: ResourceKind
    lock_id: str


def rules_of(static: StaticFacts, service_id: str, provider_id: str | None = None) -> tuple[Rule, ...]:
    """Return the rules that bind a service, highest priority first; with a provider, those that bind both."""
    found = static.binding.get((service_id, provider_id))
    if found is None:
        found = static.binding[service_id, provider_id] = _binding(static, service_id, provider_id)
    return found


def _binding(static: StaticFacts, service_id: str, provider_id: str | None) -> tuple[Rule, ...]:
    """Look for the rules among all."""
    binding = [
        rule
        for rule in static.rules
        if rule.service_id in (None, service_id)
        and (provider_id is None or rule.provider_id in (None, provider_id))
    ]
    return tuple(sorted(binding, key=lambda rule: (-rule.priority, rule.id)))

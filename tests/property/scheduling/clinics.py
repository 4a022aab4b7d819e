"""Random clinics around clock changes, small enough for an oracle that counts minutes."""

# ruff: noqa: DTZ001 - a wall clock has no zone

from dataclasses import dataclass
from datetime import date, datetime, timedelta

from hypothesis import strategies as st

from scheduling import localtime
from scheduling.appointment import AppointmentStatus
from scheduling.busy import BusyFacts
from scheduling.facts import (
    Claim,
    Closure,
    Equipment,
    Location,
    PatientFacts,
    PatientVisit,
    Preference,
    Provider,
    Room,
    Rule,
    Schedule,
    Service,
    SlotRequest,
    StaticFacts,
    TimeOfDay,
    WeeklyHours,
    Window,
    WindowKind,
)
from scheduling.ids import gap_id, quota_id
from scheduling.rules.registry import parse_payload

# A clock change in each zone, or none where the zone knows none; half-hour and three-quarter zones among them.
CHANGE_DAYS = [
    ("America/New_York", date(2026, 3, 8)),
    ("America/New_York", date(2026, 11, 1)),
    ("Europe/Berlin", date(2026, 3, 29)),
    ("Europe/Berlin", date(2026, 10, 25)),
    ("Australia/Lord_Howe", date(2026, 10, 4)),
    ("Australia/Lord_Howe", date(2026, 4, 5)),
    ("Australia/Adelaide", date(2026, 10, 4)),
    ("Asia/Beirut", date(2026, 3, 29)),
    ("Africa/Cairo", date(2026, 4, 24)),
    ("America/Havana", date(2026, 11, 1)),
    ("America/St_Johns", date(2026, 3, 8)),
    ("America/Santiago", date(2026, 9, 6)),
    ("Pacific/Chatham", date(2026, 4, 5)),
    ("Atlantic/Azores", date(2026, 10, 25)),
    ("Africa/Casablanca", date(2026, 2, 15)),
    ("Asia/Kathmandu", date(2026, 5, 1)),
    ("Asia/Kolkata", date(2026, 5, 1)),
]
LOCATION, SERVICE, OTHER_SERVICE = "location", "service", "other-service"
PROVIDERS = [f"00000000-0000-7000-8000-00000000000{n}" for n in range(3)]
PATIENT = "patient"
ROOM_TYPES = ["exam", "surgery"]
EQUIPMENT_TYPES = ["ecg", "xray"]


@dataclass(frozen=True)
class Clinic:
    """A location, what is taken there, and a question about two or three days of it."""

    static: StaticFacts
    claims: tuple[Claim, ...]
    patient: PatientFacts | None
    request: SlotRequest
    now_min: float
    start_min: int
    end_min: int

    @property
    def busy(self) -> BusyFacts:
        """The claims as the engine takes them."""
        return BusyFacts.of(self.claims, self.patient)


def at_midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day)


@st.composite
def windows(draw: st.DrawFn, day: date, kinds: list[WindowKind]) -> Window:
    """A window near the day: once or recurring, overnight ones too."""
    start = at_midnight(day + timedelta(days=draw(st.integers(-2, 1)))) + timedelta(
        minutes=draw(st.integers(0, 95)) * 15
    )
    kind = draw(st.sampled_from(kinds))
    longest = 44 if kind is not WindowKind.UNAVAILABLE else 150
    length = timedelta(minutes=15 * draw(st.integers(1, longest)))
    recurrence = draw(
        st.sampled_from(
            [
                "",
                "RRULE:FREQ=DAILY",
                "FREQ=WEEKLY;BYDAY=MO,TU,WE,TH,FR,SA,SU",
                f"RRULE:FREQ=DAILY;INTERVAL=2\nEXDATE:{start + timedelta(days=2):%Y%m%dT%H%M%S}",
                f"RRULE:FREQ=WEEKLY;BYDAY=SU,FR\nRDATE:{start + timedelta(days=1):%Y%m%dT%H%M%S}",
                "RRULE:FREQ=MONTHLY;BYDAY=1SU,-1SU,2SU",
            ]
        )
    )
    location_id = draw(st.sampled_from([None, None, LOCATION, "elsewhere"]))
    return Window(kind, start, start + length, location_id, recurrence)


def schedules(day: date, *, for_provider: bool) -> st.SearchStrategy[Schedule]:
    kinds = [WindowKind.AVAILABLE] * (3 if for_provider else 1) + [
        WindowKind.OVERRIDE,
        WindowKind.UNAVAILABLE,
    ]
    usual = Window(
        WindowKind.AVAILABLE,
        at_midnight(day - timedelta(days=9)) + timedelta(minutes=30),
        at_midnight(day - timedelta(days=9)) + timedelta(hours=22),
        None,
        "FREQ=DAILY",
    )
    extra = st.lists(windows(day, kinds), max_size=3)
    if for_provider:
        return extra.flatmap(
            lambda found: st.sampled_from([Schedule((usual, *found))] * 4 + [Schedule(tuple(found))])
        )
    return extra.flatmap(lambda found: st.sampled_from([Schedule(), Schedule(), Schedule(tuple(found))]))


@st.composite
def rules(draw: st.DrawFn, day: date) -> Rule:
    """Any rule type with a payload near the day."""
    choices: list[tuple[str, dict[str, object]]] = [
        ("allowed_provider", {"provider_ids": PROVIDERS[:2]}),
        ("required_equipment_type", {"equipment_type": "ecg", "min_units": draw(st.integers(1, 3))}),
        ("room_type", {"room_type": "exam"}),
        ("min_gap", {"min_gap_minutes": draw(st.integers(1, 90))}),
        ("max_daily", {"max_per_day": draw(st.integers(0, 3)), "scope": "service"}),
        ("max_daily", {"max_per_day": draw(st.integers(1, 2)), "scope": "provider"}),
        ("lead_time", {"min_minutes": draw(st.integers(0, 2000))}),
        ("lead_time", {"no_same_day": True, "max_days_ahead": draw(st.integers(1, 5))}),
        ("blackout_dates", {"dates": [day.isoformat()]}),
        (
            "blackout_dates",
            {"ranges": [{"from": day.isoformat(), "to": (day + timedelta(days=1)).isoformat()}]},
        ),
        ("patient_limit", {"max_active": draw(st.integers(1, 3))}),
        ("patient_limit", {"min_days_between": draw(st.integers(1, 2))}),
    ]
    rule_type, payload = draw(st.sampled_from(choices))
    return Rule(
        id=f"rule-{draw(st.integers(0, 10_000))}",
        rule_type=rule_type,
        payload=parse_payload(rule_type, payload),
        service_id=draw(st.sampled_from([None, SERVICE, OTHER_SERVICE])),
        provider_id=draw(st.sampled_from([None, None, None, PROVIDERS[0]])),
        priority=draw(st.sampled_from([10, 100])),
    )


@st.composite
def claims_on(draw: st.DrawFn, resource_id: str, units: int, start_min: int, now_min: float) -> list[Claim]:
    """A few claims of one resource; held ones may have expired."""
    found = []
    for _ in range(draw(st.integers(0, 4))):
        begin = start_min + draw(st.integers(-300, 3200))
        found.append(
            Claim(
                resource_id,
                draw(st.integers(1, units)),
                begin,
                begin + draw(st.sampled_from([5, 20, 45, 130])),
                draw(st.sampled_from(["mine", "a", "b", "c"])),
                draw(st.sampled_from([None, None, now_min + 0.5, now_min, now_min - 1])),
            )
        )
    return found


@st.composite
def services(draw: st.DrawFn) -> Service:
    """A service with any mix of buffers, step and switches."""
    return Service(
        SERVICE,
        duration_min=draw(st.sampled_from([10, 30, 45])),
        min_duration_min=draw(st.sampled_from([None, 10])),
        max_duration_min=draw(st.sampled_from([None, 90])),
        buffer_before_min=draw(st.sampled_from([0, 0, 5, 30])),
        buffer_after_min=draw(st.sampled_from([0, 0, 10, 25])),
        slot_step_min=draw(st.sampled_from([15, 30, 50, 7, 60])),
        requires_room=draw(st.booleans()),
        buffers_within_hours=draw(st.booleans()),
        allow_patient_overlap=draw(st.booleans()),
    )


@st.composite
def resources(draw: st.DrawFn, day: date) -> tuple[list[Provider], list[Room], list[Equipment]]:
    """Up to three providers, three rooms and three equipment items."""
    preferences = st.lists(
        st.builds(
            Preference,
            weight=st.integers(0, 100),
            service_id=st.sampled_from([None, SERVICE]),
            room_ids=st.sampled_from([(), ("room-1",), ("room-1", "room-0")]),
            equipment_type=st.sampled_from([None, "ecg"]),
            windows=st.sampled_from([(), ((540, 720),)]),
        ),
        max_size=2,
    )
    providers = [
        Provider(
            who,
            draw(schedules(day, for_provider=True)),
            tuple(draw(preferences)),
            active=draw(st.sampled_from([True, True, True, False])),
        )
        for who in PROVIDERS[: draw(st.integers(1, 3))]
    ]
    rooms = [
        Room(
            f"room-{n}",
            draw(st.sampled_from(ROOM_TYPES)),
            draw(st.integers(1, 2)),
            draw(st.sampled_from([0, 15, 40])),
            draw(schedules(day, for_provider=False)),
        )
        for n in range(draw(st.sampled_from([0, 1, 2, 2, 3])))
    ]
    equipment = [
        Equipment(
            f"item-{n}",
            draw(st.sampled_from(EQUIPMENT_TYPES)),
            draw(st.integers(1, 3)),
            draw(st.sampled_from([0, 20])),
            draw(st.sampled_from([None, LOCATION, "elsewhere"])),
            draw(schedules(day, for_provider=False)),
        )
        for n in range(draw(st.integers(0, 3)))
    ]
    return providers, rooms, equipment


@st.composite
def patients(draw: st.DrawFn, start_min: int, now_min: float) -> PatientFacts | None:
    """Nobody, a walk-in, or a patient with a few visits."""
    if draw(st.booleans()):
        return None
    visits = st.builds(
        PatientVisit,
        appointment_id=st.sampled_from(["mine", "x", "y"]),
        service_id=st.sampled_from([SERVICE, OTHER_SERVICE]),
        start_min=st.integers(-5000, 6000).map(lambda ahead: start_min + ahead),
        end_min=st.just(start_min),
        status=st.sampled_from(list(AppointmentStatus)),
        expires_min=st.sampled_from([None, None, now_min - 1, now_min + 3]),
    )
    return PatientFacts(
        PATIENT, tuple(draw(st.lists(visits, max_size=3))), draw(st.sampled_from([False, False, True]))
    )


def _every_day(opens_min: int, closes_min: int) -> tuple[WeeklyHours, ...]:
    return tuple(WeeklyHours(weekday, opens_min, closes_min) for weekday in range(7))


@st.composite
def clinics(draw: st.DrawFn) -> Clinic:
    """A clinic and a question, around a clock change of its zone."""
    zone, day = draw(st.sampled_from(CHANGE_DAYS))
    start_min = localtime.instant_at(zone, localtime.wall_midnight(day)) + draw(st.integers(-600, 600))
    end_min = start_min + draw(st.integers(60, 2300))
    now_min = start_min - draw(st.sampled_from([-300.5, 0, 0.25, 700, 1500, 2900.0]))
    providers, rooms, equipment = draw(resources(day))
    found_rules = [
        Rule(f"{rule.id}-{n}", rule.rule_type, rule.payload, rule.service_id, rule.provider_id, rule.priority)
        for n, rule in enumerate(draw(st.lists(rules(day), max_size=draw(st.sampled_from([0, 1, 1, 2, 3])))))
    ]
    hours = draw(st.sampled_from([(), (), _every_day(60, 1320), _every_day(600, 1700)]))
    shut = at_midnight(day) + timedelta(hours=draw(st.integers(0, 30)))
    closures = draw(st.sampled_from([(), (), (Closure(shut, shut + timedelta(minutes=200)),)]))
    static = StaticFacts(
        Location(LOCATION, zone, hours, closures),
        (draw(services()), Service(OTHER_SERVICE, 20)),
        tuple(providers),
        tuple(rooms),
        tuple(equipment),
        tuple(found_rules),
    )
    patient = draw(patients(start_min, now_min))
    pools = [(p.id, 1) for p in providers]
    pools += [(r.id, r.concurrent_visits + 1) for r in rooms] + [(e.id, e.quantity + 1) for e in equipment]
    pools += [(PATIENT, 1)] + [(gap_id(rule.id, p.id), 1) for rule in found_rules for p in providers]
    claims = [claim for pool in pools for claim in draw(claims_on(*pool, start_min, now_min))]
    for rule in found_rules:
        for ahead in range(3):
            for who in (None, PROVIDERS[0]):
                held = draw(st.integers(0, 2))
                resource_id = quota_id(rule.id, LOCATION, day + timedelta(days=ahead), who)
                claims += [Claim(resource_id, n + 1, start_min, end_min, f"q{n}") for n in range(held)]
    service = static.services[0]
    longer = draw(st.sampled_from([None, 60])) if service.max_duration_min else None
    request = SlotRequest(
        SERVICE,
        draw(st.sampled_from([None, None, (PROVIDERS[0],)])),
        longer,
        PATIENT if patient else None,
        draw(st.sampled_from([frozenset(), frozenset({"mine"})])),
        draw(st.sampled_from([None, TimeOfDay.MORNING])),
    )
    return Clinic(static, tuple(claims), patient, request, now_min, start_min, end_min)

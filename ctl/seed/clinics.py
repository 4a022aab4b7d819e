"""Made-up clinics: the same for the same number, seed and first day."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from random import Random
from typing import Final

from ctl.seed import words
from ctl.seed.plan import (
    ClinicPlan,
    PlannedEquipment,
    PlannedLocation,
    PlannedPatient,
    PlannedProvider,
    PlannedRoom,
    PlannedRule,
    PlannedService,
)
from ctl.seed.schedules import WEEKLY_HOURS, closures_of, maintenance_of, schedule_of
from ctl.seed.words import seed_id
from database.sealed_patient import PatientDetails
from scheduling.facts import Equipment, Location, Preference, Provider, Room, Schedule, Service

PROVIDERS: Final = 10
PATIENTS: Final = 200

_LOCATION_NAMES: Final = ("Downtown", "Riverside")
# Providers 9 and 10 work at the second location, 8 at both.
_AT_BOTH, _FIRST_AT_SECOND = 8, 9
_ROOMS: Final = (
    (0, "Room 101", "exam"), (0, "Room 102", "exam"), (0, "Room 103", "exam"), (0, "Room 104", "consultation"),
    (0, "Room 105", "consultation"), (0, "Room 106", "procedure"), (0, "Room 107", "procedure"),
    (1, "Room 1", "exam"), (1, "Room 2", "exam"), (1, "Room 3", "procedure"),
)  # fmt: skip
# name, how often it is booked beside the others, and its facts
_SERVICES: Final[tuple[tuple[str, int, Service], ...]] = (
    ("Check-up", 10, Service("", 15, 15, 30)),
    ("Consultation", 40, Service("", 30, 20, 60, buffer_after_min=5)),
    ("New patient", 14, Service("", 60, 45, 90, buffer_before_min=5, buffer_after_min=10)),
    ("Phone call", 4, Service("", 20, 10, 20, requires_room=False)),
    ("ECG", 6, Service("", 20, 20, 20, buffer_after_min=5)),
    ("Ultrasound", 10, Service("", 40, 30, 60, buffer_before_min=5, buffer_after_min=10, slot_step_min=20)),
    ("Infusion", 8, Service("", 90, 60, 180, 5, 10, slot_step_min=30, allow_patient_overlap=True)),
    ("Small procedure", 12, Service("", 45, 30, 60, 10, 15, buffers_within_hours=True)),
)
_WITH_EQUIPMENT: Final = frozenset({"ECG", "Ultrasound", "Infusion"})


def make_clinic(number: int, *, seed: int, first_day: date) -> ClinicPlan:
    """Clinic `number` (1 and up): two locations, ten providers, rooms, pools, services, rules and patients."""
    clinic_id = words.clinic_id(number)
    rng = Random(f"{seed}/{number}")  # noqa: S311 - made-up data
    zone = words.ZONES[(number - 1) % len(words.ZONES)]
    word = words.CLINIC_WORDS[(number - 1) % len(words.CLINIC_WORDS)]
    locations = _locations(clinic_id, zone, first_day)
    location_ids = tuple(location.facts.id for location in locations)
    services = _services(clinic_id)
    rooms = _rooms(clinic_id, location_ids, first_day)
    providers = _providers(clinic_id, location_ids, rooms, services, first_day=first_day, rng=rng)
    return ClinicPlan(
        id=clinic_id,
        number=number,
        name=f"{word} Clinic" if number <= len(words.CLINIC_WORDS) else f"{word} Clinic {number}",
        zone=zone,
        locations=locations,
        providers=providers,
        rooms=rooms,
        equipment=_equipment(clinic_id, location_ids, first_day),
        services=services,
        rules=_rules(clinic_id, services, providers, first_day),
        patients=_patients(clinic_id, first_day, rng),
    )


def _locations(clinic_id: str, zone: str, first_day: date) -> tuple[PlannedLocation, ...]:
    return tuple(
        PlannedLocation(
            facts=Location(
                seed_id(clinic_id, "location", place), zone, WEEKLY_HOURS, closures_of(first_day, place)
            ),
            name=name,
            address={
                "street": f"{place + 1} {name} Street",
                "city": zone.rpartition("/")[2].replace("_", " "),
            },
        )
        for place, name in enumerate(_LOCATION_NAMES)
    )


def _services(clinic_id: str) -> tuple[PlannedService, ...]:
    return tuple(
        PlannedService(
            facts=replace(facts, id=seed_id(clinic_id, "service", name)),
            name=name,
            description=f"{name}, {facts.duration_min} minutes",
            weight=weight,
            requires_equipment=name in _WITH_EQUIPMENT,
        )
        for name, weight, facts in _SERVICES
    )


def _rooms(clinic_id: str, location_ids: tuple[str, ...], first_day: date) -> tuple[PlannedRoom, ...]:
    rooms = []
    for place, name, room_type in _ROOMS:
        room_id = seed_id(clinic_id, "room", place, name)
        is_procedure = room_type == "procedure"
        facts = Room(
            room_id,
            room_type,
            concurrent_visits=2 if name == "Room 107" else 1,
            turnaround_min=10 if is_procedure else 0,
            schedule=maintenance_of(room_id, first_day) if is_procedure else Schedule(),
        )
        rooms.append(
            PlannedRoom(
                facts=facts, location_id=location_ids[place], name=name, capacity=4 if is_procedure else 3
            )
        )
    return tuple(rooms)


def _equipment(
    clinic_id: str, location_ids: tuple[str, ...], first_day: date
) -> tuple[PlannedEquipment, ...]:
    ultrasound = seed_id(clinic_id, "equipment", "ultrasound")
    return (
        PlannedEquipment(
            facts=Equipment(seed_id(clinic_id, "equipment", "ecg"), "ecg", 2, 5, location_ids[0]),
            name="ECG cart",
        ),
        PlannedEquipment(
            facts=Equipment(seed_id(clinic_id, "equipment", "ecg 2"), "ecg", 1, 0, location_ids[1]),
            name="ECG",
        ),
        PlannedEquipment(
            facts=Equipment(
                ultrasound, "ultrasound", 1, 10, location_ids[0], maintenance_of(ultrasound, first_day)
            ),
            name="Ultrasound scanner",
        ),
        PlannedEquipment(
            facts=Equipment(seed_id(clinic_id, "equipment", "pump"), "infusion_pump", 3, 15),
            name="Infusion pumps",
        ),
    )


def _providers(
    clinic_id: str,
    location_ids: tuple[str, ...],
    rooms: tuple[PlannedRoom, ...],
    services: tuple[PlannedService, ...],
    *,
    first_day: date,
    rng: Random,
) -> tuple[PlannedProvider, ...]:
    made = []
    for number in range(1, PROVIDERS + 1):
        provider_id = seed_id(clinic_id, "provider", number)
        works_at = _works_at(number, location_ids)
        own_rooms = [room.facts.id for room in rooms if room.location_id == works_at[0]]
        liking = Preference(
            weight=rng.randrange(30, 91, 10),
            service_id=services[1].facts.id if number % 2 else None,
            room_ids=tuple(rng.sample(own_rooms, 2)),
            windows=((9 * 60, 12 * 60),) if number % 3 else (),
        )
        facts = Provider(provider_id, schedule_of(provider_id, number, works_at, first_day, rng), (liking,))
        name = f"Dr. {rng.choice(words.GIVEN_NAMES)} {rng.choice(words.FAMILY_NAMES)}"
        specialty = words.SPECIALTIES[number % len(words.SPECIALTIES)]
        made.append(PlannedProvider(facts=facts, name=name, specialty=specialty, location_ids=works_at))
    return tuple(made)


def _works_at(number: int, location_ids: tuple[str, ...]) -> tuple[str, ...]:
    if number == _AT_BOTH:
        return location_ids
    return location_ids[1:] if number >= _FIRST_AT_SECOND else location_ids[:1]


def _rules(
    clinic_id: str,
    services: tuple[PlannedService, ...],
    providers: tuple[PlannedProvider, ...],
    first_day: date,
) -> tuple[PlannedRule, ...]:
    """Every type of rule, on services that are not the plainest ones."""
    by_name = {service.name: service.facts.id for service in services}
    ids = [provider.facts.id for provider in providers]
    blackout = (first_day + timedelta(days=10)).isoformat()
    told: tuple[tuple[str, str | None, dict[str, object]], ...] = (
        ("allowed_provider", "Ultrasound", {"provider_ids": ids[2:6]}),
        ("allowed_provider", "Small procedure", {"provider_ids": [*ids[:4], ids[8]]}),
        ("required_equipment_type", "ECG", {"equipment_type": "ecg", "min_units": 1}),
        ("required_equipment_type", "Ultrasound", {"equipment_type": "ultrasound", "min_units": 1}),
        ("required_equipment_type", "Infusion", {"equipment_type": "infusion_pump", "min_units": 1}),
        ("room_type", "Small procedure", {"room_type": "procedure"}),
        ("room_type", "Infusion", {"room_type": "procedure"}),
        ("min_gap", "Small procedure", {"min_gap_minutes": 30}),
        ("max_daily", "Infusion", {"max_per_day": 6, "scope": "service"}),
        ("max_daily", "New patient", {"max_per_day": 2, "scope": "provider"}),
        ("lead_time", "New patient", {"no_same_day": True}),
        ("lead_time", "Ultrasound", {"min_minutes": 120, "max_days_ahead": 180}),
        ("blackout_dates", "Ultrasound", {"dates": [blackout]}),
        ("patient_limit", "New patient", {"max_active": 1, "min_days_between": 30}),
    )
    return tuple(
        PlannedRule(
            id=seed_id(clinic_id, "rule", rule_type, name),
            rule_type=rule_type,
            payload=payload,
            service_id=by_name[name] if name else None,
            priority=100 + place,
        )
        for place, (rule_type, name, payload) in enumerate(told)
    )


def _patients(clinic_id: str, first_day: date, rng: Random) -> tuple[PlannedPatient, ...]:
    patients = [
        PlannedPatient(
            id=seed_id(clinic_id, "patient", "walk-in"),
            details=PatientDetails(name="Walk-in"),
            is_placeholder=True,
        )
    ]
    for number in range(1, PATIENTS + 1):
        given, family = rng.choice(words.GIVEN_NAMES), rng.choice(words.FAMILY_NAMES)
        born = first_day - timedelta(days=rng.randrange(365, 365 * 90))
        details = PatientDetails(
            name=f"{given} {family}",
            dob=born.isoformat(),
            phone=f"+1555{rng.randrange(10**7):07d}",
            email=f"{given}.{family}.{number}@example.com".lower(),
            preferred_method=rng.choice(("phone", "email", "sms")),
            notes="Prefers mornings." if number % 10 == 0 else "",
        )
        patients.append(PlannedPatient(id=seed_id(clinic_id, "patient", number), details=details))
    return tuple(patients)

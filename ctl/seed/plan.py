"""A made-up clinic before anybody books: what the engine is told about it, and the words around that."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from database.sealed_patient import PatientDetails
from scheduling.facts import Equipment, Location, Provider, Room, Rule, Service, StaticFacts
from scheduling.rules.registry import parse_payload


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedLocation:
    """A location with its name and address."""

    facts: Location
    name: str
    address: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedProvider:
    """A provider; `location_ids` are the places it works at, the primary one first."""

    facts: Provider
    name: str
    specialty: str
    location_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedRoom:
    """A room of a location; `capacity` counts persons."""

    facts: Room
    location_id: str
    name: str
    capacity: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedEquipment:
    """An equipment item."""

    facts: Equipment
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedService:
    """A service; `weight` is how often it is booked beside the others."""

    facts: Service
    name: str
    description: str
    weight: int
    requires_equipment: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedRule:
    """A rule with its payload as it is stored."""

    id: str
    rule_type: str
    payload: Mapping[str, object]
    service_id: str | None = None
    provider_id: str | None = None
    priority: int = 100

    def facts(self) -> Rule:
        """The rule as the engine reads it. Raises Invalid for a payload that nobody could have written."""
        payload = parse_payload(self.rule_type, self.payload)
        return Rule(self.id, self.rule_type, payload, self.service_id, self.provider_id, self.priority)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedPatient:
    """A patient, in the clear; the loader seals it."""

    id: str
    details: PatientDetails
    is_placeholder: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ClinicPlan:
    """Everything that a clinic has set up."""

    id: str
    number: int
    name: str
    zone: str
    locations: tuple[PlannedLocation, ...]
    providers: tuple[PlannedProvider, ...]
    rooms: tuple[PlannedRoom, ...]
    equipment: tuple[PlannedEquipment, ...]
    services: tuple[PlannedService, ...]
    rules: tuple[PlannedRule, ...]
    patients: tuple[PlannedPatient, ...]

    def static_facts(self, location: PlannedLocation) -> StaticFacts:
        """The facts of one location, as a store would read them."""
        here = location.facts.id
        return StaticFacts(
            location=location.facts,
            services=tuple(service.facts for service in self.services),
            providers=tuple(found.facts for found in self.providers if here in found.location_ids),
            rooms=tuple(room.facts for room in self.rooms if room.location_id == here),
            equipment=tuple(item.facts for item in self.equipment if item.facts.location_id in (None, here)),
            rules=tuple(rule.facts() for rule in self.rules),
        )

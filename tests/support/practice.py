"""A clinic made to measure for tests of bookings, committed straight into SQL."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from tests.support.clinic_rows import insert
from tests.support.databases import MigratedDatabase

_TODAY = datetime.now(UTC).date()
# A Monday, far enough ahead that no test ever finds it in the past, and near enough to be booked.
MONDAY = _TODAY + timedelta(days=14 - _TODAY.weekday())


def new_id() -> str:
    return str(uuid.uuid4())


@dataclass(slots=True)
class Practice:
    """A clinic in UTC with one location, open Monday to Sunday 00:00 to 24:00 unless a test says otherwise.

    `ids` names resources; the service prefers the lower of two that are as good, so a test may want an order.
    """

    owner_url: str
    clinic: str = field(default_factory=new_id)
    location: str = field(default_factory=new_id)
    zone: str = "UTC"
    providers: list[str] = field(default_factory=list)
    rooms: list[str] = field(default_factory=list)
    equipment: list[str] = field(default_factory=list)
    patients: list[str] = field(default_factory=list)
    services: list[str] = field(default_factory=list)
    ids: Callable[[], str] = new_id

    @property
    def service(self) -> str:
        return self.services[0]

    @property
    def provider(self) -> str:
        return self.providers[0]

    def add_provider(self, owner: psycopg.Connection[Any], *, hours: tuple[int, int] = (0, 24)) -> str:
        provider = self._resource(owner, "provider")
        insert(owner, "provider", clinic_id=self.clinic, id=provider, name="Dr.", location_id=self.location)
        first, last = hours
        start = datetime(2024, 1, 1, first)  # noqa: DTZ001 - windows are local
        insert(
            owner,
            "provider_availability",
            clinic_id=self.clinic,
            id=new_id(),
            provider_id=provider,
            kind="available",
            start_local=start,
            end_local=start + timedelta(hours=last - first),
            recurrence_rule="FREQ=DAILY",
        )
        self.providers.append(provider)
        return provider

    def add_room(self, owner: psycopg.Connection[Any], **columns: object) -> str:
        room = self._resource(owner, "room")
        insert(
            owner, "room", clinic_id=self.clinic, id=room, location_id=self.location, name=room[:8], **columns
        )
        self.rooms.append(room)
        return room

    def add_equipment(
        self, owner: psycopg.Connection[Any], kind: str, quantity: int, **columns: object
    ) -> str:
        item = self._resource(owner, "equipment")
        insert(
            owner,
            "equipment",
            clinic_id=self.clinic,
            id=item,
            location_id=self.location,
            type=kind,
            name=kind,
            quantity=quantity,
            **columns,
        )
        self.equipment.append(item)
        return item

    def add_patients(self, owner: psycopg.Connection[Any], count: int) -> list[str]:
        ids = [new_id() for _ in range(count)]
        with owner.cursor() as cursor:
            cursor.executemany(
                "INSERT INTO resource (clinic_id, id, kind) VALUES (%s, %s, 'patient')",
                [(self.clinic, found) for found in ids],
            )
            cursor.executemany(
                "INSERT INTO patient (clinic_id, id, name_encrypted) VALUES (%s, %s, 'sealed')",
                [(self.clinic, found) for found in ids],
            )
        self.patients += ids
        return ids

    def add_service(self, owner: psycopg.Connection[Any], **columns: object) -> str:
        service = new_id()
        values = {
            "default_duration_min": 30,
            "min_duration_min": 15,
            "max_duration_min": 120,
            "slot_step_min": 15,
        } | columns
        insert(owner, "service", clinic_id=self.clinic, id=service, name="Visit", **values)
        self.services.append(service)
        return service

    def add_rule(
        self, owner: psycopg.Connection[Any], rule_type: str, *, service: str = "", **payload: object
    ) -> str:
        """A rule of the first service unless another one is given."""
        rule = new_id()
        insert(
            owner,
            "service_rule",
            clinic_id=self.clinic,
            id=rule,
            service_id=service or self.service,
            rule_type=rule_type,
            rule_payload=Jsonb(payload),
        )
        return rule

    def _resource(self, owner: psycopg.Connection[Any], kind: str) -> str:
        found = self.ids()
        insert(owner, "resource", clinic_id=self.clinic, id=found, kind=kind)
        return found


def at(hour: int, minute: int = 0, day: date = MONDAY) -> str:
    """A local start of the practice."""
    return datetime(day.year, day.month, day.day, hour, minute).isoformat()  # noqa: DTZ001 - local


@dataclass(frozen=True, slots=True)
class Noon:
    """A zone where it is between twelve and one, and the day there: its morning is past, its afternoon to come.

    All of it is of one look at the clock. The hour or the day may change before a second one.
    """

    zone: str
    day: date
    quarter: int

    @classmethod
    def somewhere(cls) -> Noon:
        """Where it is noon at this moment."""
        now = datetime.now(UTC)
        ahead_h = 12 - now.hour
        return cls(f"Etc/GMT{-ahead_h:+d}", (now + timedelta(hours=ahead_h)).date(), now.minute // 15 * 15)

    def at(self, hour: int, minute: int = 0) -> str:
        """A local start of that day."""
        return at(hour, minute, self.day)

    def just_begun(self) -> str:
        """The start of the quarter of an hour that it is."""
        return self.at(12, self.quarter)


def new_practice(
    database: MigratedDatabase,
    *,
    providers: int = 1,
    rooms: int = 1,
    patients: int = 10,
    zone: str = "UTC",
    service: Mapping[str, object] | None = None,
    ids: Callable[[], str] = new_id,
) -> Practice:
    """Commit a clinic."""
    practice = Practice(database.owner_url, zone=zone, ids=ids)
    with psycopg.connect(database.owner_url) as owner:
        insert(owner, "clinic", id=practice.clinic, name="Test", default_timezone=zone)
        insert(owner, "location", clinic_id=practice.clinic, id=practice.location, name="Here")
        practice.add_service(owner, **(service or {}))
        for _ in range(providers):
            practice.add_provider(owner)
        for _ in range(rooms):
            practice.add_room(owner)
        practice.add_patients(owner, patients)
    return practice

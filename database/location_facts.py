"""A location's facts: one SQL statement, one JSON document, one pure builder.

The document is what PostgreSQL returns, what Redis keeps and what `build_location` reads, so there is one way
from rows to `scheduling.facts`, whichever store they come from. It holds ids, times, and names that anybody
who may search sees; nothing of any patient.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import orjson

from scheduling.facts import (
    Closure,
    Equipment,
    Location,
    Preference,
    Provider,
    Room,
    Rule,
    Schedule,
    Service,
    StaticFacts,
    WeeklyHours,
    Window,
    WindowKind,
)
from scheduling.rules.registry import parse_payload

LOCATION_SQL: Final = (Path(__file__).parent / "sql" / "location_facts.sql").read_text(encoding="utf-8")
"""One row with the document, or none when the clinic has no such location.

Parameters: `clinic_id`, `location_id`; `provider_ids` (uuid[] or NULL) narrows the providers and `service_id`
(uuid or NULL) the services and rules to what one proposal needs.
"""

VERSIONED_LOCATION_SQL: Final = f"""
SELECT facts.document, (SELECT d.version FROM directory_version d WHERE d.clinic_id = %(clinic_id)s::uuid)
FROM ({LOCATION_SQL}) AS facts (document)
"""  # noqa: S608 - made of the constant above
"""The same with the version of the clinic's directory that the document is of, both of one moment."""


@dataclass(frozen=True, slots=True)
class Label:
    """What people call a provider or room, and the provider's specialty or the room's type."""

    name: str
    detail: str


@dataclass(frozen=True, slots=True)
class LocationFacts:
    """A location's static facts with the words that a reply needs.

    `clinic_status` is `active`, `suspended` or `archived`; `public_search` says whether callers without a
    token may search. Labels are by id.
    """

    static: StaticFacts
    name: str
    active: bool
    clinic_status: str
    public_search: bool
    providers: Mapping[str, Label]
    rooms: Mapping[str, Label]


def location_parameters(
    clinic_id: str,
    location_id: str,
    *,
    provider_ids: Sequence[str] | None = None,
    service_id: str | None = None,
) -> dict[str, object]:
    """Return the parameters of LOCATION_SQL."""
    return {
        "clinic_id": clinic_id,
        "location_id": location_id,
        "provider_ids": None if provider_ids is None else list(provider_ids),
        "service_id": service_id,
    }


def build_location(document: str | bytes) -> LocationFacts:
    """Return the facts that a document of LOCATION_SQL holds."""
    rows: dict[str, Any] = orjson.loads(document)
    location_id, zone, name, active = rows["location"]
    status, public_search = rows["clinic"]
    static = StaticFacts(
        location=Location(
            id=location_id,
            zone=zone,
            hours=tuple(
                WeeklyHours(weekday - 1, opens, closes) for weekday, opens, closes in rows["hours"] or ()
            ),
            closures=tuple(Closure(_local(start), _local(end)) for start, end in rows["closures"] or ()),
        ),
        services=tuple(Service(*row) for row in rows["services"] or ()),
        providers=_providers(rows),
        rooms=_rooms(rows),
        equipment=_equipment(rows),
        rules=tuple(_rule(row) for row in rows["rules"] or ()),
    )
    return LocationFacts(
        static=static,
        name=name,
        active=active,
        clinic_status=status,
        public_search=public_search,
        providers={row[0]: Label(row[1], row[2] or "") for row in rows["providers"] or ()},
        rooms={row[0]: Label(row[1], row[2] or "") for row in rows["rooms"] or ()},
    )


def _providers(rows: Mapping[str, Any]) -> tuple[Provider, ...]:
    schedules = _schedules(rows["provider_windows"] or ())
    preferences: dict[str, list[Preference]] = {}
    for provider_id, *row in rows["preferences"] or ():
        preferences.setdefault(provider_id, []).append(_preference(row))
    return tuple(
        Provider(
            id=provider_id,
            schedule=schedules.get(provider_id, Schedule()),
            preferences=tuple(preferences.get(provider_id, ())),
            active=active,
        )
        for provider_id, _name, _specialty, active in rows["providers"] or ()
    )


def _preference(row: Sequence[Any]) -> Preference:
    weight, service_id, room_ids, equipment_type, windows = row
    return Preference(
        weight=weight,
        service_id=service_id,
        room_ids=tuple(room_ids),
        equipment_type=equipment_type or None,
        windows=tuple(_day_spans(windows)),
    )


def _day_spans(windows: Iterable[Mapping[str, str]]) -> Iterable[tuple[int, int]]:
    """Yield pairs of minutes since local midnight of `[{"start": "09:00", "end": "12:00"}]`."""
    for window in windows:
        yield _minute_of_day(window["start"]), _minute_of_day(window["end"])


def _minute_of_day(text: str) -> int:
    hours, minutes = text.split(":")[:2]
    return int(hours) * 60 + int(minutes)


def _rooms(rows: Mapping[str, Any]) -> tuple[Room, ...]:
    schedules = _schedules(rows["room_windows"] or ())
    return tuple(
        Room(
            id=room_id,
            room_type=room_type or "",
            concurrent_visits=visits,
            turnaround_min=turnaround,
            schedule=schedules.get(room_id, Schedule()),
            active=active,
        )
        for room_id, _name, room_type, visits, turnaround, active in rows["rooms"] or ()
    )


def _equipment(rows: Mapping[str, Any]) -> tuple[Equipment, ...]:
    schedules = _schedules(rows["equipment_windows"] or ())
    return tuple(
        Equipment(
            id=item_id,
            equipment_type=kind,
            quantity=quantity,
            turnaround_min=turnaround,
            location_id=location_id,
            schedule=schedules.get(item_id, Schedule()),
            active=active,
        )
        for item_id, kind, quantity, turnaround, location_id, active in rows["equipment"] or ()
    )


def _schedules(rows: Iterable[Sequence[Any]]) -> dict[str, Schedule]:
    """Return each resource's windows; a resource without any is not in it."""
    windows: dict[str, list[Window]] = {}
    for resource_id, window_id, kind, start, end, location_id, recurrence in rows:
        window = Window(
            kind=WindowKind(kind),
            local_start=_local(start),
            local_end=_local(end),
            location_id=location_id,
            recurrence=recurrence or "",
            id=window_id,
        )
        windows.setdefault(resource_id, []).append(window)
    return {resource_id: Schedule(tuple(found)) for resource_id, found in windows.items()}


def _rule(row: Sequence[Any]) -> Rule:
    """Return a stored rule. Raises Invalid when its payload is none of its type's: it is never ignored."""
    rule_id, rule_type, payload, service_id, provider_id, priority = row
    return Rule(
        id=rule_id,
        rule_type=rule_type,
        payload=parse_payload(rule_type, payload),
        service_id=service_id,
        provider_id=provider_id,
        priority=priority,
    )


def _local(text: str) -> datetime:
    return datetime.fromisoformat(text)

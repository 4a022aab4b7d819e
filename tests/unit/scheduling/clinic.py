"""A small clinic for unit tests: one location, one service, everything else by keyword."""

# ruff: noqa: DTZ001 - a wall clock has no zone

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from scheduling import localtime
from scheduling.busy import BusyFacts
from scheduling.derived import DerivedCache
from scheduling.facts import (
    Claim,
    Equipment,
    Location,
    PatientFacts,
    Provider,
    Room,
    Rule,
    Schedule,
    Service,
    SlotRequest,
    StaticFacts,
    Window,
    WindowKind,
)
from scheduling.judge import Proposal, Verdict, judge
from scheduling.rules.registry import parse_payload
from scheduling.search import SearchQuery, SearchResult, search

ZONE = "America/New_York"
DAY = datetime(2026, 5, 4)
SERVICE = Service("service", 30, 15, 120, requires_room=False)


def window(start: str, end: str, kind: str = "available", rule: str = "FREQ=DAILY", **more: Any) -> Window:
    """A daily window of wall-clock times; an end before its start is the next day's."""
    low, high = (DAY - timedelta(days=28) + _clock(text) for text in (start, end))
    return Window(
        WindowKind(kind), low, high if high > low else high + timedelta(days=1), recurrence=rule, **more
    )


def once(start: str, end: str, kind: str, *, days: int = 0, **more: Any) -> Window:
    """A window of the day alone."""
    low, high = (DAY + timedelta(days=days) + _clock(text) for text in (start, end))
    return Window(WindowKind(kind), low, high if high > low else high + timedelta(days=1), **more)


def _clock(text: str) -> timedelta:
    hours, minutes = map(int, text.split(":"))
    return timedelta(hours=hours, minutes=minutes)


def provider(name: str = "provider", *windows: Window, **more: Any) -> Provider:
    """A provider who works nine to five unless windows are given."""
    return Provider(name, Schedule(windows or (window("09:00", "17:00"),)), **more)


def rule(rule_type: str, *, id: str = "", **payload: object) -> Rule:  # noqa: A002
    """A rule for everybody."""
    return Rule(id or rule_type, rule_type, parse_payload(rule_type, payload))


def clinic(
    *rules: Rule,
    service: Service = SERVICE,
    providers: Iterable[Provider] = (),
    rooms: Iterable[Room] = (),
    equipment: Iterable[Equipment] = (),
    location: Location | None = None,
) -> StaticFacts:
    """The clinic."""
    return StaticFacts(
        location or Location("location", ZONE),
        (service,),
        tuple(providers) or (provider(),),
        tuple(rooms),
        tuple(equipment),
        rules,
    )


def at(clock: str, days: int = 0, zone: str = ZONE) -> int:
    """The instant of a wall-clock time of the day."""
    return localtime.instant_at(zone, localtime.wall_minute(DAY + timedelta(days=days) + _clock(clock)))


def claim(resource_id: str, start: str, end: str, *, unit: int = 1, days: int = 0, **more: Any) -> Claim:
    """A claim of the day."""
    return Claim(resource_id, unit, at(start, days), at(end, days), **({"appointment_id": "other"} | more))


def found(
    static: StaticFacts,
    *claims: Claim,
    days: int = 1,
    now: float | None = None,
    patient: PatientFacts | None = None,
    **request: Any,
) -> SearchResult:
    """A search of the day, or of several."""
    asked = SlotRequest(static.services[0].id, patient_id=patient.id if patient else None, **request)
    query = SearchQuery(asked, at("00:00"), at("00:00", days))
    return search(
        static, BusyFacts.of(claims, patient), query, at("00:00", -1) if now is None else now, DerivedCache()
    )


def clocks(result: SearchResult, zone: str = ZONE) -> list[str]:
    """The wall-clock starts of a search, each once, in order."""
    return sorted({localtime.format_local(zone, start)[11:16] for start, _ in result.nearest(0)})


def verdict(
    static: StaticFacts,
    clock: str,
    *claims: Claim,
    days: int = 0,
    now: float | None = None,
    patient: PatientFacts | None = None,
    **proposal: Any,
) -> Verdict:
    """A verdict on a visit of the day."""
    asked = Proposal(static.services[0].id, static.providers[0].id, at(clock, days))
    asked = replace(asked, patient_id=patient.id if patient else None, **proposal)
    return judge(
        static, BusyFacts.of(claims, patient), asked, at("00:00", -1) if now is None else now, DerivedCache()
    )

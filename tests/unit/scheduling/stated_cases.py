"""The cases of other schedulers' tests as facts of this engine."""

# ruff: noqa: DTZ001 - a wall clock has no zone

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from scheduling import localtime
from scheduling.busy import BusyFacts
from scheduling.clock import exact_minutes_of, minutes_of
from scheduling.derived import DerivedCache
from scheduling.facts import (
    Claim,
    GridAnchor,
    Location,
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
from scheduling.rules.registry import parse_payload
from scheduling.search import SearchQuery, search

Case = dict[str, Any]
CASES: Final[dict[str, Case]] = {
    case["id"]: case
    for case in json.loads((Path(__file__).parents[2] / "data" / "scheduling_facts.json").read_text())[
        "cases"
    ]
}
LEFT_OUT: Final = {
    "rec-01-wall-clock": "is about series of appointments, which are not windows",
}
DAYS: Final = {name: index for index, name in enumerate(("mon", "tue", "wed", "thu", "fri", "sat", "sun"))}
BYDAY: Final = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")
ONE_DAY: Final = timedelta(days=1)


def cases_of(*kinds: str) -> list[Case]:
    return [case for case in CASES.values() if case["kind"] in kinds and case["id"] not in LEFT_OUT]


def minute(text: str) -> int:
    """Minutes of an instant, up to the next whole minute: some facts end at :59."""
    instant = datetime.fromisoformat(text)
    return minutes_of(instant + timedelta(seconds=59))


def stamp(at_min: int) -> str:
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(minutes=at_min)).strftime("%Y-%m-%dT%H:%M:%SZ")


def wall(day: datetime, clock: str) -> datetime:
    hours, minutes = map(int, clock.split(":"))
    return day + timedelta(hours=hours, minutes=minutes)


def piece(kind: WindowKind, day: datetime, start: str, end: str, rule: str = "") -> Window:
    begin, finish = wall(day, start), wall(day, end)
    return Window(kind, begin, finish if finish > begin else finish + ONE_DAY, recurrence=rule)


def moved_between_zones(clock: str, theirs: str, ours: str) -> str:
    """A wall-clock time of a resource's own zone, as the location's clock shows it (where neither clock changes)."""
    there = localtime.wall_minute(wall(datetime(2026, 3, 16), clock))
    here = localtime.wall_at(ours, localtime.instant_at(theirs, there)) % 1440
    return f"{here // 60:02d}:{here % 60:02d}"


def schedule_of(resource: Case, zone: str = "") -> Schedule:
    """A resource's weekly windows from 2019 on, and the overrides of single days."""
    own = resource.get("timezone", zone)
    if own != zone:
        moved = [
            given | {end: moved_between_zones(given[end], own, zone) for end in ("start", "end")}
            for given in resource["windows"]
        ]
        resource = resource | {"windows": moved, "timezone": zone}
    found = []
    monday = datetime(2019, 12, 30)
    for given in resource["windows"]:
        first = min(DAYS[name] for name in given["days"])
        days = ",".join(BYDAY[DAYS[name]] for name in given["days"])
        start = monday + first * ONE_DAY
        found.append(
            piece(WindowKind.AVAILABLE, start, given["start"], given["end"], f"FREQ=WEEKLY;BYDAY={days}")
        )
    for given in resource["overrides"]:
        for start, end in given["windows"]:
            found.append(piece(WindowKind.OVERRIDE, datetime.fromisoformat(given["date"]), start, end))
    return Schedule(tuple(found))


def claims_of(case: Case, resource: Case, unit: int = 1) -> list[Claim]:
    found = []
    for index, busy in enumerate(resource["busy"]):
        if busy.get("ignore"):
            continue
        expires = busy.get("hold_expires")
        found.append(
            Claim(
                resource["id"],
                unit,
                minute(busy["start"]) - busy.get("buffer_before_min", 0),
                minute(busy["end"]) + busy.get("buffer_after_min", 0),
                f"{resource['id']}-{index}",
                exact_minutes_of(datetime.fromisoformat(expires)) if expires else None,
            )
        )
    return found


def service_of(case: Case, **changes: Any) -> Service:
    given = case["service"]
    values: dict[str, Any] = {
        "duration_min": given["duration_min"],
        "slot_step_min": given["step_min"],
        "buffer_before_min": given["buffer_before_min"],
        "buffer_after_min": given["buffer_after_min"],
        "buffers_within_hours": given["buffers_must_fit_hours"],
        "requires_room": False,
    }
    return Service("service", **(values | changes))


def rule(rule_type: str, payload: dict[str, object]) -> Rule:
    return Rule("rule", rule_type, parse_payload(rule_type, payload))


def facts_of(case: Case) -> StaticFacts:
    """The case's clinic: its first resource is the provider; a second one is another provider, if any of them will do.

    Where a visit needs both, the second one is the room. A provider's own buffer before becomes the service's, a room's
    own buffer after its turnaround.
    """
    resources = case["resources"]
    providers = resources if case.get("combine") == "any" else resources[:1]
    rooms = resources[len(providers) :]
    rules = [rule("lead_time", {"min_minutes": case["notice_min"]})] if "notice_min" in case else []
    lead = case["service"]["buffer_before_min"] + sum(r.get("buffer_before_min", 0) for r in providers)
    return StaticFacts(
        Location("location", case["timezone"]),
        (service_of(case, requires_room=bool(rooms), buffer_before_min=lead),),
        tuple(Provider(r["id"], schedule_of(r, case["timezone"])) for r in providers),
        tuple(
            Room(
                r["id"],
                turnaround_min=r.get("buffer_after_min", 0),
                schedule=schedule_of(r, case["timezone"]),
            )
            for r in rooms
        ),
        rules=tuple(rules),
    )


def starts_of(case: Case, static: StaticFacts | None = None, claims: list[Claim] | None = None) -> list[str]:
    """The starts that the engine offers, each once."""
    anchor = GridAnchor(case["service"]["grid"])
    query = case["query"]
    now = exact_minutes_of(datetime.fromisoformat(case.get("now", "2020-01-01T00:00:00Z")))
    if "now" not in case:
        now = minute(query["start"]) - 1440
    if claims is None:
        claims = [claim for resource in case["resources"] for claim in claims_of(case, resource)]
    result = search(
        static or facts_of(case),
        BusyFacts.of(claims),
        SearchQuery(SlotRequest("service"), minute(query["start"]), minute(query["end"]), anchor=anchor),
        now,
        DerivedCache(),
    )
    return sorted({stamp(start) for start, _ in result.nearest(0)})

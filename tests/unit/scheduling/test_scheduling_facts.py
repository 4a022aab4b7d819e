"""Facts that other schedulers' tests state, run against the engine.

Every unambiguous case runs, and every policy case that matches our semantics. The ones left out are named with why;
docs/scheduling-policies.md has the same table.
"""

# ruff: noqa: DTZ001 - a wall clock has no zone

import json
from datetime import UTC, datetime, timedelta

import pytest

from scheduling import localtime, recurrence, timeline
from scheduling.busy import BusyFacts
from scheduling.clock import minutes_of
from scheduling.derived import DerivedCache
from scheduling.errors import Invalid, Reason
from scheduling.facts import (
    Claim,
    Equipment,
    Location,
    PatientFacts,
    Provider,
    Schedule,
    Service,
    StaticFacts,
    Window,
    WindowKind,
)
from scheduling.ids import quota_id
from scheduling.judge import Proposal, judge
from scheduling.timeline import Horizon
from scheduling.windows import provider_open
from tests.unit.scheduling.stated_cases import (
    CASES,
    LEFT_OUT,
    Case,
    cases_of,
    claims_of,
    facts_of,
    minute,
    piece,
    rule,
    schedule_of,
    stamp,
    starts_of,
    wall,
)


@pytest.mark.parametrize("case", cases_of("slots"), ids=lambda case: str(case["id"]))
def test_slots(case: Case) -> None:
    """The starts offered are the ones that the fact states."""
    expected = case["expected"]
    if "by_limit" in expected:
        return check_daily_limit(case)
    starts = starts_of(case)
    if "slot_starts_utc" in expected:
        assert starts == expected["slot_starts_utc"]
    assert set(expected.get("contains", [])) <= set(starts)
    assert not set(expected.get("excludes", [])) & set(starts)
    if "count" in expected:
        assert len(starts) == expected["count"]
    if "first" in expected:
        assert starts[0] == expected["first"]
    if expected.get("all_within_query"):
        assert starts
        assert case["query"]["start"] <= starts[0]
        assert minute(starts[-1]) + case["service"]["duration_min"] <= minute(case["query"]["end"])
    return None


def check_daily_limit(case: Case) -> None:
    """A limit counts the location's local day: as many as it allows leave the stated number of starts."""
    day = localtime.day_at(case["timezone"], minute(case["query"]["start"]))
    for limit, count in case["expected"]["by_limit"].items():
        daily = rule("max_daily", {"max_per_day": int(limit)})
        static = facts_of(case)
        static = StaticFacts(static.location, static.services, static.providers, rules=(daily,))
        claims = claims_of(case, case["resources"][0])
        low, high = localtime.day_bounds(case["timezone"], day)
        quota = quota_id(daily.id, "location", day)
        claims += [Claim(quota, n + 1, low, high, f"r1-{n}") for n in range(len(claims))]
        assert len(starts_of(case, static, claims)) == count


def test_an_expired_hold_frees_its_slot() -> None:
    """The note of hold-01: once the hold is over, its start is offered again."""
    case = dict(CASES["hold-01"], now="2024-05-31T02:30:00Z")
    assert len(starts_of(case)) == 11


def test_it_does_not_matter_which_of_two_is_the_room() -> None:
    """Two that a visit needs at once: the same starts come out when provider and room change places."""
    case = CASES["multi-04-collective"]
    swapped = case | {"resources": case["resources"][::-1]}
    assert starts_of(swapped) == case["expected"]["slot_starts_utc"]


@pytest.mark.parametrize(
    ("start", "end", "day", "count"),
    [("09:00", "09:40", "mon", 1), ("09:00", "09:20", "mon", 0), ("09:00", "10:15", "tue", 0)],
)
def test_no_slot_hangs_over_the_end(start: str, end: str, day: str, count: int) -> None:
    """The notes of gen-12: a window's tail that is too short offers nothing, nor does another weekday."""
    case = json.loads(json.dumps(CASES["gen-12-no-tail-overflow"]))
    case["resources"][0]["windows"] = [{"days": [day], "start": start, "end": end}]
    assert len(starts_of(case)) == count


@pytest.mark.parametrize("case", cases_of("free_intervals"), ids=lambda case: str(case["id"]))
def test_free_intervals(case: Case) -> None:
    """Open time, clipped to the query, is the stated intervals."""
    window = Horizon(minute(case["query"]["start"]), minute(case["query"]["end"]))
    location = Location("location", case["timezone"])
    opened = provider_open(DerivedCache(), schedule_of(case["resources"][0]), location, window)
    found = [[stamp(low), stamp(high)] for low, high in timeline.runs(opened, window)]
    assert found == case["expected"]["free_intervals_utc"]


@pytest.mark.parametrize(
    ("case_id", "capacity", "expected"),
    [
        *(
            (c["id"], c["candidate_capacity"], c["expected"]["blocked_utc"])
            for c in cases_of("blocked_intervals")
        ),
        ("cap-04-staircase", 2, [["2025-12-01T02:00:00Z", "2025-12-01T08:00:00Z"]]),
    ],
)
def test_capacity_blocks_where_all_of_it_is_used(
    case_id: str, capacity: int, expected: list[list[str]]
) -> None:
    """A resource is full in the minutes in which as many visits run as it can take."""
    case = CASES[case_id]
    busy = case["resources"][0]["busy"]
    horizon = Horizon(minute(busy[0]["start"]), minute(busy[-1]["end"]))
    taken = [timeline.interval(horizon, minute(b["start"]), minute(b["end"])) for b in busy]
    full = timeline.at_least(taken, capacity)
    assert [[stamp(low), stamp(high)] for low, high in timeline.runs(full, horizon)] == expected


def units_for(case: Case) -> list[Claim]:
    """Each claim on the lowest unit that is free for it, as bookings would have got them."""
    resource, placed = case["resources"][0], list[Claim]()
    for claim in sorted(claims_of(case, resource), key=lambda found: found.start_min):
        unit = next(
            unit
            for unit in range(1, 100)
            if not any(
                other.unit == unit and other.start_min < claim.end_min and claim.start_min < other.end_min
                for other in placed
            )
        )
        placed.append(Claim("pool", unit, claim.start_min, claim.end_min, claim.appointment_id))
    return placed


@pytest.mark.parametrize("case", cases_of("conflict"), ids=lambda case: str(case["id"]))
def test_pools_count_what_runs_at_once(case: Case) -> None:
    """A pool takes the candidate unless fewer units are free for the whole of its time."""
    start_min, end_min = minute(case["candidate"]["start"]), minute(case["candidate"]["end"])
    units = case["candidate"].get("units", 1)
    needed = rule("required_equipment_type", {"equipment_type": "kind", "min_units": units})
    everywhen = Window(
        WindowKind.AVAILABLE, datetime(2009, 1, 1), datetime(2009, 1, 2), recurrence="FREQ=DAILY"
    )
    static = StaticFacts(
        Location("location", "UTC"),
        (Service("service", end_min - start_min, requires_room=False),),
        (Provider("provider", Schedule((everywhen,))),),
        equipment=(Equipment("pool", "kind", case["resources"][0]["capacity"]),),
        rules=(needed,),
    )
    verdict = judge(
        static,
        BusyFacts.of(units_for(case)),
        Proposal("service", "provider", start_min),
        start_min - 60,
        DerivedCache(),
    )
    reasons = {refusal.reason for refusal in verdict.refusals}
    assert reasons == ({Reason.EQUIPMENT_UNAVAILABLE} if case["expected"]["conflict"] else set())


def test_touching_is_not_overlapping() -> None:
    """Intervals are half-open: the eight ways to lie beside or across 02:00–04:00."""
    table = CASES["ovl-01-eight"]["expected"]
    day, horizon = datetime(2026, 1, 1, tzinfo=UTC), Horizon(0, 0)
    base = minutes_of(day)
    horizon = Horizon(base, base + 1440)

    def bits(start: str, end: str) -> int:
        at = [minutes_of(day) + int(text[:2]) * 60 + int(text[3:]) for text in (start, end)]
        return timeline.interval(horizon, *at)

    existing = bits(*table["existing"])
    for start, end, overlap in table["table"]:
        assert timeline.both(existing, bits(start, end)) == (bits(*overlap) if overlap else timeline.NEVER)


def test_the_grid_begins_again_at_each_local_midnight() -> None:
    """A 50-minute grid in Chicago holds the stated starts and not the others."""
    case = CASES["grid-01-reanchor"]
    everywhen = Window(
        WindowKind.AVAILABLE, datetime(2025, 1, 1), datetime(2025, 1, 2), recurrence="FREQ=DAILY"
    )
    static = StaticFacts(
        Location("location", case["timezone"]),
        (Service("service", 10, slot_step_min=case["expected"]["interval_min"], requires_room=False),),
        (Provider("provider", Schedule((everywhen,))),),
    )
    for text, on_grid in case["expected"]["table"]:
        verdict = judge(
            static,
            BusyFacts(),
            Proposal("service", "provider", minute(text)),
            minute(text) - 60,
            DerivedCache(),
        )
        assert verdict.is_accepted == on_grid


def verdict_between(
    span: list[str], windows: list[list[str]], claims: list[Claim], patient: PatientFacts | None = None
) -> set[Reason]:
    """The reasons against a visit of one day, at any minute."""
    day = datetime(2026, 5, 4)
    static = StaticFacts(
        Location("location", "UTC"),
        (Service("service", 30, 1, 600, slot_step_min=5, requires_room=False),),
        (Provider("provider", Schedule(tuple(piece(WindowKind.AVAILABLE, day, *w) for w in windows))),),
    )
    at = [minutes_of(wall(day, clock).replace(tzinfo=UTC)) for clock in span]
    proposal = Proposal(
        "service", "provider", at[0], at[1], patient_id=patient.id if patient else None, is_override=True
    )
    verdict = judge(static, BusyFacts.of(claims, patient), proposal, at[0] - 600, DerivedCache())
    return {refusal.reason for refusal in verdict.refusals}


@pytest.mark.parametrize("row", CASES["hrs-01-one-minute-over"]["expected"]["table"])
def test_a_minute_outside_hours_is_outside(row: Case) -> None:
    """A visit lies wholly in one window or is refused; an end before the start is malformed."""
    if row["appt"][1] <= row["appt"][0]:
        with pytest.raises(Invalid):
            verdict_between(row["appt"], row["windows"], [])
        return
    reasons = verdict_between(row["appt"], row["windows"], [])
    assert reasons == ({Reason.OUTSIDE_HOURS} if row["conflict"] else set())


@pytest.mark.parametrize("row", CASES["pat-01-patient-overlap"]["expected"]["table"])
def test_a_patient_is_in_one_place(row: Case) -> None:
    """A patient's other visit blocks the time it overlaps, and a cancelled one, which has no claims, does not."""
    day = datetime(2026, 5, 4, tzinfo=UTC)
    low, high = (minutes_of(wall(day, clock)) for clock in row["existing"])
    is_cancelled = row.get("existing_status") == "cancelled"
    claims = [] if is_cancelled else [Claim("patient", 1, low, high, "other")]
    reasons = verdict_between(row["new"], [["00:00", "24:00"]], claims, PatientFacts("patient"))
    assert reasons == ({Reason.PATIENT_ALREADY_BOOKED} if row["conflict"] else set())


@pytest.mark.parametrize(
    ("rule_text", "days", "count"),
    [
        (
            CASES["rec-03-biweekly-two-days"]["expected"]["rule"],
            28,
            CASES["rec-03-biweekly-two-days"]["expected"]["count"],
        ),
        ("FREQ=WEEKLY;INTERVAL=1;BYDAY=MO,TU", 7, 3),
        ("FREQ=WEEKLY;INTERVAL=1;BYDAY=MO,TU", 28, 9),
        ("FREQ=WEEKLY;INTERVAL=2;BYDAY=MO,TU", 42, 7),
        ("FREQ=WEEKLY;INTERVAL=3;BYDAY=MO,TU", 28, 4),
        ("FREQ=WEEKLY;INTERVAL=4;BYDAY=MO,TU", 28, 3),
    ],
)
def test_weeks_are_counted_from_the_first(rule_text: str, days: int, count: int) -> None:
    """Every n-th week has both its days, the last day included."""
    start = datetime.fromisoformat(CASES["rec-03-biweekly-two-days"]["expected"]["start"])
    found = recurrence.starts_between(rule_text, start, start, start + timedelta(days=days + 1))
    assert len(found) == count


def test_every_case_runs_or_is_left_out_by_name() -> None:
    """No fact is forgotten: each kind has its test, and each case left out says why."""
    tables = {"overlap_table", "grid_table", "hours_table", "patient_table", "recurrence_count"}
    run = {c["id"] for c in cases_of("slots", "free_intervals", "blocked_intervals", "conflict", *tables)}
    assert run | set(LEFT_OUT) == set(CASES)
    assert not run & set(LEFT_OUT)

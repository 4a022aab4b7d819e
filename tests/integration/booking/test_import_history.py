"""Visits of history that an import brings: kept as told, with what their end would have left them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from database.partitions import detach_partitions, ensure_partitions
from tests.integration.booking.conftest import MakeClient, Suite
from tests.integration.booking.imports import imported, rows_of, told, versions_told, visit, wipe_visits
from tests.support.booking import outcome
from tests.support.invariants import invariants
from tests.support.practice import Noon, Practice, at, new_id


@pytest.fixture(scope="module")
def process_count() -> int:
    """One with a database of its own: a month is detached from it."""
    return 1


async def test_history_is_recorded_as_it_is_told(
    suite: Suite, full: Practice, make_client: MakeClient
) -> None:
    """Visits that are over, canceled or missed are there without claims, wherever they lie, with event and audit."""
    with psycopg.connect(full.owner_url) as owner:
        archived = full.add_service(owner, active=False)
    long_ago = (datetime.now(UTC) - timedelta(days=400)).replace(hour=9, minute=7, second=0, microsecond=0)
    start = long_ago.isoformat()
    wanted = [
        visit(full, start, status="completed", service_id=archived, notes="went well"),
        visit(full, start, status="no_show", patient=1, room_id=full.rooms[0]),
        visit(full, at(9), status="canceled", patient=2, end=at(9, 20)),
    ]
    report = await imported(suite, full, wanted)
    assert (report.created, report.refused) == (3, [])
    rows = rows_of(full)
    assert rows["claim"] == []
    assert len(rows["appointment"]) == len(rows["audit_event"]) == len(rows["outbox_event"]) == 3
    client = make_client(full)
    shown = [
        (await client.call("GetAppointment", appointment_id=entry["id"])).appointment for entry in wanted
    ]
    assert [found.end_utc.seconds - found.start_utc.seconds for found in shown] == [1_800, 1_800, 1_200]
    assert shown[0].notes == "went well"
    assert (await imported(suite, full, wanted)).unchanged == 3
    assert (await client.create(at(9), patient=2)).appointment.id
    bad = [
        visit(full, at(9), status="completed"),
        visit(full, start, status="completed", patient_id=new_id()),
        visit(full, start, status="completed", provider_id=full.rooms[0]),
        visit(full, start, status="completed", service_id=new_id()),
        visit(full, start, status="completed", end=start),
    ]
    lines = told(await imported(suite, full, bad))
    assert [line.partition(":")[0] for line in lines] == ["1", "2", "3", "4", "5"]


def claims_going_on(practice: Practice, visit_id: str) -> list[tuple[Any, ...]]:
    """The claims of a visit that have not run out."""
    with psycopg.connect(practice.owner_url) as owner:
        return owner.execute(
            "SELECT resource_id::text, unit, starts_at, ends_at FROM claim"
            " WHERE clinic_id = %s AND appointment_id = %s AND ends_at > now() ORDER BY 1, 2",
            (practice.clinic, visit_id),
        ).fetchall()


async def test_history_of_today_counts_in_the_days_quota(suite: Suite, make_client: MakeClient) -> None:
    """Completed and missed visits of today fill the day as their steps would have; more need an override."""
    noon = Noon.somewhere()
    practice = suite.practice(zone=noon.zone)
    with psycopg.connect(practice.owner_url) as owner:
        practice.add_rule(owner, "max_daily", max_per_day=2, scope="service")
    client = make_client(practice)
    this_morning, yesterday = noon.at(8), at(8, day=noon.day - timedelta(days=1))
    wanted = [
        visit(practice, this_morning, status="completed"),
        visit(practice, this_morning, status="canceled", patient=1),
        visit(practice, yesterday, status="no_show", patient=2),
        visit(practice, this_morning, status="no_show", patient=3),
    ]
    assert (await imported(suite, practice, wanted)).created == 4
    assert [len(claims_going_on(practice, one["id"])) for one in wanted] == [1, 0, 0, 1]
    assert "MAX_DAILY_REACHED" in await outcome(client.create(noon.at(15)))
    more = visit(practice, noon.at(8, 45), status="no_show", patient=4)
    report = await imported(suite, practice, [more])
    assert told(report)[0].startswith("1:")
    assert "MAX_DAILY_REACHED" in told(report)[0]
    more["override_reason"] = "came from elsewhere"
    assert (await imported(suite, practice, [more])).created == 1
    assert [unit for _, unit, *_ in claims_going_on(practice, more["id"])] == [3]
    shown = (await client.call("GetAppointment", appointment_id=more["id"])).appointment
    assert list(shown.override.rules) == ["MAX_DAILY_REACHED"]
    assert len(set(versions_told(practice))) == len(versions_told(practice))
    invariants(suite.database)


async def test_what_goes_on_after_a_completed_visit_is_claimed(
    suite: Suite, full: Practice, make_client: MakeClient
) -> None:
    """Buffers, turnarounds and gaps that have not run out are claimed as by a visit that was completed here."""
    with psycopg.connect(full.owner_url) as owner:
        long = full.add_service(owner, requires_room=True, buffer_after_min=120)
        full.add_rule(owner, "min_gap", service=long, min_gap_minutes=90)
    client = make_client(full)
    end = datetime.now(UTC).replace(second=0, microsecond=0, tzinfo=None) - timedelta(minutes=2)
    start = (end - timedelta(minutes=20)).isoformat()
    fields: dict[str, Any] = {"service_id": long, "room_id": full.rooms[1], "end": end.isoformat()}
    made = (await client.create(start, **fields, override_reason="came without one")).appointment
    for step in ("CheckInAppointment", "StartAppointment", "CompleteAppointment"):
        await client.call(step, appointment_id=made.id)
    before = claims_going_on(full, made.id)
    assert len(before) == 3
    wipe_visits(full)
    entry = visit(full, start, **fields, status="completed")
    again = entry | {"id": new_id(), "patient_id": full.patients[1]}
    assert (await imported(suite, full, [entry])).created == 1
    assert claims_going_on(full, entry["id"]) == before
    assert "SLOT_ALREADY_BOOKED" in told(await imported(suite, full, [again]))[0]
    again["override_reason"] = "two at once"
    assert (await imported(suite, full, [again])).created == 1
    invariants(suite.database)


async def test_history_keeps_why_it_was_overridden(
    suite: Suite, full: Practice, make_client: MakeClient
) -> None:
    """The reason that a file gives of a visit of history is kept, with who imported it, and imported again."""
    long_ago = (datetime.now(UTC) - timedelta(days=40)).replace(hour=9, minute=7, second=0, microsecond=0)
    entry = visit(full, long_ago.isoformat(), status="completed", override_reason="was off our grid")
    assert (await imported(suite, full, [entry])).created == 1
    client = make_client(full)
    shown = (await client.call("GetAppointment", appointment_id=entry["id"])).appointment
    assert (shown.override.reason, shown.override.by) == ("was off our grid", "medforall import")
    assert (await imported(suite, full, [entry])).unchanged == 1
    other = entry | {"override_reason": "something else"}
    assert "(override_reason)" in told(await imported(suite, full, [other]))[0]


async def test_visits_of_an_archived_month_are_there(suite: Suite, full: Practice) -> None:
    """A visit whose row was detached with its month is unchanged when it comes again; another start is refused."""
    long_ago = (datetime.now(UTC) - timedelta(days=800)).replace(hour=9, minute=0, second=0, microsecond=0)
    entry = visit(full, long_ago.isoformat(), status="completed")
    assert (await imported(suite, full, [entry])).created == 1
    with psycopg.connect(full.owner_url, autocommit=True) as owner:
        ensure_partitions(owner, today=long_ago.date())
        following = (long_ago.replace(day=1) + timedelta(days=31)).replace(day=1).date()
        assert detach_partitions(owner, "appointment", before=following).detached
    report = await imported(suite, full, [entry])
    assert (report.created, report.unchanged, report.refused) == (0, 1, [])
    moved = entry | {"start": (long_ago + timedelta(days=1)).isoformat()}
    assert "(start)" in told(await imported(suite, full, [moved]))[0]

"""Visits that an import brings: as bookings would have left them, or refused as bookings would have been."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import psycopg
import pytest
from medforall.events.v1 import events_pb2

from booking_svc.store.pipeline import Statement
from booking_svc.store.session import Session
from booking_svc.usecases import book_many
from booking_svc.usecases.expire_hold import end_holds
from booking_svc.usecases.recording import Recorder
from ctl.transfer import importing
from ctl.transfer.checking import check
from ctl.transfer.importing import Importer, Report
from ctl.transfer.sessions import clinic_session, operator
from database.partitions import detach_partitions, ensure_partitions
from tests.integration.booking.conftest import MakeClient, Suite
from tests.integration.booking.test_no_show_returns import noon_zone, this_afternoon
from tests.support.booking import outcome
from tests.support.importing import Entry, Visits, import_visits, keys_of
from tests.support.invariants import invariants
from tests.support.practice import MONDAY, Practice, at, new_id

_ROWS = {
    "appointment": "to_jsonb(t) - '{created_at,updated_at,created_by,notes_encrypted,override_reason_encrypted,"
    "override_by}'::text[] || jsonb_build_object('has_notes', notes_encrypted IS NOT NULL,"
    " 'is_overridden', override_reason_encrypted IS NOT NULL)",
    "appointment_ref": "to_jsonb(t)",
    "appointment_equipment": "to_jsonb(t)",
    "claim": "to_jsonb(t)",
    "resource": "to_jsonb(t) - 'created_at'",
    "audit_event": "to_jsonb(t) - '{id,at,actor,actor_role,request_id,from_address}'::text[] #- '{after,override,by}'",
}


def rows_of(practice: Practice) -> dict[str, list[str]]:
    """What the clinic's visits have left, but for ids of their own, times of writing, and who wrote it."""
    with psycopg.connect(practice.owner_url) as owner:
        found = {
            table: [
                row[0]
                for row in owner.execute(
                    f"SELECT ({shown})::text FROM {table} t WHERE clinic_id = %s ORDER BY 1".encode(),
                    (practice.clinic,),
                )
            ]
            for table, shown in _ROWS.items()
        }
        told = owner.execute(
            "SELECT payload, event_type, aggregate_version FROM outbox_event WHERE clinic_id = %s ORDER BY id",
            (practice.clinic,),
        ).fetchall()
    found["outbox_event"] = [
        f"{event_type} {version} {_event(payload)}" for payload, event_type, version in told
    ]
    return found


def _event(payload: bytes) -> events_pb2.Event:
    event = events_pb2.Event.FromString(payload)
    event.event_id = event.traceparent = ""
    event.ClearField("occurred_at")
    return event


def wipe_visits(practice: Practice) -> None:
    """Take away all that bookings have left in the clinic."""
    with psycopg.connect(practice.owner_url) as owner:
        owner.execute("SET session_replication_role = replica")
        for table in ("claim", "appointment_equipment", "appointment", "appointment_ref", "outbox_event"):
            owner.execute(f"DELETE FROM {table} WHERE clinic_id = %s".encode(), (practice.clinic,))
        owner.execute("DELETE FROM audit_event WHERE clinic_id = %s", (practice.clinic,))
        owner.execute("DELETE FROM audit_seal WHERE clinic_id = %s", (practice.clinic,))
        owner.execute("DELETE FROM resource WHERE clinic_id = %s AND kind = 'quota'", (practice.clinic,))
        owner.execute("UPDATE resource SET calendar_version = 0 WHERE clinic_id = %s", (practice.clinic,))


async def imported(
    suite: Suite, practice: Practice, wanted: Sequence[Entry], *, dry_run: bool = False
) -> Report:
    keys = keys_of(suite.keys.master)
    return await import_visits(practice.owner_url, practice.clinic, keys, wanted, dry_run=dry_run)


def visit(practice: Practice, start: str, *, patient: int = 0, **fields: Any) -> dict[str, str]:
    """An entry of the practice's first service, provider and location unless told otherwise."""
    return {
        "id": new_id(),
        "location_id": practice.location,
        "provider_id": practice.provider,
        "service_id": practice.service,
        "patient_id": practice.patients[patient],
        "start": start,
    } | fields


def told(report: Report) -> list[str]:
    return [str(fault).partition("visits.yaml:")[2] for fault in report.refused]


@pytest.fixture
def full(suite: Suite) -> Practice:
    """A clinic with two providers, rooms that are shared, pooled equipment, a quota, a gap and a limit."""
    practice = suite.practice(providers=2, rooms=2, service={"buffer_before_min": 5, "buffer_after_min": 10})
    with psycopg.connect(practice.owner_url) as owner:
        practice.add_room(owner, concurrent_visits=2, turnaround_min=20)
        practice.add_equipment(owner, "ecg", 2, turnaround_min=5)
        practice.add_service(owner, allow_patient_overlap=True, requires_room=False)
        practice.add_rule(owner, "required_equipment_type", equipment_type="ecg", min_units=1)
        practice.add_rule(owner, "max_daily", max_per_day=6, scope="service")
        practice.add_rule(owner, "min_gap", min_gap_minutes=15)
        practice.add_rule(owner, "patient_limit", max_active=3)
        practice.add_rule(owner, "patient_limit", service=practice.services[1], max_active=5)
    return practice


async def test_imported_visits_are_what_bookings_leave(
    suite: Suite, full: Practice, make_client: MakeClient
) -> None:
    """Rows, claims, versions, events and audit of an import are those of the same bookings made one by one."""
    client = make_client(full)
    other, second = full.providers[1], full.services[1]
    asked: list[dict[str, Any]] = [
        {"start": at(9), "patient": 0, "notes": "brings a letter"},
        {"start": at(9), "patient": 1, "provider_id": other},
        {"start": at(11), "patient": 0, "room_id": full.rooms[1]},
        {"start": at(11), "patient": 0, "provider_id": other, "service_id": second},
        {"start": at(13, 5), "patient": 2, "override_reason": "an emergency", "end": at(13, 50)},
        {"start": at(9, day=MONDAY + timedelta(days=1)), "patient": 1},
    ]
    wanted = []
    for fields in asked:
        made = (await client.create(**fields)).appointment
        given = {"provider_id": full.provider, "service_id": full.service} | fields
        patient = full.patients[given.pop("patient")]
        wanted.append({"id": made.id, "location_id": full.location, "patient_id": patient} | given)
    before = rows_of(full)
    wipe_visits(full)
    report = await imported(suite, full, wanted)
    assert (report.created, report.unchanged, report.refused) == (len(wanted), 0, [])
    after = rows_of(full)
    for table, rows in before.items():
        assert after[table] == rows, table
    assert len(before["claim"]) > 4 * len(wanted)
    invariants(suite.database)
    notes = [
        (await client.call("GetAppointment", appointment_id=entry["id"])).appointment.notes
        for entry in wanted
    ]
    assert notes == ["brings a letter", *[""] * 5]
    again = await imported(suite, full, wanted)
    assert (again.created, again.unchanged, again.refused) == (0, len(wanted), [])
    assert rows_of(full) == after


async def test_every_refusal_is_told_and_nothing_is_written(
    suite: Suite, full: Practice, make_client: MakeClient
) -> None:
    """What is taken, closed, over a limit, unknown or out of use is told with its line and reason, all at once."""
    client = make_client(full)
    await client.create(at(9), patient=0)
    with psycopg.connect(full.owner_url) as owner:
        archived = full.add_service(owner, active=False)
        gone = full.add_patients(owner, 1)[0]
        owner.execute("UPDATE patient SET active = false WHERE id = %s", (gone,))
        early = full.add_provider(owner, hours=(8, 10))
    before = rows_of(full)
    second = {"service_id": full.services[1], "provider_id": early}
    wanted = [
        visit(full, at(9, 15), patient=1),
        visit(full, at(12), patient=1),
        visit(full, at(12), patient=2),
        visit(full, at(12), patient=3, **second),
        visit(full, at(8, 7), patient=3, **second),
        visit(full, at(15), patient_id=new_id()),
        visit(full, at(15), patient_id=gone),
        visit(full, at(15), patient=3, service_id=archived),
        visit(full, at(15), patient=3, provider_id=new_id()),
        visit(full, at(15), patient=3, location_id=new_id()),
        visit(full, at(15), patient=3, room_id=new_id()),
        visit(full, at(15), patient=3, end=at(15, 1)),
        visit(full, at(15, day=MONDAY + timedelta(days=900)), patient=3),
        visit(full, at(15), patient=4),
    ]
    report = await imported(suite, full, wanted, dry_run=True)
    assert told(report) == told(await imported(suite, full, wanted))
    lines = told(report)
    expected = {
        1: "SLOT_ALREADY_BOOKED",
        3: "SLOT_ALREADY_BOOKED",
        4: "OUTSIDE_HOURS",
        5: "OFF_GRID",
        6: "There is no such patient (NOT_FOUND)",
        7: "There is no such patient (NOT_FOUND)",
        8: "RESOURCE_INACTIVE",
        9: "There is no such provider (NOT_FOUND)",
        10: "There is no such location (NOT_FOUND)",
        11: "There is no such room",
        12: "DURATION_NOT_ALLOWED",
        13: "TOO_FAR_AHEAD",
    }
    assert [int(line.partition(":")[0]) for line in lines] == list(expected)
    for line, reason in zip(lines, expected.values(), strict=True):
        assert reason in line
        assert ": appointments" in line
    assert rows_of(full) == before


async def test_visits_of_a_file_see_each_other(suite: Suite, full: Practice) -> None:
    """Quotas and limits are counted over the file and the clinic together, and a refused visit takes nothing."""
    hours = (8, 10, 12, 14, 16, 18, 20)
    day = [visit(full, at(hour), patient=place) for place, hour in enumerate(hours)]
    report = await imported(suite, full, day)
    assert len(report.refused) == 1
    assert "MAX_DAILY_REACHED" in told(report)[0]
    assert told(report)[0].startswith("7:")
    assert (await imported(suite, full, day[:6])).created == 6
    next_day = MONDAY + timedelta(days=1)
    again = [visit(full, at(hour, day=next_day), patient=0) for hour in (8, 10, 12)]
    report = await imported(suite, full, again)
    assert [line.partition(":")[0] for line in told(report)] == ["3"]
    assert "PATIENT_LIMIT" in told(report)[0]


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


def this_morning(minute: int = 0) -> str:
    """Eight o'clock in the zone where it is about noon."""
    now = datetime.now(UTC)
    return at(8, minute, day=(now + timedelta(hours=12 - now.hour)).date())


async def test_history_of_today_counts_in_the_days_quota(suite: Suite, make_client: MakeClient) -> None:
    """Completed and missed visits of today fill the day as their steps would have; more need an override."""
    practice = suite.practice(zone=noon_zone())
    with psycopg.connect(practice.owner_url) as owner:
        practice.add_rule(owner, "max_daily", max_per_day=2, scope="service")
    client = make_client(practice)
    yesterday = (datetime.fromisoformat(this_morning()) - timedelta(days=1)).isoformat()
    wanted = [
        visit(practice, this_morning(), status="completed"),
        visit(practice, this_morning(), status="canceled", patient=1),
        visit(practice, yesterday, status="no_show", patient=2),
        visit(practice, this_morning(), status="no_show", patient=3),
    ]
    assert (await imported(suite, practice, wanted)).created == 4
    assert [len(claims_going_on(practice, one["id"])) for one in wanted] == [1, 0, 0, 1]
    assert "MAX_DAILY_REACHED" in await outcome(client.create(this_afternoon()))
    more = visit(practice, this_morning(45), status="no_show", patient=4)
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


async def test_a_visit_that_is_there_is_not_changed(
    suite: Suite, full: Practice, make_client: MakeClient
) -> None:
    """What the file says of a visit must be what it is; what it does not say may have become anything."""
    entry = visit(full, at(10), notes="first")
    assert (await imported(suite, full, [entry])).created == 1
    client = make_client(full)
    await client.call("ConfirmAppointment", appointment_id=entry["id"])
    assert (await imported(suite, full, [entry])).unchanged == 1
    moved = entry | {"start": at(11), "notes": "second", "status": "scheduled"}
    report = await imported(suite, full, [moved])
    assert "(start, status, notes)" in told(report)[0]
    assert "RescheduleAppointment" in told(report)[0]
    assert "first" not in told(report)[0]
    await client.call("CancelAppointment", appointment_id=entry["id"])
    assert (await imported(suite, full, [entry])).unchanged == 1


async def test_an_id_that_another_clinic_has_at_that_start_is_refused(suite: Suite, full: Practice) -> None:
    """It is told with its line, visit to come or history, and says nothing of whose it is."""
    other = suite.practice()
    long_ago = (datetime.now(UTC) - timedelta(days=90)).replace(hour=9, minute=0, second=0, microsecond=0)
    theirs = [visit(other, at(10)), visit(other, long_ago.isoformat(), status="completed")]
    assert (await imported(suite, other, theirs)).created == 2
    ours = [
        visit(full, at(8), patient=1),
        visit(full, at(10), id=theirs[0]["id"]),
        visit(full, long_ago.isoformat(), status="completed", id=theirs[1]["id"]),
    ]
    lines = told(await imported(suite, full, ours))
    said = "cannot be used: give the visit another one"
    assert [line.partition(":")[0] for line in lines] == ["2", "3"]
    assert all(said in line and "EXISTS" not in line for line in lines)
    elsewhere = visit(full, at(14), id=theirs[0]["id"])
    assert (await imported(suite, full, [elsewhere], dry_run=True)).created == 1


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


async def test_a_place_that_is_not_named_is_found_as_by_a_booking(suite: Suite, full: Practice) -> None:
    """Without a location the room or the provider decides; where both leave several, it is a fault of that field."""
    entry = visit(full, at(10))
    del entry["location_id"]
    assert (await imported(suite, full, [entry, visit(full, at(12), patient=1)])).created == 2
    nobody = visit(full, at(10), patient=2, provider_id=new_id())
    del nobody["location_id"]
    assert "There is no such provider" in told(await imported(suite, full, [nobody]))[0]


async def test_ended_holds_do_not_stand_in_the_way(
    suite: Suite, full: Practice, make_client: MakeClient
) -> None:
    """A hold whose time has passed is ended, with its event, before a visit takes its place; a live one stands."""
    client = make_client(full)
    held = (await client.hold(at(10))).appointment
    entry = visit(full, at(10))
    assert "SLOT_ALREADY_BOOKED" in told(await imported(suite, full, [entry]))[0]
    end_hold_silently(full, held.id)
    assert (await imported(suite, full, [entry])).created == 1
    with psycopg.connect(full.owner_url) as owner:
        status = owner.execute("SELECT status FROM appointment WHERE id = %s", (held.id,)).fetchone()
    assert status == ("expired",)
    invariants(suite.database)


def end_hold_silently(practice: Practice, hold_id: str) -> None:
    """Let a hold's time have passed without anybody noticing."""
    with psycopg.connect(practice.owner_url) as owner:
        for table, key in (("appointment", "id"), ("claim", "appointment_id")):
            owner.execute(
                f"UPDATE {table} SET expires_at = now() - interval '1 s' WHERE {key} = %s".encode(),
                (hold_id,),
            )


def versions_told(practice: Practice) -> list[tuple[str, int]]:
    """The calendar versions that each of the clinic's events tells, by lock."""
    with psycopg.connect(practice.owner_url) as owner:
        payloads = owner.execute(
            "SELECT payload FROM outbox_event WHERE clinic_id = %s ORDER BY id", (practice.clinic,)
        ).fetchall()
    events = [events_pb2.Event.FromString(payload) for (payload,) in payloads]
    return [
        told_version
        for event in events
        for told_version in sorted(
            {(found.lock_id or found.resource_id, found.calendar_version) for found in event.resources}
        )
    ]


async def test_a_hold_that_ends_between_batches_has_versions_of_its_own(
    suite: Suite, full: Practice, make_client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the second batch ends a hold, no two events tell one version, and the last is the number of changes."""
    client = make_client(full)
    next_day = MONDAY + timedelta(days=1)
    held = (await client.hold(at(14, day=next_day))).appointment
    end_hold_silently(full, held.id)
    monkeypatch.setattr(importing, "BATCH_MAX", 1)
    starts = (at(8), at(14, day=next_day), at(18))
    wanted = [visit(full, start, patient=place) for place, start in enumerate(starts)]
    assert (await imported(suite, full, wanted)).created == 3
    told_versions = versions_told(full)
    assert len(set(told_versions)) == len(told_versions)
    of_provider = [version for lock_id, version in told_versions if lock_id == full.provider]
    assert of_provider == [1, 2, 3, 4, 5]
    with psycopg.connect(full.owner_url) as owner:
        written = owner.execute(
            "SELECT calendar_version FROM resource WHERE clinic_id = %s AND id = %s",
            (full.clinic, full.provider),
        ).fetchone()
    assert written == (5,)
    invariants(suite.database)


_END_HOLD: Final = tuple(
    Statement(
        f"end_{table}_in_a_test",
        f"UPDATE {table} SET expires_at = clock_timestamp() WHERE clinic_id = $1 AND {key} = $2",
    )
    for table, key in (("appointment", "id"), ("claim", "appointment_id"))
)


async def test_a_hold_that_ends_while_others_are_ended_stands(
    suite: Suite, full: Practice, make_client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch is judged at one moment: a hold that ends after it is in the way, and told with its line."""
    client = make_client(full)
    first, second = [(await client.hold(at(hour))).appointment for hour in (10, 14)]
    end_hold_silently(full, first.id)

    async def end_and_wait(session: Session, recorder: Recorder, hold_ids: Iterable[str]) -> None:
        await end_holds(session, recorder, hold_ids)
        for statement in _END_HOLD:
            session.queue(statement, full.clinic, second.id)
        await session.run()

    monkeypatch.setattr(book_many, "end_holds", end_and_wait)
    report = await imported(suite, full, [visit(full, at(10)), visit(full, at(14), patient=1)])
    assert told(report)[0].startswith("2:")
    assert "SLOT_ALREADY_BOOKED" in told(report)[0]


async def test_an_import_and_bookings_never_have_the_same(
    suite: Suite, full: Practice, make_client: MakeClient
) -> None:
    """Of two imports and a booking that want the same times at once, each goes to one, and each import is whole."""
    client = make_client(full)
    starts = [at(hour) for hour in (8, 10, 12)]
    first = [visit(full, start, patient=0, service_id=full.services[1]) for start in starts]
    second = [visit(full, start, patient=1, service_id=full.services[1]) for start in starts]
    reports = await asyncio.gather(
        imported(suite, full, first),
        imported(suite, full, second),
        outcome(client.create(at(12), patient=2, service_id=full.services[1])),
    )
    created = [report.created for report in reports[:2] if not report.refused]
    assert (len(created), reports[2]) in {(1, "ALREADY_EXISTS SLOT_ALREADY_BOOKED"), (0, "OK")}
    rows = rows_of(full)
    assert len(rows["appointment"]) == (3 if created else 1)
    invariants(suite.database)


async def test_bookings_wait_for_no_longer_than_visits_are_written(
    suite: Suite, full: Practice, make_client: MakeClient
) -> None:
    """While visits are read and checked the clinic books; it waits from the first that is judged on, not before."""
    client = make_client(full)
    keys = keys_of(suite.keys.master)
    async with clinic_session(full.owner_url, full.clinic, keys) as session:
        document = Visits([visit(full, at(9))])
        plan = check(document, full.clinic, {}, progress=lambda _: None)
        importer = Importer(session, plan, operator("import"))
        assert (await client.create(at(12), patient=1)).appointment.id
        await importer.write(document, lambda _section, _done: None)
        assert (await outcome(client.create(at(15), patient=2))).startswith("ABORTED")
        session.commit()
        await session.run()
    assert (await client.create(at(15), patient=2)).appointment.id


async def test_each_batch_sees_the_one_that_is_being_written(
    suite: Suite, full: Practice, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Batches of two are judged, and their calendars raised, as one of all of them is."""
    hours = (8, 10, 12, 14, 16, 18, 20)
    wanted = [visit(full, at(hour), patient=place) for place, hour in enumerate(hours)]
    assert (await imported(suite, full, wanted[:6])).created == 6
    whole = rows_of(full)
    wipe_visits(full)
    monkeypatch.setattr(importing, "BATCH_MAX", 2)
    assert told(await imported(suite, full, wanted))[0].startswith("7:")
    assert (await imported(suite, full, wanted[:6])).created == 6
    assert rows_of(full) == whole
    clash = [visit(full, at(8, day=MONDAY + timedelta(days=1)), patient=place) for place in range(5)]
    assert len((await imported(suite, full, clash)).refused) == 4

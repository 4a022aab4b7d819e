"""Visits that an import brings: as bookings would have left them, or refused as bookings would have been."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import psycopg
import pytest

from booking_svc.store.session import Session
from booking_svc.usecases import book_many
from booking_svc.usecases.expire_hold import end_holds
from booking_svc.usecases.recording import Recorder
from ctl.transfer import importing
from ctl.transfer.checking import check
from ctl.transfer.importing import Importer
from ctl.transfer.sessions import clinic_session, operator
from database.pipeline import Statement
from tests.integration.booking.conftest import MakeClient, Suite
from tests.integration.booking.imports import imported, rows_of, told, versions_told, visit, wipe_visits
from tests.support.booking import outcome
from tests.support.importing import Visits, keys_of
from tests.support.invariants import invariants
from tests.support.practice import MONDAY, Practice, at, new_id


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


REFUSED: Final = {
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
"""What is told of the visits below, by their place; of the others nothing."""


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
    assert [int(line.partition(":")[0]) for line in lines] == list(REFUSED)
    for line, reason in zip(lines, REFUSED.values(), strict=True):
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

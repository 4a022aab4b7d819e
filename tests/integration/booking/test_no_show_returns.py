"""A no-show that comes after all has its claims again, however many holds have been and gone meanwhile."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import psycopg

from tests.integration.booking.conftest import MakeClient, Suite
from tests.support.booking import outcome
from tests.support.invariants import invariants, query
from tests.support.practice import at


def noon_zone() -> str:
    """A zone where it is about noon, so that the afternoon is today and yet to come."""
    return f"Etc/GMT{datetime.now(UTC).hour - 12:+d}"


def this_afternoon() -> str:
    """Three o'clock in that zone."""
    now = datetime.now(UTC)
    return at(15, day=(now + timedelta(hours=12 - now.hour)).date())


def end_hold(suite: Suite, hold_id: str) -> None:
    """Let the hold's time pass."""
    with psycopg.connect(suite.database.owner_url) as owner:
        for table, column in (("appointment", "id"), ("claim", "appointment_id")):
            owner.execute(
                f"UPDATE {table} SET expires_at = clock_timestamp() - interval '1 ms' WHERE {column} = %s",
                (hold_id,),
            )


def status(suite: Suite, appointment_id: str) -> str:
    found: str = query(
        suite.database.owner_url, "SELECT status FROM appointment WHERE id = %s", appointment_id
    )[0][0]
    return found


async def test_a_hold_that_has_ended_does_not_keep_a_no_show_out(
    suite: Suite, make_client: MakeClient
) -> None:
    """While the hold lasts check-in is refused; once it has ended, check-in expires it and claims everything again."""
    practice = suite.practice(zone=noon_zone())
    client = make_client(practice)
    start = this_afternoon()
    visit = (await client.create(start)).appointment
    await client.call("MarkNoShow", appointment_id=visit.id)
    held = (await client.hold(start, patient_id=practice.patients[1])).appointment
    come = {"appointment_id": visit.id}
    assert await outcome(client.call("CheckInAppointment", **come)) == "ALREADY_EXISTS SLOT_ALREADY_BOOKED"
    end_hold(suite, held.id)
    assert await outcome(client.call("CheckInAppointment", **come)) == "OK"
    assert (status(suite, visit.id), status(suite, held.id)) == ("checked_in", "expired")
    count = "SELECT count(*) FROM claim WHERE appointment_id = %s"
    assert query(suite.database.owner_url, count, visit.id) == [(3,)], "provider, room and patient"
    invariants(suite.database)


async def test_the_unit_of_a_hold_that_has_ended_is_taken_before_a_live_one(
    suite: Suite, make_client: MakeClient
) -> None:
    """In a room for two, a visit beside and an ended hold: the no-show gets the hold's place."""
    practice = suite.practice(zone=noon_zone(), providers=3, rooms=0)
    with psycopg.connect(suite.database.owner_url) as owner:
        room = practice.add_room(owner, concurrent_visits=2)
    client = make_client(practice)
    start = this_afternoon()
    visit = (await client.create(start)).appointment
    await client.call("MarkNoShow", appointment_id=visit.id)
    beside = (await client.create(start, patient=1, provider_id=practice.providers[1])).appointment
    held = (await client.hold(start, provider_id=practice.providers[2])).appointment
    end_hold(suite, held.id)
    assert await outcome(client.call("CheckInAppointment", appointment_id=visit.id)) == "OK"
    units = "SELECT unit FROM claim WHERE resource_id = %s AND appointment_id IN (%s, %s) ORDER BY unit"
    assert query(suite.database.owner_url, units, room, visit.id, beside.id) == [(1,), (2,)]
    assert status(suite, held.id) == "expired"
    invariants(suite.database)

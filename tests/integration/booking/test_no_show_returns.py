"""A no-show that comes after all has its claims again, however many holds have been and gone meanwhile."""

from __future__ import annotations

import asyncio

import grpc.aio
import psycopg
import pytest

from tests.integration.booking.conftest import MakeClient, Suite
from tests.support.booking import details_of, outcome, reason_of
from tests.support.invariants import invariants, query
from tests.support.practice import Noon
from tests.support.waiting import wait_until_async

WAITING = """
SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'booking_svc'
    AND wait_event_type = 'Lock'
"""


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
    noon = Noon.somewhere()
    practice = suite.practice(zone=noon.zone)
    client = make_client(practice)
    start = noon.at(15)
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


async def test_a_no_show_that_is_changed_meanwhile_is_told_when_to_come_again(
    suite: Suite, make_client: MakeClient
) -> None:
    """Another change of the visit while check-in waits for its locks: ABORTED with a time to try again."""
    noon = Noon.somewhere()
    practice = suite.practice(zone=noon.zone)
    client = make_client(practice)
    visit = (await client.create(noon.at(15))).appointment
    await client.call("MarkNoShow", appointment_id=visit.id)
    with psycopg.connect(suite.database.owner_url) as owner:
        owner.execute("SELECT FROM resource WHERE id = %s FOR NO KEY UPDATE", (practice.provider,))
        coming = asyncio.create_task(client.call("CheckInAppointment", appointment_id=visit.id))

        async def waits() -> bool:
            return query(suite.database.owner_url, WAITING) == [(1,)]

        await wait_until_async(waits, what="the check-in to wait for the provider")
        owner.execute("UPDATE appointment SET version = version + 1 WHERE id = %s", (visit.id,))
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await coming
    assert reason_of(refused.value) == "CONCURRENT_BOOKING"
    assert details_of(refused.value)["RetryInfo"].retry_delay.ToMilliseconds() > 0


async def test_a_no_show_whose_patient_goes_out_of_use_meanwhile_is_not_checked_in(
    suite: Suite, make_client: MakeClient
) -> None:
    """The patient is put out of use between the check-in's first look and its locks: NOT_FOUND, and no claims."""
    noon = Noon.somewhere()
    practice = suite.practice(zone=noon.zone)
    client = make_client(practice)
    visit = (await client.create(noon.at(15))).appointment
    await client.call("MarkNoShow", appointment_id=visit.id)
    with psycopg.connect(suite.database.owner_url) as owner:
        owner.execute("SELECT FROM resource WHERE id = %s FOR NO KEY UPDATE", (practice.provider,))
        coming = asyncio.create_task(outcome(client.call("CheckInAppointment", appointment_id=visit.id)))

        async def waits() -> bool:
            return query(suite.database.owner_url, WAITING) == [(1,)]

        await wait_until_async(waits, what="the check-in to wait for the provider")
        owner.execute("UPDATE patient SET active = false WHERE id = %s", (practice.patients[0],))
    assert await coming == "NOT_FOUND NOT_FOUND"
    assert status(suite, visit.id) == "no_show"
    assert query(suite.database.owner_url, "SELECT 1 FROM claim WHERE appointment_id = %s", visit.id) == []


async def test_the_unit_of_a_hold_that_has_ended_is_taken_before_a_live_one(
    suite: Suite, make_client: MakeClient
) -> None:
    """In a room for two, a visit beside and an ended hold: the no-show gets the hold's place."""
    noon = Noon.somewhere()
    practice = suite.practice(zone=noon.zone, providers=3, rooms=0)
    with psycopg.connect(suite.database.owner_url) as owner:
        room = practice.add_room(owner, concurrent_visits=2)
    client = make_client(practice)
    start = noon.at(15)
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

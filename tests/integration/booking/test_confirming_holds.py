"""A hold without a patient becomes an appointment: only its patient is judged, and what it holds stays."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc.aio
import psycopg
import pytest

from tests.integration.booking.conftest import MakeClient, Suite
from tests.support.booking import Client, details_of, outcome, reason_of
from tests.support.invariants import invariants, query
from tests.support.practice import MONDAY, Practice, at
from tests.support.waiting import wait_until_async

HELD = """
SELECT resource_id::text, unit, starts_at, ends_at FROM claim WHERE appointment_id = %s ORDER BY resource_id, unit
"""
OUT_OF_USE = {
    "provider": "UPDATE provider SET active = false WHERE id = %(provider)s",
    "room": "UPDATE room SET active = false WHERE id = %(room)s",
    "service": "UPDATE service SET active = false WHERE id = %(service)s",
    "location": "UPDATE location SET active = false WHERE id = %(location)s",
    "length": "UPDATE service SET default_duration_min = 15, max_duration_min = 20 WHERE id = %(service)s",
    "day": "",
}


def confirmation(client: Client, held: Any, patient_id: str) -> Any:
    return client.call(
        "ConfirmHold", hold_id=held.appointment.id, hold_token=held.hold_token, patient_id=patient_id
    )


def change(suite: Suite, practice: Practice, what: str) -> None:
    with psycopg.connect(suite.database.owner_url) as owner:
        if what == "day":
            practice.add_rule(owner, "blackout_dates", dates=[MONDAY.isoformat()])
            return
        owner.execute(
            OUT_OF_USE[what],
            {
                "provider": practice.provider,
                "room": practice.rooms[0],
                "service": practice.service,
                "location": practice.location,
            },
        )


@pytest.mark.parametrize("what", OUT_OF_USE)
async def test_what_is_held_is_had_whatever_goes_out_of_use(
    suite: Suite, make_client: MakeClient, what: str
) -> None:
    """Provider, room, service or place go out of use, or the day closes, while a hold lasts: it is confirmed."""
    practice = suite.practice()
    client = make_client(practice)
    held = await client.hold(at(9))
    before = query(suite.database.owner_url, HELD, held.appointment.id)
    change(suite, practice, what)
    confirmed = (await confirmation(client, held, practice.patients[1])).appointment
    after = query(suite.database.owner_url, HELD, confirmed.id)
    assert set(before) < set(after)
    assert {row[0] for row in set(after) - set(before)} == {practice.patients[1]}
    assert (confirmed.room_id, confirmed.version) == (held.appointment.room_id, 2)
    invariants(suite.database)


async def test_a_confirmation_keeps_its_units(suite: Suite, make_client: MakeClient) -> None:
    """The second place of a room stays the second one when the first is free again."""
    practice = suite.practice(providers=2, rooms=0)
    with psycopg.connect(suite.database.owner_url) as owner:
        room = practice.add_room(owner, concurrent_visits=2)
    client = make_client(practice)
    first = (await client.create(at(9))).appointment
    held = await client.hold(at(9), provider_id=practice.providers[1])
    await client.call("CancelAppointment", appointment_id=first.id)
    await confirmation(client, held, practice.patients[1])
    units = "SELECT unit FROM claim WHERE resource_id = %s"
    assert query(suite.database.owner_url, units, room) == [(2,)]


async def test_an_ended_hold_of_its_patient_gives_way(suite: Suite, make_client: MakeClient) -> None:
    """Where only a hold that has ended keeps the patient elsewhere, it is expired and the confirmation goes on."""
    practice = suite.practice(providers=2, rooms=2)
    client = make_client(practice)
    other = (
        await client.hold(at(9), provider_id=practice.providers[1], patient_id=practice.patients[0])
    ).appointment
    held = await client.hold(at(9))
    with psycopg.connect(suite.database.owner_url) as owner:
        for table, column in (("appointment", "id"), ("claim", "appointment_id")):
            owner.execute(
                f"UPDATE {table} SET expires_at = clock_timestamp() - interval '1 ms' WHERE {column} = %s",
                (other.id,),
            )
    assert await outcome(confirmation(client, held, practice.patients[0])) == "OK"
    status = "SELECT status FROM appointment WHERE id = %s"
    assert query(suite.database.owner_url, status, other.id) == [("expired",)]
    invariants(suite.database)


async def test_of_two_confirmations_for_one_patient_one_is_had(suite: Suite, make_client: MakeClient) -> None:
    """Two holds of one time are confirmed for the same patient at once: the other one stays a hold."""
    practice = suite.practice(providers=2, rooms=2)
    client = make_client(practice)
    holds = [await client.hold(at(9), provider_id=provider) for provider in practice.providers]
    found = await asyncio.gather(
        *(outcome(confirmation(client, held, practice.patients[0])) for held in holds)
    )
    assert sorted(found) == ["ALREADY_EXISTS PATIENT_ALREADY_BOOKED", "OK"]
    states = "SELECT status, count(*) FROM appointment WHERE clinic_id = %s GROUP BY status ORDER BY status"
    assert query(suite.database.owner_url, states, practice.clinic) == [("held", 1), ("scheduled", 1)]
    invariants(suite.database)


async def test_a_hold_that_moves_meanwhile_is_not_confirmed_blindly(
    suite: Suite, make_client: MakeClient
) -> None:
    """A confirmation that judged its patient at another time than the hold now has is told to try again."""
    practice = suite.practice()
    client = make_client(practice)
    held = await client.hold(at(9))
    waiting = """SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
        AND application_name = 'booking_svc' AND wait_event_type = 'Lock'"""
    with psycopg.connect(suite.database.owner_url) as owner:
        owner.execute("SELECT FROM resource WHERE id = %s FOR NO KEY UPDATE", (practice.provider,))
        confirming = asyncio.create_task(confirmation(client, held, practice.patients[0]))

        async def waits() -> bool:
            return query(suite.database.owner_url, waiting) == [(1,)]

        await wait_until_async(waits, what="the confirmation to wait for the provider")
        owner.execute("UPDATE appointment SET version = version + 1 WHERE id = %s", (held.appointment.id,))
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await confirming
    assert reason_of(refused.value) == "CONCURRENT_BOOKING"
    assert details_of(refused.value)["RetryInfo"].retry_delay.ToMilliseconds() == 200


async def test_a_refused_confirmation_offers_other_times(suite: Suite, make_client: MakeClient) -> None:
    """A patient who is somewhere else is offered times at which it is free, and the hold can move to one."""
    practice = suite.practice(providers=2, rooms=2)
    client = make_client(practice)
    await client.create(at(9), provider_id=practice.providers[1], end=at(11))
    held = await client.hold(at(9))
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await confirmation(client, held, practice.patients[0])
    assert reason_of(refused.value) == "PATIENT_ALREADY_BOOKED"
    conflict = details_of(refused.value)["BookingConflict"]
    assert [item.id for item in conflict.taken] == [practice.patients[0]]
    assert [slot.start[11:16] for slot in conflict.same_provider] == ["08:30", "08:15", "08:00"]
    best = conflict.same_provider[0].start
    moved = await client.call("RescheduleAppointment", appointment_id=held.appointment.id, start=best)
    assert moved.appointment.id == held.appointment.id
    assert await outcome(confirmation(client, held, practice.patients[0])) == "OK"

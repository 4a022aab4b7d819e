"""Connections and transactions that go wrong: cut at random, or held open while others commit."""

from __future__ import annotations

import asyncio

from tests.faults.booking.conftest import Scene
from tests.faults.booking.load import Load
from tests.support.booking import Client, outcome
from tests.support.invariants import invariants, query
from tests.support.practice import MONDAY, at, new_practice
from tests.support.waiting import wait_until_async

CUTS = 12
HELD_OPEN_S = 4
CUT_SOME = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = current_database() AND application_name = 'booking_svc' ORDER BY random() LIMIT 2
"""
IN_TRANSACTION = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND application_name = 'booking_svc' AND state = 'idle in transaction'
"""
ALLOWED = {"OK", "UNAVAILABLE UNAVAILABLE", "ALREADY_EXISTS SLOT_ALREADY_BOOKED"}


async def listed(client: Client) -> set[str]:
    """Every appointment that the client's clinic shows on the first day."""
    found: set[str] = set()
    token = ""
    while True:
        page = await client.call("ListAppointments", date=MONDAY.isoformat(), limit=100, page_token=token)
        found |= {visit.id for visit in page.appointments}
        token = page.next_page_token
        if not token:
            return found


async def test_terminated_backends_are_survived(scene: Scene) -> None:
    """T14: backends ended at random cost no acknowledged booking, nobody hears INTERNAL, no clinic sees the other."""
    clinics = [new_practice(scene.database, providers=2, rooms=2, patients=2) for _ in range(2)]
    clients = [
        Client([scene.process.target], practice, scene.keys.token(practice.clinic)) for practice in clinics
    ]
    async with Load(clients[0], lanes=2) as first, Load(clients[1], lanes=2) as second:
        for _ in range(CUTS):
            await asyncio.gather(first.more(2), second.more(2))
            await asyncio.to_thread(query, scene.database.owner_url, CUT_SOME)
        await asyncio.gather(first.more(2), second.more(2))
    assert {*first.heard, *second.heard} <= ALLOWED, {*first.heard, *second.heard}
    # The same connections serve both clinics, in turn and at once.
    shown = await asyncio.gather(*(listed(client) for _ in range(10) for client in clients))
    for practice, load, found in zip(clinics, (first, second), shown[:2], strict=True):
        rows = query(
            scene.database.owner_url,
            "SELECT id::text FROM appointment WHERE clinic_id = %s AND start_ts_utc < %s::date + 1",
            practice.clinic,
            MONDAY,
        )
        assert found == {row[0] for row in rows}
        assert set(load.acknowledged) <= found
    assert shown == shown[:2] * 10
    for client in clients:
        await client.close()
    invariants(scene.database)


async def test_a_slow_writer_loses_no_event(scene: Scene, client: Client) -> None:
    """T11: held open for 4 s before its COMMIT, a booking delays nobody, and its event is told when it commits.

    The paper says 30 s; nothing here depends on how long, and four are enough for the others to come and go.
    """
    scene.arm(f"booking.written=2*sleep:{HELD_OPEN_S * 1_000}")
    first = (await client.create(at(8), timeout_s=20)).appointment.id

    async def is_open() -> bool:
        return query(scene.database.owner_url, IN_TRANSACTION) != [(0,)]

    rooms, providers = scene.practice.rooms, scene.practice.providers
    slow = asyncio.create_task(client.create(at(9), patient=1, room_id=rooms[0], timeout_s=20))
    await wait_until_async(is_open, what="the transaction to be held open")
    others = [
        (await client.create(at(9 + n), patient=2, room_id=rooms[1], provider_id=providers[1])).appointment.id
        for n in range(5)
    ]
    told = await scene.delivered(6)
    assert [event.aggregate_id for event in told] == [first, *others]
    assert not slow.done(), "the others were told before it committed"
    last = (await slow).appointment.id
    told = await scene.delivered(7)
    assert told[6].aggregate_id == last
    invariants(scene.database)


async def test_a_drained_process_finishes_what_it_began(scene: Scene, client: Client) -> None:
    """T51: asked to end in the middle of a booking, the process commits it, answers, and only then goes."""
    scene.arm("booking.written=1*sleep:1500")
    slow = asyncio.create_task(outcome(client.create(at(9), timeout_s=20)))

    async def is_open() -> bool:
        return query(scene.database.owner_url, IN_TRANSACTION) != [(0,)]

    await wait_until_async(is_open, what="the booking to be under way")
    scene.process.popen.terminate()
    assert await slow == "OK"
    assert await asyncio.to_thread(scene.process.popen.wait, 15) == 0
    assert query(scene.database.owner_url, "SELECT count(*) FROM appointment") == [(1,)]

"""A patient's limit against many callers at once, where the service lets the patient's visits overlap."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable
from datetime import date, timedelta
from typing import Any

import psycopg
import pytest

from scheduling import consistency
from tests.integration.booking.conftest import MakeClient, Suite
from tests.support.booking import outcome
from tests.support.invariants import deadlocks, invariants, query
from tests.support.practice import MONDAY, Practice, at
from tests.support.waiting import wait_until_async

CALLS, CALL_S = 20, 30.0
ONE_OF_ALL = {"OK": 1, "FAILED_PRECONDITION PATIENT_LIMIT": CALLS - 1}
LIMITS = [{"max_active": 1}, {"min_days_between": 5}]


@pytest.fixture(scope="module")
def process_count() -> int:
    """Two processes, so that no lock inside one of them can be what keeps order."""
    return 2


def overlapping(suite: Suite, **limit: Any) -> Practice:
    """A clinic whose patients may be in two visits at once, within a limit."""
    practice = suite.practice(
        providers=CALLS, rooms=0, patients=2, service={"allow_patient_overlap": True, "requires_room": False}
    )
    with psycopg.connect(suite.database.owner_url) as owner:
        practice.add_rule(owner, "patient_limit", **limit)
    return practice


async def all_of(calls: Iterable[Any]) -> Counter[str]:
    return Counter(await asyncio.gather(*(outcome(call) for call in calls)))


@pytest.mark.parametrize("limit", LIMITS, ids=str)
async def test_bookings_at_once_stay_within_the_limit(
    suite: Suite, make_client: MakeClient, limit: dict[str, int]
) -> None:
    """Of twenty bookings of one patient with twenty providers one is made, though nothing of the patient is claimed."""
    practice = overlapping(suite, **limit)
    client, before = make_client(practice), deadlocks(suite.database)
    found = await all_of(
        client.create(at(8 + n % 8), provider_id=provider, timeout_s=CALL_S)
        for n, provider in enumerate(practice.providers)
    )
    assert found == ONE_OF_ALL
    assert deadlocks(suite.database) == before
    invariants(suite.database)


@pytest.mark.parametrize("limit", LIMITS, ids=str)
async def test_confirmations_at_once_stay_within_the_limit(
    suite: Suite, make_client: MakeClient, limit: dict[str, int]
) -> None:
    """Of twenty holds without a patient that are confirmed for the same one, one becomes an appointment."""
    practice = overlapping(suite, **limit)
    client, before = make_client(practice), deadlocks(suite.database)
    held = [await client.hold(at(8 + n % 8), provider_id=found) for n, found in enumerate(practice.providers)]
    found = await all_of(
        client.call(
            "ConfirmHold",
            hold_id=hold.appointment.id,
            hold_token=hold.hold_token,
            patient_id=practice.patients[0],
            timeout_s=CALL_S,
        )
        for hold in held
    )
    assert found == ONE_OF_ALL
    assert deadlocks(suite.database) == before
    invariants(suite.database)


async def test_moves_at_once_stay_within_the_limit(suite: Suite, make_client: MakeClient) -> None:
    """Twenty visits lie weeks apart and all move to one week at once: one may."""
    practice = overlapping(suite, min_days_between=8)
    client, before = make_client(practice), deadlocks(suite.database)
    visits = [
        (await client.create(at(9, day=_week(n)), provider_id=provider)).appointment.id
        for n, provider in enumerate(practice.providers, 1)
    ]
    wanted = at(9, day=_week(CALLS + 2))
    found = await all_of(
        client.call("RescheduleAppointment", appointment_id=visit, start=wanted, timeout_s=CALL_S)
        for visit in visits
    )
    assert found == ONE_OF_ALL
    assert deadlocks(suite.database) == before
    invariants(suite.database)


def _week(number: int) -> date:
    return MONDAY + timedelta(days=14 * number)


async def test_a_limit_raises_the_version_of_its_patient(suite: Suite, make_client: MakeClient) -> None:
    """The token tells the patient's new version and the event carries it, so that no projection misses one."""
    practice = overlapping(suite, max_active=2)
    client = make_client(practice)
    reply = await client.create(at(9))
    version = "SELECT calendar_version FROM resource WHERE id = %s"
    [(raised,)] = query(suite.database.owner_url, version, practice.patients[0])
    assert consistency.decode(reply.consistency_token)[practice.patients[0]] == raised == 1
    payload = "SELECT payload FROM outbox_event WHERE aggregate_id = %s"
    [(event,)] = query(suite.database.owner_url, payload, reply.appointment.id)
    from medforall.events.v1 import events_pb2  # noqa: PLC0415

    told = {change.resource_id: change for change in events_pb2.Event.FromString(event).resources}
    patient = told[practice.patients[0]]
    assert (patient.kind, patient.calendar_version, len(patient.claims)) == ("patient", 1, 0)


async def test_a_placeholder_is_locked_by_nobody(suite: Suite, make_client: MakeClient) -> None:
    """Walk-ins share one patient without limits: while its row is locked they are booked all the same."""
    practice = overlapping(suite, max_active=1)
    client = make_client(practice)
    with psycopg.connect(suite.database.owner_url) as owner:
        owner.execute("UPDATE patient SET placeholder = true WHERE id = %s", (practice.patients[1],))
        owner.commit()
        owner.execute("SELECT FROM resource WHERE id = %s FOR UPDATE", (practice.patients[1],))
        found = await all_of(
            client.create(at(9), patient=1, provider_id=provider, timeout_s=CALL_S)
            for provider in practice.providers
        )
    assert found == {"OK": CALLS}


STUCK = """
SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'booking_svc'
    AND wait_event_type = 'Lock'
"""


@pytest.mark.parametrize("is_limited", [False, True], ids=["hasty", "limited"])
@pytest.mark.parametrize("service", [{}, {"allow_patient_overlap": True}], ids=["claimed", "overlapping"])
async def test_a_patient_who_goes_out_of_use_is_not_booked(
    suite: Suite, make_client: MakeClient, service: dict[str, object], is_limited: bool
) -> None:
    """A patient is put out of use between a booking's first look and its lock: the booking hears NOT_FOUND.

    Where a limit compares visits the service looks at what the locks found, else the database does.
    """
    practice = suite.practice(service=service)
    if is_limited:
        with psycopg.connect(suite.database.owner_url) as owner:
            practice.add_rule(owner, "patient_limit", max_active=3)
    client = make_client(practice)
    with psycopg.connect(suite.database.owner_url) as owner:
        owner.execute("SELECT FROM resource WHERE id = %s FOR NO KEY UPDATE", (practice.provider,))
        booking = asyncio.create_task(outcome(client.create(at(9), timeout_s=CALL_S)))

        async def waits() -> bool:
            return query(suite.database.owner_url, STUCK) == [(1,)]

        await wait_until_async(waits, what="the booking to wait for the provider")
        owner.execute("UPDATE patient SET active = false WHERE id = %s", (practice.patients[0],))
    assert await booking == "NOT_FOUND NOT_FOUND"
    assert query(suite.database.owner_url, "SELECT 1 FROM claim WHERE clinic_id = %s", practice.clinic) == []


async def test_whoever_puts_a_patient_out_of_use_sees_its_booking(
    suite: Suite, make_client: MakeClient
) -> None:
    """A change waits for a booking that has looked at its patient under the lock, and then sees the visit."""
    practice = suite.practice()
    client = make_client(practice)
    # As every change begins that bookings must see, or come before.
    change = "SELECT FROM patient WHERE id = %s FOR UPDATE"
    with (
        psycopg.connect(suite.database.owner_url) as blocker,
        psycopg.connect(suite.database.owner_url) as owner,
    ):
        # The booking's last statements wait here: its event cannot be written.
        blocker.execute("LOCK TABLE outbox_event IN SHARE MODE")
        booking = asyncio.create_task(outcome(client.create(at(9), timeout_s=CALL_S)))

        async def waits() -> bool:
            return query(suite.database.owner_url, STUCK) == [(1,)]

        await wait_until_async(waits, what="the booking to wait with its writes")
        changing = asyncio.create_task(asyncio.to_thread(owner.execute, change, (practice.patients[0],)))

        async def change_waits() -> bool:
            sql = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query = %s"
            return query(suite.database.owner_url, sql, change.replace("%s", "$1")) == [(1,)]

        await wait_until_async(change_waits, what="the change to wait for the booking")
        blocker.rollback()
        await changing
        seen = owner.execute(
            "SELECT count(*) FROM appointment WHERE patient_id = %s", (practice.patients[0],)
        ).fetchone()
        assert seen == (1,)
    assert await booking == "OK"


async def test_an_ordinary_change_of_a_patient_keeps_no_booking_waiting(
    suite: Suite, make_client: MakeClient
) -> None:
    """While another transaction, such as a long import, has changed the patient, the patient is booked all the same."""
    practice = suite.practice()
    client = make_client(practice)
    with psycopg.connect(suite.database.owner_url) as owner:
        owner.execute("UPDATE patient SET version = version + 1 WHERE id = %s", (practice.patients[0],))
        assert await outcome(client.create(at(9), timeout_s=CALL_S)) == "OK"
        owner.commit()

"""Claims that somebody writes without the lock: the booking that meets them leaves nothing and is judged again."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, time, timedelta

import psycopg
from psycopg.types.range import TimestamptzRange

from tests.integration.booking.conftest import MakeClient, Suite
from tests.support.booking import outcome
from tests.support.clinic_rows import insert
from tests.support.invariants import query
from tests.support.practice import MONDAY, at, new_id
from tests.support.waiting import wait_until_async

_WAITING = """
SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'
    AND query LIKE '%%INSERT INTO claim%%'
"""
_WRITTEN = "SELECT count(*) FROM {} WHERE clinic_id = %s"


async def test_a_booking_whose_claim_is_gone_at_the_last_moment_is_judged_again(
    suite: Suite, make_client: MakeClient
) -> None:
    """A claim committed without the lock between judging and writing leaves no half booking, and is answered a 409."""
    practice = suite.practice()
    client = make_client(practice)
    start = datetime.combine(MONDAY, time(9), UTC)
    end = start + timedelta(minutes=30)
    with psycopg.connect(suite.database.owner_url) as owner:
        insert(
            owner, "claim", clinic_id=practice.clinic, resource_id=practice.provider, unit=1, starts_at=start,
            ends_at=end, during=TimestamptzRange(start, end, "[)"), appointment_id=new_id(),
        )  # fmt: skip
        booking = asyncio.create_task(outcome(client.create(at(9))))

        async def waits() -> bool:
            return query(suite.database.owner_url, _WAITING) == [(1,)]

        await wait_until_async(waits, what="the booking to wait for the claim")
        owner.commit()
    assert await booking == "ALREADY_EXISTS SLOT_ALREADY_BOOKED"
    for table in ("appointment", "appointment_ref", "outbox_event", "audit_event"):
        assert query(suite.database.owner_url, _WRITTEN.format(table), practice.clinic) == [(0,)], table
    assert query(suite.database.owner_url, _WRITTEN.format("claim"), practice.clinic) == [(1,)]
    assert await outcome(client.create(at(10))) == "OK"

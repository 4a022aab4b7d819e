"""Changes of rules and calls about single visits lock the same rows in the same order."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import psycopg
from google.protobuf.field_mask_pb2 import FieldMask
from medforall.directory.v1 import directory_types_pb2 as types

from tests.integration.directory.conftest import Directory, Suite
from tests.integration.directory.test_displacement import book
from tests.support.booking import outcome
from tests.support.invariants import deadlocks, invariants, query
from tests.support.practice import MONDAY, Practice, at
from tests.support.waiting import wait_until_async

ROUNDS = 8
WAITING = """SELECT count(*) FROM pg_stat_activity
             WHERE datname = current_database() AND wait_event_type = 'Lock'"""


async def wait_for_waiting(suite: Suite, count: int) -> None:
    """Until so many calls wait for a lock."""

    async def are_waiting() -> bool:
        return bool(query(suite.database.owner_url, WAITING)[0][0] >= count)

    await wait_until_async(are_waiting, timeout_s=10, what=f"{count} calls that wait for a lock")


async def count_by(directory: Directory, rule: types.ServiceRule, scope: str) -> str:
    """Let a limit count the visits of a service, or of each provider."""
    rule.rule_payload.update({"max_per_day": 50, "scope": scope})
    return await outcome(
        directory.call(
            "UpdateServiceRule",
            service_rule_id=rule.id,
            service_rule=rule,
            update_mask=FieldMask(paths=["rule_payload"]),
        )
    )


async def test_a_limit_changes_while_visits_come_and_go(
    directory: Directory, practice: Practice, suite: Suite
) -> None:
    """A limit goes back to a quota that a visit under way holds, while this ends and another is booked: no deadlock.

    Everybody is made to wait in turn: the change at a visit's row, with what it locked before; the end of the other
    visit at that; a booking at the directory. Whether the quota's row comes before or after the provider's is chance,
    so a rule is made anew each round.
    """
    counted = deadlocks(suite.database)
    for round_ in range(ROUNDS):
        day = MONDAY + timedelta(days=round_)
        coming = await book(directory, practice, 9, start=at(9, day=day))
        here = await book(directory, practice, 12, start=at(12, day=day))
        rule = types.ServiceRule(service_id=practice.service, rule_type="max_daily")
        rule.rule_payload.update({"max_per_day": 50, "scope": "service"})
        rule = (await directory.call("CreateServiceRule", service_rule=rule)).service_rule
        await directory.booking("CheckInAppointment", appointment_id=here.id)
        assert await count_by(directory, rule, "provider") == "OK"
        with psycopg.connect(suite.database.owner_url) as owner:
            owner.execute("SELECT FROM appointment_ref WHERE id = %s FOR UPDATE", (coming.id,))
            change = asyncio.create_task(count_by(directory, rule, "service"))
            await wait_for_waiting(suite, 1)
            end = directory.booking("MarkNoShow", appointment_id=here.id)
            calls = [asyncio.create_task(outcome(end))]
            await wait_for_waiting(suite, 2)
            other = book(directory, practice, 15, start=at(15, day=day))
            calls.append(asyncio.create_task(outcome(other)))
            await wait_for_waiting(suite, 3)
        assert await asyncio.gather(change, *calls) == ["OK", "OK", "OK"]
        await directory.call("DeactivateServiceRule", service_rule_id=rule.id)
    assert deadlocks(suite.database) == counted
    invariants(suite.database)

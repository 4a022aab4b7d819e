"""Overrides of soft rules by staff, through gRPC on PostgreSQL."""

from __future__ import annotations

import grpc.aio
import psycopg
import pytest

from tests.integration.booking.conftest import MakeClient, Suite
from tests.support.booking import code_of, details_of, outcome
from tests.support.invariants import query
from tests.support.practice import at


async def test_staff_may_override_soft_rules_with_a_reason(suite: Suite, make_client: MakeClient) -> None:
    """Off the grid and over the limit with a reason: visible, audited, and never against a claim."""
    practice = suite.practice(rooms=2)
    with psycopg.connect(suite.database.owner_url) as owner:
        practice.add_rule(owner, "max_daily", max_per_day=1, scope="service")
    client = make_client(practice)
    await client.create(at(9))
    assert await outcome(client.create(at(10, 7))) == "FAILED_PRECONDITION OFF_GRID"
    visit = (await client.create(at(10, 7), override_reason="emergency")).appointment
    assert visit.override.reason == "emergency"
    assert visit.override.by == "tester"
    assert set(visit.override.rules) == {"OFF_GRID", "MAX_DAILY_REACHED"}
    assert (
        await outcome(client.create(at(10, 7), patient=1, override_reason="x"))
        == "ALREADY_EXISTS SLOT_ALREADY_BOOKED"
    )
    without = make_client(practice, scopes=("write:appointments",))
    assert (
        await outcome(without.create(at(12, 7), override_reason="x")) == "PERMISSION_DENIED PERMISSION_DENIED"
    )
    audit = query(
        suite.database.owner_url,
        "SELECT after -> 'override' ->> 'by' FROM audit_event WHERE entity_id = %s",
        visit.id,
    )
    assert audit == [("tester",)]


@pytest.mark.parametrize(
    "blank", [" ", " \t\n", "\u00a0", "\u2003\u3000", "\u200b\ufeff", "\u3164\u2800"], ids=ascii
)
async def test_an_override_needs_a_reason_that_says_something(
    suite: Suite, make_client: MakeClient, blank: str
) -> None:
    """A reason of blanks of whatever script is malformed in every call that takes one: nothing is booked or moved."""
    practice = suite.practice()
    client = make_client(practice)
    visit = (await client.create(at(9))).appointment
    move = {"appointment_id": visit.id, "start": at(10, 7), "override_reason": blank}
    for call in (
        client.create(at(10, 7), patient=1, override_reason=blank),
        client.hold(at(10, 7), override_reason=blank),
        client.call("RescheduleAppointment", **move),
        client.call("UpdateAppointment", **move),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await call
        assert code_of(refused.value) == "INVALID_ARGUMENT"
        fields = [violation.field for violation in details_of(refused.value)["BadRequest"].field_violations]
        assert fields == ["override_reason"]
    sql = "SELECT id::text, version FROM appointment WHERE clinic_id = %s"
    assert query(suite.database.owner_url, sql, practice.clinic) == [(visit.id, 1)]

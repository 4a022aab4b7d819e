"""What PostgreSQL asks to be tried again is tried again, a few times; and what a refusal tells nobody."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import grpc.aio
import psycopg
import pytest
from psycopg import sql

from tests.integration.booking.conftest import MakeClient, Suite
from tests.support.booking import outcome, reason_of
from tests.support.invariants import invariants, query
from tests.support.practice import Practice, at

_TROUBLE = """
CREATE SEQUENCE {name};
CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    IF nextval({text}) <= {times} THEN RAISE EXCEPTION USING ERRCODE = {code}; END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER {name} AFTER INSERT ON appointment_ref FOR EACH ROW WHEN (NEW.clinic_id = {clinic})
    EXECUTE FUNCTION {name}();
"""


@pytest.fixture(scope="module")
def process_count() -> int:
    """One of its own: what it has counted is looked at."""
    return 1


@contextmanager
def trouble(suite: Suite, practice: Practice, code: str, times: int) -> Iterator[str]:
    """The clinic's first `times` bookings fail with this SQLSTATE; yields the sequence that counts them."""
    name = f"trouble_{code.lower()}_{times}"
    parts = {
        "name": sql.Identifier(name),
        "text": sql.Literal(name),
        "times": sql.Literal(times),
        "code": sql.Literal(code),
        "clinic": sql.Literal(practice.clinic),
    }
    with psycopg.connect(suite.database.owner_url, autocommit=True) as owner:
        owner.execute(sql.SQL(_TROUBLE).format(**parts))
        yield name
        owner.execute(sql.SQL("DROP TRIGGER {name} ON appointment_ref").format(name=parts["name"]))


def tries(suite: Suite, name: str) -> int:
    found: int = query(suite.database.owner_url, f"SELECT last_value FROM {name}")[0][0]
    return found


@pytest.mark.parametrize("code", ["40P01", "40001"])
async def test_deadlocks_and_serialization_failures_are_retried(
    suite: Suite, make_client: MakeClient, code: str
) -> None:
    """A booking that fails three times as a victim succeeds the fourth time, once, and the retries are counted."""
    practice = suite.practice()
    client = make_client(practice)
    with trouble(suite, practice, code, 3) as name:
        assert await outcome(client.create(at(9))) == "OK"
    assert tries(suite, name) == 4
    assert f'booking_retries_total{{sqlstate="{code}"}} 3.0' in suite.processes[0].metrics()
    events = query(
        suite.database.owner_url, "SELECT count(*) FROM outbox_event WHERE clinic_id = %s", practice.clinic
    )
    assert events == [(1,)]
    invariants(suite.database)


async def test_retries_end(suite: Suite, make_client: MakeClient) -> None:
    """A booking that would always be the victim is given up after three retries, and nothing of it is left."""
    practice = suite.practice()
    client = make_client(practice)
    with trouble(suite, practice, "40P01", 1_000) as name:
        assert await outcome(client.create(at(9))) == "ABORTED CONCURRENT_BOOKING"
    assert tries(suite, name) == 4
    for table in ("appointment", "claim", "outbox_event", "idempotency_key"):
        sql_text = f"SELECT count(*) FROM {table} WHERE clinic_id = %s"
        assert query(suite.database.owner_url, sql_text, practice.clinic) == [(0,)], table
    assert await outcome(client.create(at(9))) == "OK"


async def test_refusals_tell_nothing_of_other_patients(suite: Suite, make_client: MakeClient) -> None:
    """Whatever is taken, the status names neither who has it nor the appointment, nor what was written of it."""
    practice = suite.practice(providers=2, rooms=1)
    with psycopg.connect(suite.database.owner_url) as owner:
        practice.add_equipment(owner, "laser", 1)
        practice.add_rule(owner, "required_equipment_type", equipment_type="laser", min_units=1)
    client = make_client(practice)
    theirs = (await client.create(at(9), notes="canary-note", patient=0)).appointment
    with psycopg.connect(suite.database.owner_url) as owner:
        practice.add_room(owner)
    heard = set()
    for wish in (
        {"provider_id": practice.providers[0]},
        {"provider_id": practice.providers[1], "room_id": practice.rooms[0]},
        {"provider_id": practice.providers[1], "room_id": practice.rooms[1]},
    ):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await client.create(at(9), patient=1, **wish)
        heard.add(reason_of(refused.value))
        told = (
            b"".join(
                value if isinstance(value, bytes) else value.encode()
                for _, value in refused.value.trailing_metadata() or ()
            )
            + (refused.value.details() or "").encode()
        )
        for secret in (practice.patients[0], theirs.id, "canary-note"):
            assert secret.encode() not in told
    assert heard == {"SLOT_ALREADY_BOOKED", "ROOM_ALREADY_BOOKED", "EQUIPMENT_UNAVAILABLE"}

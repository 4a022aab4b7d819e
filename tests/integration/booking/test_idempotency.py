"""One key, one effect: repeated, concurrent, reused and refused calls."""

from __future__ import annotations

import asyncio
from collections import Counter

import grpc.aio
import psycopg
import pytest

from tests.integration.booking.conftest import MakeClient, Suite
from tests.support.booking import code_of, details_of, outcome, reason_of
from tests.support.invariants import invariants, query
from tests.support.practice import at, new_id


def count(suite: Suite, table: str, clinic: str) -> int:
    found: int = query(
        suite.database.owner_url, f"SELECT count(*) FROM {table} WHERE clinic_id = %s", clinic
    )[0][0]
    return found


async def test_fifty_calls_with_one_key_book_once(suite: Suite, make_client: MakeClient) -> None:
    """T05: fifty concurrent calls with one key make one row and one event, and get one answer."""
    practice = suite.practice()
    client = make_client(practice)
    key = new_id()
    replies = await asyncio.gather(
        *(client.create(at(9), idempotency_key=key, timeout_s=20) for _ in range(50))
    )
    assert len({reply.appointment.SerializeToString() for reply in replies}) == 1
    assert Counter(reply.replayed for reply in replies) == {False: 1, True: 49}
    assert count(suite, "appointment", practice.clinic) == 1
    assert count(suite, "outbox_event", practice.clinic) == 1
    invariants(suite.database)


async def test_the_header_is_as_good_as_the_field(suite: Suite, make_client: MakeClient) -> None:
    """A key in the Idempotency-Key header works like one in the request."""
    practice = suite.practice()
    client = make_client(practice)
    client.metadata.append(("idempotency-key", new_id()))
    first = await client.create(at(9), idempotency_key="")
    second = await client.create(at(9), idempotency_key="")
    assert second.replayed
    assert second.appointment == first.appointment


async def test_a_reused_key_is_refused_and_writes_nothing(suite: Suite, make_client: MakeClient) -> None:
    """T06: the same key with another body is refused with IDEMPOTENCY_KEY_REUSED."""
    practice = suite.practice()
    client = make_client(practice)
    key = new_id()
    await client.create(at(9), idempotency_key=key)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await client.create(at(10), idempotency_key=key)
    assert (code_of(refused.value), reason_of(refused.value)) == (
        "FAILED_PRECONDITION",
        "IDEMPOTENCY_KEY_REUSED",
    )
    assert count(suite, "appointment", practice.clinic) == 1


async def test_a_refusal_is_an_answer_too(suite: Suite, make_client: MakeClient) -> None:
    """A conflict is stored with its alternatives and told again, even when the slot has become free."""
    practice = suite.practice(rooms=2)
    client = make_client(practice)
    taken = (await client.create(at(9))).appointment
    key = new_id()

    async def refusal() -> grpc.aio.AioRpcError:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await client.create(at(9), patient=1, idempotency_key=key)
        return refused.value

    first = await refusal()
    await client.call("CancelAppointment", appointment_id=taken.id)
    second = await refusal()
    assert reason_of(first) == reason_of(second) == "SLOT_ALREADY_BOOKED"
    assert details_of(first)["BookingConflict"] == details_of(second)["BookingConflict"]
    assert details_of(second)["ErrorInfo"].metadata["replayed"] == "true"
    assert await outcome(client.create(at(9), patient=1)) == "OK"


async def test_malformed_calls_are_not_remembered(suite: Suite, make_client: MakeClient) -> None:
    """A call refused as malformed leaves no key behind."""
    practice = suite.practice()
    client = make_client(practice)
    key = new_id()
    assert await outcome(client.create("2026-13-01T09:00", idempotency_key=key)) == (
        "INVALID_ARGUMENT INVALID_ARGUMENT"
    )
    assert count(suite, "idempotency_key", practice.clinic) == 0
    assert await outcome(client.create(at(9), idempotency_key=key)) == "OK"


async def test_a_call_that_still_runs_is_not_waited_for_long(suite: Suite, make_client: MakeClient) -> None:
    """While another transaction holds the key, the caller hears IDEMPOTENCY_IN_PROGRESS after two seconds."""
    practice = suite.practice()
    client = make_client(practice)
    key = new_id()
    with psycopg.connect(suite.database.owner_url) as owner:
        owner.execute(
            """INSERT INTO idempotency_key (clinic_id, principal, method, key, fingerprint)
               VALUES (%s, 'tester', 'CreateAppointment', %s, %s)""",
            (practice.clinic, key, b"f" * 32),
        )
        began = asyncio.get_running_loop().time()
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await client.create(at(9), idempotency_key=key)
        waited_s = asyncio.get_running_loop().time() - began
        owner.rollback()
    assert (code_of(refused.value), reason_of(refused.value)) == ("ABORTED", "IDEMPOTENCY_IN_PROGRESS")
    assert details_of(refused.value)["RetryInfo"].retry_delay.seconds == 1
    assert 1.5 < waited_s < 5
    assert await outcome(client.create(at(9), idempotency_key=key)) == "OK"


async def test_keys_belong_to_their_caller_and_method(suite: Suite, make_client: MakeClient) -> None:
    """Two callers, or two methods, may use the same key for different things."""
    practice = suite.practice(rooms=2)
    first, second = make_client(practice), make_client(practice, subject="another")
    key = new_id()
    created = (await first.create(at(9), idempotency_key=key)).appointment
    other = await second.create(at(10), patient=1, idempotency_key=key)
    assert not other.replayed
    canceled = await first.call("CancelAppointment", appointment_id=created.id, idempotency_key=key)
    assert not canceled.replayed


async def test_stored_answers_are_ciphertext(suite: Suite, make_client: MakeClient) -> None:
    """Neither notes nor reasons are readable in the database."""
    practice = suite.practice()
    client = make_client(practice)
    visit = (await client.create(at(9), notes="canary-note")).appointment
    await client.call("CancelAppointment", appointment_id=visit.id, reason="canary-reason")
    for table in ("idempotency_key", "appointment", "outbox_event", "audit_event"):
        dump = query(
            suite.database.owner_url, f"SELECT t::text FROM {table} t WHERE clinic_id = %s", practice.clinic
        )
        text = " ".join(row[0] for row in dump)
        raw = bytes.fromhex(
            "".join(
                part
                for part in text.replace("\\x", " ").split()
                if len(part) % 2 == 0 and all(c in "0123456789abcdef" for c in part)
            )
        )
        assert "canary" not in text
        assert b"canary" not in raw

"""`medforall outbox`: what waits, what is parked, and sending again."""

from __future__ import annotations

import nats
import psycopg
from medforall.events.v1 import events_pb2

from tests.integration.booking.conftest import MakeClient, Suite
from tests.support.command import medforall
from tests.support.invariants import query
from tests.support.practice import at, new_id
from tests.support.waiting import wait_until_async


def run(suite: Suite, *arguments: str) -> str:
    """The command's output, run as the workers' role."""
    environment = {
        "MEDFORALL_WORKER_DATABASE_URL": suite.database.worker_url,
        "MEDFORALL_NATS_URL": suite.nats_url,
    }
    done = medforall("outbox", *arguments, environment=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


async def test_published_events_are_sent_again_to_projections(suite: Suite, make_client: MakeClient) -> None:
    """`republish --since` sends a clinic's events on a subject of their own, each time it is asked."""
    practice = suite.practice()
    client = make_client(practice)
    visit = (await client.create(at(9))).appointment
    waiting = "SELECT count(*) FROM outbox_event WHERE clinic_id = %s AND published_at IS NULL"

    async def published() -> bool:
        return query(suite.database.owner_url, waiting, practice.clinic) == [(0,)]

    await wait_until_async(published)
    for _ in range(2):
        assert "1 events sent again" in run(suite, "republish", "--since", "1h", "--clinic", practice.clinic)
    connection = await nats.connect(suite.nats_url)
    try:
        subscription = await connection.jetstream().subscribe(
            f"medforall.republish.{practice.clinic}.>", ordered_consumer=True
        )
        events = [
            events_pb2.Event.FromString((await subscription.next_msg(timeout=5)).data) for _ in range(2)
        ]
    finally:
        await connection.close()
    assert [event.aggregate_id for event in events] == [visit.id] * 2


async def test_parked_events_are_shown_and_redriven(suite: Suite) -> None:
    """`status` names a parked event and why; `redrive` lets it be tried again."""
    practice = suite.practice()
    event_id = new_id()
    with psycopg.connect(suite.database.owner_url) as owner:
        owner.execute(
            """INSERT INTO outbox_event (event_id, clinic_id, aggregate_type, aggregate_id, aggregate_version,
                   event_type, payload, attempts, parked_at, last_error)
               VALUES (%s, %s, 'appointment', %s, 1, 'appointment.updated', '', 10, now(), 'too large')""",
            (event_id, practice.clinic, new_id()),
        )
    shown = run(suite, "status")
    assert "1 are parked" in shown
    assert "too large" in shown.replace("\n", " ")
    assert "1 events will be tried again" in run(suite, "redrive", "--event", event_id)
    sql = "SELECT published_at IS NOT NULL FROM outbox_event WHERE event_id = %s"

    async def published() -> bool:
        return query(suite.database.owner_url, sql, event_id) == [(True,)]

    await wait_until_async(published)

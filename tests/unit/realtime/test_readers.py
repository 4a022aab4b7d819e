"""The sending side of a gRPC subscriber: what a reset in the middle of catching up leaves behind."""

from __future__ import annotations

import asyncio

import pytest
from medforall.realtime.v1 import realtime_pb2 as wire

from chassis.metrics import Metrics
from realtime_svc.hub import Hub
from realtime_svc.instruments import Instruments
from realtime_svc.readers import Outbox, SubscriberReader
from scheduling.channels import Viewer
from scheduling.positions import Position, Source
from tests.support.realtime import Clinic, Visit


async def test_a_reset_that_overtakes_what_was_missed_leaves_the_reader_live() -> None:
    """It is told to begin anew, once, hears nothing of the old streams after that, and all of the new ones."""
    clinic, hub = Clinic(), Hub(Instruments(Metrics()))
    hub.begin(Position(500, 20, 0, "old"))
    reader = SubscriberReader(Viewer(role="admin", clinic_id=clinic.id), 1 << 20)
    joined_at = hub.join(reader, clinic.id, [f"clinic:{clinic.id}"])
    hub.accept(Source.APPOINTMENTS, 501, Visit(clinic).event().SerializeToString())
    missed = hub.recent.since(Position(500, 20, 0, "old"), clinic.id)
    hub.begin(Position(0, 0, 0, "new"))
    await reader.send_again(missed or [], Position(400, 20, 0, "old"))
    reader.resync(joined_at, wire.RESYNC_REASON_TOO_MUCH)
    reader.go_live(joined_at)
    hub.accept(Source.APPOINTMENTS, 1, Visit(clinic).event().SerializeToString())
    reader.outbox.end()
    # What waits is dropped at the end: the reader stands where the last item that it was given put it.
    assert str(reader.position) == "1-0~new"
    assert missed


async def test_readers_are_told_when_the_streams_have_lost_their_end() -> None:
    """The streams are the same, but stand further back: what comes next has sequences that were passed before."""
    clinic, hub = Clinic(), Hub(Instruments(Metrics()))
    hub.begin(Position(0, 0, 0, "same"))
    reader = SubscriberReader(Viewer(role="admin", clinic_id=clinic.id), 1 << 20)
    reader.go_live(hub.join(reader, clinic.id, [f"clinic:{clinic.id}"]))
    visit = Visit(clinic)
    for sequence in range(1, 11):
        hub.accept(Source.APPOINTMENTS, sequence, visit.event().SerializeToString())
    hub.begin(Position(6, 0, 0, "same"))
    hub.accept(Source.APPOINTMENTS, 7, Visit(clinic).event().SerializeToString())
    items = reader.outbox.items(60, wire.SubscribeResponse)
    kinds = [(await anext(items)).WhichOneof("item") for _ in range(12)]
    assert kinds == ["message"] * 10 + ["resync", "message"]


@pytest.mark.parametrize("turns", range(6))
async def test_a_reader_that_is_cancelled_as_something_comes_ends(turns: int) -> None:
    """No cancellation is forgotten, however many turns of the loop lie between what is put and it."""
    outbox: Outbox[wire.ConnectResponse] = Outbox(1_000)

    async def read() -> None:
        async for _ in outbox.items(60, wire.ConnectResponse):
            pass

    reading = asyncio.create_task(read())
    for _ in range(3):
        await asyncio.sleep(0)
    outbox.put(wire.ConnectResponse())
    for _ in range(turns):
        await asyncio.sleep(0)
    reading.cancel()
    await asyncio.wait([reading], timeout=5)
    assert reading.cancelled()

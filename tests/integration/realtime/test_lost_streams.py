"""Streams that come back without their end, as after a restore from a backup: everybody is told to fetch again."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import grpc.aio
import pytest
from medforall.realtime.v1 import realtime_pb2_grpc

from ctl.embedded import start_server
from tests.support.directory_events import directory_event
from tests.support.realtime import Client, Clinic, RealtimeSuite, Visit, joined

from .test_streams import item, subscribe


@pytest.fixture
def suite(tmp_path: Path, redis_url: str) -> Iterator[RealtimeSuite]:
    """A suite whose NATS this test alone stops."""
    made = RealtimeSuite(tmp_path, redis_url)
    try:
        made.start()
        yield made
    finally:
        made.stop()


@pytest.fixture
async def stub(suite: RealtimeSuite) -> AsyncIterator[Any]:
    """A client of realtime_svc."""
    async with grpc.aio.insecure_channel(suite.realtime_target) as channel:
        yield realtime_pb2_grpc.RealtimeServiceStub(channel)


async def published(suite: RealtimeSuite, clinic: Clinic, count: int) -> list[str]:
    """New visits of a clinic; their ids."""
    visits = [Visit(clinic) for _ in range(count)]
    async with suite.events() as events:
        for visit in visits:
            await events.publish(visit.event())
    return [visit.id for visit in visits]


async def told(reader: Client, count: int) -> list[str]:
    """The ids of the next visits that a client hears of."""
    return [(await reader.hear(timeout_s=60))["payload"]["appointmentId"] for _ in range(count)]


async def told_until(call: Any, visit_id: str) -> list[str]:
    """What a subscriber hears until a visit: ids of visits, and the word `resync`."""
    heard: list[str] = []
    while visit_id not in heard:
        kind = (next_item := await item(call)).WhichOneof("item")
        if kind != "position":
            heard.append(next_item.message.appointment.appointment_id or str(kind))
    return heard


async def test_streams_restored_from_a_backup_are_told_to_everybody(
    suite: RealtimeSuite, clinic: Clinic, stub: Any, tmp_path: Path
) -> None:
    """Who is connected gets `resync` and then all that is new; who resumes from a lost position gets it as well."""
    token, channel = suite.token(clinic_id=clinic.id), f"clinic:{clinic.id}"
    kept, backup = tmp_path / "nats", tmp_path / "backup"
    async with joined(suite, token, channel) as reader:
        call = subscribe(stub, suite, clinic)
        assert (await item(call)).WhichOneof("item") == "position"
        old = await published(suite, clinic, 3)
        assert await told(reader, 3) == old
        suite.end("nats")
        shutil.copytree(kept, backup)
        suite.processes["nats"] = start_server(suite.nats)
        lost = await published(suite, clinic, 5)
        assert await told(reader, 5) == lost
        position = reader.received[-1]["metadata"]["sequence"]
        suite.end("nats")
        shutil.rmtree(kept)
        shutil.copytree(backup, kept)
        suite.processes["nats"] = start_server(suite.nats)
        resync = await reader.hear("resync", timeout_s=60)
        assert resync["payload"]["reason"] == "streams_reset"
        async with joined(suite, token, channel, resume_from=position) as late:
            assert [message["type"] for message in late.received] == ["authenticated", "resync", "subscribed"]
            new = await published(suite, clinic, 2)
            assert await told(late, 2) == new
        assert await told(reader, 2) == new
        assert await told_until(call, new[-1]) == [*old, *lost, "resync", *new]
        call.cancel()


async def test_after_a_restart_both_streams_are_told_in_the_order_of_time(
    suite: RealtimeSuite, clinic: Clinic, stub: Any
) -> None:
    """A new realtime_svc tells visits and changes of the directory as they alternated, not stream by stream."""
    call = subscribe(stub, suite, clinic)
    position = (await item(call)).position
    call.cancel()
    happened = [
        event for _ in range(10) for event in (Visit(clinic).event(), directory_event(clinic, "patient"))
    ]
    async with suite.events() as events:
        for event in happened:
            await events.publish(event)
    suite.end("realtime_svc")
    suite.restart("realtime_svc")
    suite.processes["realtime_svc"].wait_ready()
    again = subscribe(stub, suite, clinic, position)
    assert [(await item(again)).message.event_id for _ in happened] == [event.event_id for event in happened]
    assert suite.metric("realtime_svc", "realtime_replays_total", result="memory") == 1
    assert suite.metric("realtime_svc", "realtime_event_age_seconds_count") == 0
    again.cancel()

"""Everything is bounded: who asks too much, reads too slowly or comes too late is told so, and can go on."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any
from uuid import uuid4

import grpc
import grpc.aio
import httpx
import pytest
from medforall.realtime.v1 import realtime_pb2_grpc

from chassis.auth.principal import Role
from tests.support.realtime import Clinic, Events, RealtimeSuite, Visit, client, joined
from tests.support.waiting import wait_until, wait_until_async

from .test_streams import item, subscribe
from .test_websocket import closed

_CONNECTIONS_MAX = 8
_USER_CONNECTIONS_MAX = 4
_SETTINGS = {
    "MEDFORALL_REALTIME_CONNECTIONS_MAX": str(_CONNECTIONS_MAX),
    "MEDFORALL_REALTIME_USER_CONNECTIONS_MAX": str(_USER_CONNECTIONS_MAX),
    "MEDFORALL_REALTIME_CLINIC_CHANNELS_MAX": "100",
    "MEDFORALL_REALTIME_RESUME_MESSAGES_MAX": "5",
    "MEDFORALL_REALTIME_SUBSCRIBER_BYTES_MAX": "65536",
    "MEDFORALL_REALTIME_QUEUE_BYTES_MAX": "65536",
}


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory, redis_url: str) -> Iterator[RealtimeSuite]:
    """A suite with narrow bounds."""
    made = RealtimeSuite(Path(tmp_path_factory.mktemp("limits")), redis_url, _SETTINGS)
    try:
        made.start()
        yield made
    finally:
        made.stop()


async def test_who_missed_too_much_is_told_to_fetch_again(
    suite: RealtimeSuite, events: Events, clinic: Clinic
) -> None:
    """More than is sent again gives `resync`, and the connection is live from there."""
    token, channel = suite.token(clinic_id=clinic.id), f"clinic:{clinic.id}"
    async with joined(suite, token, channel) as reader:
        position = reader.received[-1]["metadata"]["sequence"]
    for _ in range(6):
        await events.publish(Visit(clinic).event())
    async with joined(suite, token, channel, resume_from=position) as reader:
        assert [message["type"] for message in reader.received] == ["authenticated", "resync", "subscribed"]
        assert reader.received[1]["payload"]["reason"] == "too_much_missed"
        visit = Visit(clinic)
        await events.publish(visit.event())
        assert (await reader.hear())["payload"]["appointmentId"] == visit.id


@pytest.fixture
async def narrow_stub(suite: RealtimeSuite) -> AsyncIterator[Any]:
    """A client of realtime_svc whose connection takes no more than it must before it is read."""
    options = [("grpc.http2.bdp_probe", 0), ("grpc.http2.lookahead_bytes", 16_384)]
    async with grpc.aio.insecure_channel(suite.realtime_target, options=options) as channel:
        yield realtime_pb2_grpc.RealtimeServiceStub(channel)


async def test_a_subscriber_that_reads_too_slowly_is_ended_and_resumes(
    suite: RealtimeSuite, events: Events, clinic: Clinic, narrow_stub: Any
) -> None:
    """gRPC ends it with RESOURCE_EXHAUSTED after what was sent; nothing is kept for it without bound."""
    call = subscribe(narrow_stub, suite, clinic)
    position = (await item(call)).position
    for _ in range(1_500):
        await events.publish(Visit(clinic).event())
    heard: list[str] = []
    with pytest.raises(grpc.aio.AioRpcError) as end:
        await _read_all(call, heard)
    assert end.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert suite.metric("realtime_svc", "realtime_dropped_total", reason="overloaded") == 1
    assert len(heard) < 1_500
    position = heard[-1] if heard else position
    again = subscribe(narrow_stub, suite, clinic, position)
    assert (await item(again)).WhichOneof("item") == "resync"
    again.cancel()


async def _read_all(call: Any, heard: list[str]) -> None:
    async with asyncio.timeout(30):
        while (read := await call.read()) is not grpc.aio.EOF:
            if read.HasField("message"):
                heard.append(read.message.id)


async def test_an_event_stream_that_is_not_read_is_closed_with_the_reason(
    suite: RealtimeSuite, events: Events, clinic: Clinic
) -> None:
    """SSE keeps at most its bound for a client, then says 4413 and ends; what was told before is whole."""
    stuck = socket.socket()
    stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    stuck.settimeout(15)
    stuck.connect(("127.0.0.1", suite.http_port))
    token = suite.token(clinic_id=clinic.id)
    head = f"GET /v1/realtime/sse?clinicId={clinic.id} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
    stuck.sendall(f"{head}Authorization: Bearer {token}\r\n\r\n".encode())
    body = await asyncio.to_thread(stuck.recv, 1_024)
    for _ in range(1_200):
        await events.publish(Visit(clinic).event())
        if "sse.slow_reader" in suite.log("gateway"):
            break
    await asyncio.to_thread(
        wait_until, lambda: "sse.slow_reader" in suite.log("gateway"), what="the gateway to notice"
    )
    while chunk := await asyncio.to_thread(stuck.recv, 65_536):
        body += chunk
    stuck.close()
    assert b"event: appointment.created" in body
    assert body.rstrip().endswith(
        b'data: {"type":"closed","payload":{"code":4413,"reason":"reader too slow"}}\n\n\r\n0'
    )


async def test_a_full_gateway_refuses_with_a_code_that_means_come_again(
    suite: RealtimeSuite, clinic: Clinic
) -> None:
    """One connection too many gets UNAVAILABLE and 1013, not a code that says its token is bad."""
    token = suite.token(clinic_id=clinic.id)
    async with AsyncExitStack() as stack:
        for number in range(_CONNECTIONS_MAX + 1):
            last = await stack.enter_async_context(client(suite))
            await last.say(
                type="authenticate", token=suite.token(clinic_id=clinic.id, subject=f"user-{number}")
            )
            answer = await last.hear()
            if answer["type"] == "error":
                break
        assert answer["payload"]["error"] == "UNAVAILABLE"
        assert await closed(last) == 1013

    async def is_let_in() -> bool:
        async with client(suite) as new:
            await new.say(type="authenticate", token=token)
            return bool((await new.hear())["type"] == "authenticated")

    await wait_until_async(is_let_in, what="a free place")


async def test_one_user_has_a_bounded_number_of_connections(suite: RealtimeSuite, clinic: Clinic) -> None:
    """One too many is told so, closed with 4409 or answered 429; another user, and the same one later, is let in."""
    ann, bob = (suite.token(clinic_id=clinic.id, subject=name) for name in ("ann", "bob"))
    async with AsyncExitStack() as stack:
        for _ in range(_USER_CONNECTIONS_MAX):
            await stack.enter_async_context(joined(suite, ann, f"clinic:{clinic.id}"))
        async with client(suite) as one_more:
            await one_more.say(type="authenticate", token=ann)
            assert (await one_more.hear("error"))["payload"]["error"] == "RATE_LIMIT_EXCEEDED"
            assert await closed(one_more) == 4409
        async with httpx.AsyncClient(trust_env=False) as http:
            url = f"{suite.http_url}/v1/realtime/sse?clinicId={clinic.id}"
            assert (await http.get(url, headers={"authorization": f"Bearer {ann}"})).status_code == 429
        async with joined(suite, bob, f"clinic:{clinic.id}"):
            pass

    async def is_let_in() -> bool:
        async with client(suite) as new:
            await new.say(type="authenticate", token=ann)
            return bool((await new.hear())["type"] == "authenticated")

    await wait_until_async(is_let_in, what="a free place")


async def test_a_clinic_listens_to_a_bounded_number_of_channels(suite: RealtimeSuite, clinic: Clinic) -> None:
    """What goes beyond is refused and the connection goes on; channels that somebody has joined are joined by more."""
    token = suite.token(clinic_id=clinic.id)
    first, more = ([f"provider:{uuid4()}" for _ in range(60)] for _ in range(2))
    async with joined(suite, token, *first), joined(suite, token, *first) as reader:
        await reader.say(type="subscribe", channels=more[:40])
        assert (await reader.hear())["type"] == "subscribed"
        async with client(suite) as late:
            await late.say(type="authenticate", token=token)
            await late.hear("authenticated")
            await late.say(type="subscribe", channels=more)
            assert (await late.hear())["payload"]["error"] == "RATE_LIMIT_EXCEEDED"
            await late.say(type="subscribe", channels=first)
            assert (await late.hear())["type"] == "subscribed"


@pytest.mark.parametrize(
    ("text", "count", "code"),
    [('{"type":"ping"}', 200, 4429), ("nonsense", 30, 4400)],
    ids=["many", "malformed"],
)
async def test_a_client_that_talks_too_much_is_shown_out(
    suite: RealtimeSuite, clinic: Clinic, text: str, count: int, code: int
) -> None:
    """Too many messages, and too many malformed ones, close the connection with their codes."""
    async with client(suite) as new:
        await new.say(type="authenticate", token=suite.token(clinic_id=clinic.id))
        await new.hear("authenticated")
        for _ in range(count):
            await new.connection.send(text)
        assert await closed(new) == code


async def test_a_renewed_token_that_may_less_loses_channels(
    suite: RealtimeSuite, events: Events, clinic: Clinic
) -> None:
    """A user who goes on as a patient is told which channels are left, and hears nothing of them."""
    mine = f"patient:{clinic.patient_ids[0]}"
    staff = suite.token(clinic_id=clinic.id, subject="ann")
    patient = suite.token(Role.PATIENT, clinic_id=clinic.id, subject="ann", patient_id=clinic.patient_ids[0])
    async with joined(suite, staff, f"clinic:{clinic.id}") as reader:
        await reader.say(type="authenticate", token=patient)
        assert (await reader.hear("authenticated"))["payload"]["lostChannels"] == [f"clinic:{clinic.id}"]
        await reader.say(type="subscribe", channels=[mine])
        await reader.hear("subscribed")
        await events.publish(Visit(clinic, patient=1).event())
        own = Visit(clinic, patient=0)
        await events.publish(own.event())
        assert (await reader.hear())["payload"]["appointmentId"] == own.id

"""A token that ends or is revoked while a stream is open: the stream is closed with its reason, nothing comes after."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import grpc
import pytest

from tests.support.realtime import Clinic, Events, RealtimeSuite, Visit
from tests.support.waiting import wait_until_async

from .test_sse import EventStream, bearer, listening, ticket
from .test_streams import item, revoke, stub, subscribe

__all__ = ["stub"]

_CLOSE_CODES = {"expired": 4410, "revoked": 4403}


@dataclass(frozen=True, slots=True)
class Doomed:
    """A user whose token ends soon: after five seconds, the leeway of 30 included, or when `begin` revokes it."""

    redis_url: str
    clinic: Clinic
    how: str

    @property
    def claims(self) -> dict[str, Any]:
        return {"subject": self.how, **({"ttl_s": 4, "issued_s_ago": 29} if self.how == "expired" else {})}

    async def begin(self) -> None:
        if self.how == "revoked":
            await revoke(self.redis_url, self.clinic.id, self.how)


@pytest.fixture(params=sorted(_CLOSE_CODES))
def doomed(redis_url: str, clinic: Clinic, request: pytest.FixtureRequest) -> Doomed:
    """Expired, and revoked."""
    return Doomed(redis_url, clinic, request.param)


@pytest.fixture
async def published(events: Events, clinic: Clinic) -> AsyncIterator[list[str]]:
    """Events of the clinic without a pause; the ids of those that JetStream has."""
    ids: list[str] = []
    enough = asyncio.Event()

    async def publish() -> None:
        while not enough.is_set():
            event = Visit(clinic).event()
            await events.publish(event)
            ids.append(event.event_id)
            await asyncio.sleep(0.02)

    running = asyncio.create_task(publish())
    yield ids
    # Not cancelled: an answer of NATS that comes at that moment would swallow it.
    enough.set()
    await running


async def assert_a_whole_part(heard: list[str], published: list[str]) -> None:
    """Without gaps what was published, up to an end that lies before what was published last."""
    count = len(published)

    async def went_on() -> bool:
        # The first one after the end may have been on its way, and heard, before its publisher knew that it was out.
        return len(published) > count + 1

    await wait_until_async(went_on, what="an event that was published after the end")
    first = published.index(heard[0])
    assert heard == published[first : first + len(heard)]
    assert first + len(heard) < len(published)


async def drained(stream: EventStream) -> tuple[list[str], Any]:
    """Every event id until `closed`, and that message; fails when anything follows it."""
    heard: list[str] = []
    while True:
        type_, message = await stream.next(timeout_s=20)
        if type_ == "closed":
            break
        if type_ != "subscribed":
            heard.append(message["metadata"]["eventId"])
    with pytest.raises(EOFError):
        await stream.next(timeout_s=20)
    return heard, message


@pytest.mark.parametrize("opened_by", ["header", "ticket"])
async def test_an_event_stream_is_closed_with_its_token(
    suite: RealtimeSuite, clinic: Clinic, published: list[str], doomed: Doomed, opened_by: str
) -> None:
    """SSE tells `closed` with the reason and ends, however it was opened; of what happens on, nothing comes."""
    token = suite.token(clinic_id=clinic.id, **doomed.claims)
    query, headers = f"clinicId={clinic.id}", bearer(token)
    if opened_by == "ticket":
        query, headers = f"{query}&ticket={await ticket(suite, token)}", {}
    async with listening(suite, query, headers) as stream:
        first = [await stream.next() for _ in range(2)]
        await doomed.begin()
        rest, last = await drained(stream)
    heard = [message["metadata"]["eventId"] for type_, message in first if type_ != "subscribed"] + rest
    assert last["payload"]["code"] == _CLOSE_CODES[doomed.how]
    await assert_a_whole_part(heard, published)


async def test_a_grpc_subscription_is_closed_with_its_token(
    suite: RealtimeSuite, clinic: Clinic, published: list[str], doomed: Doomed, stub: Any
) -> None:
    """Subscribe ends with UNAUTHENTICATED; of what happens on, nothing comes."""
    call = subscribe(stub, suite, clinic, **doomed.claims)
    assert (await item(call)).WhichOneof("item") == "position"
    heard = [(await item(call)).message.event_id]
    await doomed.begin()
    with pytest.raises(grpc.aio.AioRpcError) as end:
        await _read_all(call, heard)
    assert end.value.code() is grpc.StatusCode.UNAUTHENTICATED
    await assert_a_whole_part(heard, published)


async def _read_all(call: Any, heard: list[str]) -> None:
    async with asyncio.timeout(20):
        while (read := await call.read()) is not grpc.aio.EOF:
            if read.HasField("message"):
                heard.append(read.message.event_id)

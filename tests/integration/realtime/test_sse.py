"""Server-sent events: tickets, resume, and what may not stand in an address."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from tests.support.event_contract import check_told
from tests.support.realtime import Clinic, Events, RealtimeSuite, Visit

# Comments that come soon, with positions that have just moved on.
SETTINGS = {"MEDFORALL_SSE_KEEP_ALIVE_MS": "1500", "MEDFORALL_REALTIME_HEARTBEAT_MS": "200"}


class EventStream:
    """The events of one response, as a browser's EventSource reads them."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self.last_id = ""
        self.retry_ms = 0
        self._lines = response.aiter_lines()

    async def next(self, *, timeout_s: float = 10.0) -> tuple[str, Any]:
        """The next event: its type and data."""
        type_, data = "message", ""
        async with asyncio.timeout(timeout_s):
            async for line in self._lines:
                name, _, value = line.partition(": ")
                if name == "id":
                    self.last_id = value
                elif name == "event":
                    type_ = value
                elif name == "data":
                    data = value
                elif name == "retry":
                    self.retry_ms = int(value)
                elif not line and data:
                    message = json.loads(data)
                    assert message["type"] == type_
                    check_told(message, "sse")
                    return type_, message
        raise EOFError

    async def comment(self, *, timeout_s: float) -> str:
        """The next comment."""
        async with asyncio.timeout(timeout_s):
            async for line in self._lines:
                if line.startswith(":"):
                    return line
        raise EOFError


@asynccontextmanager
async def listening(
    suite: RealtimeSuite, query: str, headers: dict[str, str] | None = None
) -> AsyncIterator[EventStream]:
    """An open stream."""
    async with (
        httpx.AsyncClient(base_url=suite.http_url, timeout=15, trust_env=False) as http,
        http.stream("GET", f"/v1/realtime/sse?{query}", headers=headers or {}) as response,
    ):
        assert response.status_code == 200, await response.aread()
        yield EventStream(response)


async def refused(suite: RealtimeSuite, query: str, headers: dict[str, str] | None = None) -> httpx.Response:
    """The answer to a stream that is not opened."""
    async with httpx.AsyncClient(base_url=suite.http_url, timeout=15, trust_env=False) as http:
        return await http.get(f"/v1/realtime/sse?{query}", headers=headers or {})


async def ticket(suite: RealtimeSuite, token: str) -> str:
    """A ticket."""
    async with httpx.AsyncClient(base_url=suite.http_url, trust_env=False) as http:
        answer = await http.post("/v1/realtime/sse/tickets", headers=bearer(token))
    assert answer.status_code == 201
    assert answer.json()["expiresIn"] == 30
    return str(answer.json()["ticket"])


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


async def test_a_ticket_opens_one_stream(suite: RealtimeSuite, events: Events, clinic: Clinic) -> None:
    """A ticket opens a stream with retry and ids; used again it is refused."""
    once = await ticket(suite, suite.token(clinic_id=clinic.id))
    async with listening(suite, f"clinicId={clinic.id}&ticket={once}") as stream:
        type_, data = await stream.next()
        assert (type_, data["payload"]) == ("subscribed", {"channels": [f"clinic:{clinic.id}"]})
        assert 1_000 <= stream.retry_ms <= 5_000
        assert stream.response.headers["content-type"].startswith("text/event-stream")
        visit = Visit(clinic)
        await events.publish(visit.event())
        type_, data = await stream.next()
        assert (type_, data["payload"]["appointmentId"]) == ("appointment.created", visit.id)
        assert stream.last_id == data["metadata"]["sequence"]
    again = await refused(suite, f"clinicId={clinic.id}&ticket={once}")
    assert (again.status_code, again.json()["error"]) == (401, "UNAUTHENTICATED")


async def test_streams_are_told_different_times_to_come_back(suite: RealtimeSuite, clinic: Clinic) -> None:
    """`retry` is spread over seconds: whoever is cut off together does not come back together."""
    found: set[int] = set()
    for _ in range(6):
        async with listening(
            suite, f"clinicId={clinic.id}", bearer(suite.token(clinic_id=clinic.id))
        ) as stream:
            await stream.next()
            found.add(stream.retry_ms)
    assert len(found) > 3


async def test_an_authorization_header_opens_a_stream(suite: RealtimeSuite, clinic: Clinic) -> None:
    """A client that can send headers needs no ticket."""
    token = suite.token(clinic_id=clinic.id)
    channels = f"provider:{clinic.provider_ids[0]},location:{clinic.location_id}:2026-02-20"
    async with listening(suite, f"channels={channels}", bearer(token)) as stream:
        _, data = await stream.next()
    assert data["payload"]["channels"] == channels.split(",")


async def test_last_event_id_resumes(suite: RealtimeSuite, events: Events, clinic: Clinic) -> None:
    """`Last-Event-ID` (or `resumeFrom`) brings what was missed, in order, then what is new."""
    token = suite.token(clinic_id=clinic.id)
    async with listening(suite, f"clinicId={clinic.id}", bearer(token)) as stream:
        await stream.next()
        position = stream.last_id
    missed = [Visit(clinic) for _ in range(4)]
    for visit in missed:
        await events.publish(visit.event())
    for query, headers in (
        (f"clinicId={clinic.id}", {"last-event-id": position}),
        (f"clinicId={clinic.id}&resumeFrom={position}", {}),
    ):
        async with listening(suite, query, bearer(token) | headers) as stream:
            told = [await stream.next() for _ in range(5)]
        assert [data["payload"].get("appointmentId") for _, data in told[:4]] == [v.id for v in missed]
        assert told[4][0] == "subscribed"


async def test_silence_is_broken_by_comments_that_move_the_position_on(
    suite: RealtimeSuite, events: Events, clinic: Clinic
) -> None:
    """When a stream was silent long enough a comment comes, with an id that has passed what other clinics did."""
    async with listening(suite, f"clinicId={clinic.id}", bearer(suite.token(clinic_id=clinic.id))) as stream:
        await stream.next()
        begun = int(stream.last_id.partition("-")[0])
        sequence = await events.publish(Visit(Clinic()).event())
        comment = await stream.comment(timeout_s=10)
        assert comment.startswith(": keep-alive")
        with pytest.raises(TimeoutError):
            await stream.next(timeout_s=0.5)
        assert begun < sequence <= int(stream.last_id.partition("-")[0])


@pytest.mark.parametrize("parameter", ["token", "access_token", "jwt", "ticket"])
async def test_a_jwt_in_the_address_is_refused(suite: RealtimeSuite, clinic: Clinic, parameter: str) -> None:
    """A JWT in the URL is answered 400, whatever it is called, and no log has it."""
    token = suite.token(clinic_id=clinic.id)
    answer = await refused(suite, f"clinicId={clinic.id}&{parameter}={token}")
    assert (answer.status_code, answer.json()["error"]) == (400, "INVALID_ARGUMENT")
    assert token not in suite.log("gateway")


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("", 400),
        ("channels=nonsense", 400),
        ("clinicId=00000000-0000-4000-8000-000000000000", 404),
        ("patientId=00000000-0000-4000-8000-000000000000", 403),
        ("locationId=00000000-0000-4000-8000-000000000000", 400),
        ("clinicId=CLINIC&resumeFrom=x", 400),
    ],
)
async def test_a_bad_request_is_refused_like_any_other(
    suite: RealtimeSuite, clinic: Clinic, query: str, status: int
) -> None:
    """What cannot be streamed is refused before the stream begins."""
    token = suite.token(clinic_id=clinic.id)
    answer = await refused(suite, query.replace("CLINIC", clinic.id), bearer(token))
    assert answer.status_code == status
    assert set(answer.json()) >= {"error", "message", "details", "requestId"}


async def test_a_stranger_gets_neither_ticket_nor_stream(suite: RealtimeSuite, clinic: Clinic) -> None:
    """Without a token there is nothing."""
    async with httpx.AsyncClient(base_url=suite.http_url, trust_env=False) as http:
        assert (await http.post("/v1/realtime/sse/tickets")).status_code == 401
        assert (await http.get("/v1/realtime/sse/tickets")).status_code == 405
    assert (await refused(suite, f"clinicId={clinic.id}")).status_code == 401
    assert (await refused(suite, f"clinicId={clinic.id}&ticket=made-up")).status_code == 401

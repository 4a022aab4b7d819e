"""The promise of the whole suite: nothing is booked twice, and nothing that was acknowledged is lost."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import psycopg
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from ctl.run_file import RunFile, read_run_file
from tests.support.command import medforall
from tests.support.invariants import OVERLAPS
from tests.support.suites import home_of
from tests.support.waiting import wait_until_async

SERVICES = ("booking", "availability", "realtime", "gateway")
RACERS = 100
BOOKINGS = 12


class Visitor:
    """A caller of the first demo clinic through REST."""

    def __init__(self, facts: RunFile, client: httpx.AsyncClient) -> None:
        assert facts.demo is not None
        self.facts, self.demo = facts, facts.demo
        self.base = f"{facts.gateway_url}/v1/clinics/{facts.demo.clinic_id}"
        self.client = client
        self.headers = {"authorization": f"Bearer {facts.tokens['admin']}"}

    async def slots(self, limit: int, **parameters: str) -> list[dict[str, Any]]:
        """Free slots of the coming weeks."""
        today = datetime.now(UTC).date()
        query = {
            "serviceId": self.demo.service_id,
            "locationId": self.demo.location_id,
            "start": str(today + timedelta(days=2)),
            "end": str(today + timedelta(days=21)),
            "limit": str(limit),
        } | parameters
        answer = await self.client.get(f"{self.base}/availability", params=query, headers=self.headers)
        assert answer.status_code == 200, answer.text
        return list(answer.json()["slots"])

    async def book(self, slot: dict[str, Any], *, patient: str, key: str | None = None) -> httpx.Response:
        """Book a slot."""
        body = {
            "patientId": patient,
            "serviceId": self.demo.service_id,
            "locationId": self.demo.location_id,
            "providerId": slot["provider"]["id"],
            "start": slot["start"],
        }
        headers = self.headers | {"idempotency-key": key or str(uuid.uuid4())}
        return await self.client.post(f"{self.base}/appointments", json=body, headers=headers)

    async def book_whatever_happens(self, slot: dict[str, Any], patient: str) -> httpx.Response:
        """Book with one key, again and again while services are away, as a good client does."""
        key = str(uuid.uuid4())
        for _ in range(100):
            try:
                answer = await self.book(slot, patient=patient, key=key)
            except httpx.TransportError:
                answer = None
            if answer is not None and answer.status_code < 500 and answer.json().get("error") != "OVERLOADED":
                return answer
            await asyncio.sleep(0.2)  # the client's own back-off, no wait for a result
        raise AssertionError("the suite did not come back")


@pytest.fixture
async def visitor(suite: RunFile) -> AsyncIterator[Visitor]:
    limits = httpx.Limits(max_connections=RACERS)
    async with httpx.AsyncClient(timeout=30, limits=limits) as client:
        yield Visitor(suite, client)


def rows(facts: RunFile, sql: str, *parameters: object) -> list[tuple[Any, ...]]:
    """What the owner of the database sees."""
    with psycopg.connect(facts.database_url, autocommit=True) as owner:
        return owner.execute(sql, parameters).fetchall()


async def test_a_hundred_posts_of_one_slot_book_it_once(visitor: Visitor, suite: RunFile) -> None:
    """One 201, ninety-nine 409, and no two claims overlap in the database."""
    (slot,) = await visitor.slots(1)
    patients = visitor.demo.patient_ids
    posts = [visitor.book(slot, patient=patients[index % len(patients)]) for index in range(RACERS)]
    answers = await asyncio.gather(*posts)
    codes = sorted(answer.status_code for answer in answers)
    assert codes == [201] + [409] * (RACERS - 1)
    assert rows(suite, OVERLAPS) == [(0,)]
    assert slot not in await visitor.slots(500)


class Listener:
    """Follows the clinic's channel through cuts, resuming where it was."""

    def __init__(self, facts: RunFile) -> None:
        assert facts.demo is not None
        self._url = facts.gateway_url.replace("http", "ws", 1) + "/v1/realtime/ws"
        self._token = facts.tokens["admin"]
        self._channel = f"clinic:{facts.demo.clinic_id}"
        self._position = ""
        self.created: list[str] = []
        self.subscribed = asyncio.Event()

    async def follow(self) -> None:
        """Listen until cancelled."""
        while True:
            try:
                async with connect(self._url) as socket:
                    await self._hear(socket)
            except (ConnectionClosed, OSError, TimeoutError, ValueError):
                await asyncio.sleep(0.2)  # the client's own back-off, no wait for a result

    async def _hear(self, socket: ClientConnection) -> None:
        await socket.send(json.dumps({"type": "authenticate", "token": self._token}))
        wish: dict[str, Any] = {"type": "subscribe", "channels": [self._channel]}
        if self._position:
            wish["resumeFrom"] = self._position
        await socket.send(json.dumps(wish))
        async for text in socket:
            message = json.loads(text)
            if message["type"] == "subscribed":
                self.subscribed.set()
                # A connection that is cut before its first event resumes from where it joined.
                self._position = self._position or message.get("metadata", {}).get("sequence", "")
            elif message["type"] == "appointment.created":
                self.created.append(message["payload"]["appointmentId"])
            self._position = message.get("metadata", {}).get("sequence") or self._position


@pytest.mark.slow
@pytest.mark.parametrize("victim", SERVICES)
async def test_a_kill_loses_no_acknowledged_booking_and_no_event(
    visitor: Visitor, suite: RunFile, victim: str
) -> None:
    """After kill -9 under traffic `up` restarts the service, every 201 is in the database, every event arrives."""
    slots = await distinct_slots(visitor)
    listener = Listener(suite)
    following = asyncio.create_task(listener.follow())
    await asyncio.wait_for(listener.subscribed.wait(), 20)
    patients = visitor.demo.patient_ids
    traffic = [
        asyncio.create_task(visitor.book_whatever_happens(slot, patients[index % len(patients)]))
        for index, slot in enumerate(slots)
    ]
    pid = read_run_file(home_of(suite)).pids[victim]
    os.kill(pid, signal.SIGKILL)
    answers = await asyncio.gather(*traffic)
    booked = {answer.json()["appointment"]["id"] for answer in answers if answer.status_code == 201}
    assert booked
    assert {answer.status_code for answer in answers} <= {201, 409, 422}

    async def is_back() -> bool:
        if read_run_file(home_of(suite)).pids.get(victim, pid) == pid:
            return False
        status = await asyncio.to_thread(medforall, "status", "--json", "--home", str(home_of(suite).path))
        return all(row["ready"] for row in json.loads(status.stdout))

    async def all_heard() -> bool:
        return booked <= set(listener.created)

    await wait_until_async(is_back, timeout_s=30, what=f"{victim} to be ready again")
    await wait_until_async(all_heard, timeout_s=30, what="every booking's event")
    following.cancel()
    stored = rows(suite, "SELECT id::text FROM appointment WHERE id = ANY (%s::uuid[])", list(booked))
    assert {found for (found,) in stored} == booked
    assert rows(suite, OVERLAPS) == [(0,)]


async def distinct_slots(visitor: Visitor) -> list[dict[str, Any]]:
    """Slots of different starts, so that bookings do not stand in each other's way much."""
    found = {slot["start"]: slot for slot in await visitor.slots(500)}
    return list(found.values())[:BOOKINGS]

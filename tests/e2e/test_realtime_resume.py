"""Killed processes lose nothing: every client ends with exactly its events, in order, none twice."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from chassis.auth.principal import Role
from tests.support.realtime import Clinic, Events, RealtimeSuite, Visit
from tests.support.waiting import wait_until_async

_DAY = datetime(2026, 2, 20, 14, 0, tzinfo=UTC)


@pytest.fixture
def suite(tmp_path: Path, redis_url: str) -> Iterator[RealtimeSuite]:
    """A suite that this test may kill."""
    made = RealtimeSuite(tmp_path, redis_url)
    try:
        made.start()
        yield made
    finally:
        made.stop()


class Follower:
    """A client that connects again whenever it is cut off, and goes on where it was."""

    def __init__(self, suite: RealtimeSuite, token: str, channel: str) -> None:
        self._suite = suite
        self._token = token
        self._channel = channel
        self.received: list[dict[str, Any]] = []
        self.position = ""
        self.connects = 0
        self.is_live = asyncio.Event()

    async def run(self) -> None:
        """Follow until cancelled."""
        while True:
            try:
                await self._follow()
            except (ConnectionClosed, InvalidHandshake, OSError, TimeoutError):
                self.is_live.clear()
                await asyncio.sleep(random.uniform(0.02, 0.2))

    async def _follow(self) -> None:
        async with connect(self._suite.ws_url, compression=None, proxy=None, open_timeout=5) as connection:
            self.connects += 1
            await connection.send(json.dumps({"type": "authenticate", "token": self._token}))
            subscribe = {"type": "subscribe", "channels": [self._channel]}
            if self.position:
                subscribe["resumeFrom"] = self.position
            await connection.send(json.dumps(subscribe))
            async for text in connection:
                self._take(json.loads(text))

    def _take(self, message: dict[str, Any]) -> None:
        assert message["type"] != "resync", message
        if message["type"] == "error":
            raise TimeoutError
        self.position = message.get("metadata", {}).get("sequence") or self.position
        if message["type"] == "subscribed":
            self.is_live.set()
        elif message["type"].startswith("appointment."):
            self.received.append(message)


@asynccontextmanager
async def following(followers: list[Follower]) -> AsyncIterator[None]:
    """Run the followers meanwhile."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(follower.run()) for follower in followers]
        try:
            await asyncio.gather(*(follower.is_live.wait() for follower in followers))
            yield
        finally:
            for task in tasks:
                task.cancel()


class Agenda:
    """Random visits, moves and cancellations, and who must hear of them."""

    def __init__(self, clinic: Clinic, chance: random.Random) -> None:
        self._clinic = clinic
        self._chance = chance
        self._visits: list[Visit] = []
        self.expected: dict[str, list[str]] = {}

    async def happen(self, events: Events) -> None:
        """Let one thing happen, sometimes published twice."""
        event = self._next()
        await events.publish(event)
        if self._chance.random() < 0.1:
            await events.publish(event, again=True)
        for channel in self._audience(event):
            self.expected.setdefault(channel, []).append(event.event_id)

    def _next(self) -> Any:
        live = [visit for visit in self._visits if visit.status == "scheduled"]
        if live and self._chance.random() < 0.5:
            visit = self._chance.choice(live)
            if self._chance.random() < 0.3:
                return visit.event("canceled", status="canceled")
            return visit.event("rescheduled", start=self._time(), provider=self._chance.randrange(3))
        visit = Visit(
            self._clinic,
            provider=self._chance.randrange(3),
            patient=self._chance.randrange(3),
            start=self._time(),
        )
        self._visits.append(visit)
        return visit.event()

    def _time(self) -> datetime:
        return _DAY + timedelta(days=self._chance.randrange(2), minutes=15 * self._chance.randrange(20))

    def _audience(self, event: Any) -> set[str]:
        changed = event.appointment
        snapshots = [changed.after, changed.before] if changed.HasField("before") else [changed.after]
        heard = {f"clinic:{event.clinic_id}"}
        for snapshot in snapshots:
            day = "2026-02-20" if snapshot.start_utc.ToDatetime().day == 20 else "2026-02-21"
            heard.add(f"provider:{snapshot.provider_id}")
            heard.add(f"location:{snapshot.location_id}:{day}")
            heard.add(f"patient:{snapshot.patient_id}")
        return heard


@pytest.mark.slow
async def test_clients_end_with_exactly_their_events_whatever_is_killed(suite: RealtimeSuite) -> None:
    """Five clients, random bookings, gateway and realtime_svc killed at random: nothing missing, nothing twice."""
    seed = random.SystemRandom().randrange(10**6)
    print(f"seed {seed}")  # noqa: T201 - to repeat a failure
    chance = random.Random(seed)
    clinic = Clinic()
    agenda = Agenda(clinic, chance)
    staff = suite.token(clinic_id=clinic.id)
    patient = suite.token(Role.PATIENT, clinic_id=clinic.id, subject="p", patient_id=clinic.patient_ids[1])
    channels = {
        f"clinic:{clinic.id}": staff,
        f"provider:{clinic.provider_ids[0]}": staff,
        f"location:{clinic.location_id}:2026-02-20": staff,
        f"location:{clinic.location_id}:2026-02-21": staff,
        f"patient:{clinic.patient_ids[1]}": patient,
    }
    followers = [Follower(suite, token, channel) for channel, token in channels.items()]
    async with suite.events() as events, following(followers):
        # Each is killed at least three times; a client whose gateway was never killed would have nothing to resume.
        victims = ["gateway", "realtime_svc"] * 3 + chance.choices(["gateway", "realtime_svc"], k=2)
        for victim in chance.sample(victims, len(victims)):
            for _ in range(chance.randrange(5, 40)):
                await agenda.happen(events)
            suite.kill(victim)
            for _ in range(chance.randrange(5, 20)):
                await agenda.happen(events)
            suite.restart(victim)
            for _ in range(chance.randrange(5, 20)):
                await agenda.happen(events)
            if chance.random() < 0.5:
                await asyncio.to_thread(suite.processes[victim].wait_ready)
        await _until_told(followers, agenda, channels)
    for follower, channel in zip(followers, channels, strict=True):
        assert [message["metadata"]["eventId"] for message in follower.received] == agenda.expected[channel]
        assert follower.connects > 1


async def _until_told(followers: list[Follower], agenda: Agenda, channels: dict[str, str]) -> None:
    """Wait until everybody has the last event of its channel, and nothing follows."""
    goals = [agenda.expected[channel][-1] for channel in channels]
    for follower, goal in zip(followers, goals, strict=True):
        await wait_until_async(lambda f=follower, g=goal: _has_come_to(f, g), timeout_s=40, what=goal)  # type: ignore[misc]


async def _has_come_to(follower: Follower, event_id: str) -> bool:
    return bool(follower.received) and follower.received[-1]["metadata"]["eventId"] == event_id

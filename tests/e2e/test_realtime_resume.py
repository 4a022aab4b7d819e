"""Killed processes lose nothing: every client ends with exactly its events, in order, none twice."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from chassis.auth.principal import Role
from tests.support.followers import Follower, following, until_told
from tests.support.realtime import Clinic, Events, RealtimeSuite, Visit

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
        await until_told(followers, [agenda.expected[channel][-1] for channel in channels])
    for follower, channel in zip(followers, channels, strict=True):
        assert [message["metadata"]["eventId"] for message in follower.received] == agenda.expected[channel]
        assert follower.connects > 1

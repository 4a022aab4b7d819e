"""What is really booked and set up, through booking_svc and its outbox, reaches everybody whom it concerns."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import grpc.aio
import nats
import pytest
from medforall.directory.v1 import directory_pb2, directory_pb2_grpc
from medforall.directory.v1 import directory_types_pb2 as types
from medforall.events.v1 import events_pb2

from chassis.auth.principal import Role
from chassis.streams import APPOINTMENTS, DIRECTORY
from ctl.key_store import DEFAULT_SCOPES
from tests.support.booking import Client, Keys, booking_processes, environment_of
from tests.support.databases import MigratedDatabase
from tests.support.followers import Follower, following, until_told
from tests.support.practice import MONDAY, Practice, at, new_id, new_practice
from tests.support.realtime import RealtimeSuite, joined
from tests.support.waiting import wait_until_async

_ZONE = ZoneInfo("America/New_York")
_DAYS = (MONDAY, MONDAY + timedelta(days=7))


@dataclass
class Scene:
    """Realtime, and a booking service in front of it with a clinic in New York."""

    suite: RealtimeSuite
    practice: Practice
    caller: Client
    directory: Any
    metadata: list[tuple[str, str]]

    @property
    def clinic(self) -> str:
        return self.practice.clinic

    async def set_up(self, word: str, entry: Any) -> Any:
        """Create an entry of the directory."""
        request = getattr(directory_pb2, f"Create{word}Request")(
            clinic_id=self.clinic, idempotency_key=new_id(), **{word.lower(): entry}
        )
        return await getattr(self.directory, f"Create{word}")(request, metadata=self.metadata, timeout=10)

    def channels(self) -> dict[str, str]:
        """Five channels and who listens there."""
        staff = self.suite.token(clinic_id=self.clinic)
        patient = self.practice.patients[1]
        own = self.suite.token(Role.PATIENT, clinic_id=self.clinic, subject="p", patient_id=patient)
        return {
            f"clinic:{self.clinic}": staff,
            f"provider:{self.practice.providers[0]}": staff,
            **{f"location:{self.practice.location}:{day}": staff for day in _DAYS},
            f"patient:{patient}": own,
        }


@pytest.fixture
def suite(tmp_path: Path, redis_url: str) -> Iterator[RealtimeSuite]:
    """A suite that this test may kill."""
    made = RealtimeSuite(tmp_path, redis_url)
    try:
        made.start()
        yield made
    finally:
        made.stop()


@pytest.fixture
async def scene(suite: RealtimeSuite, database: MigratedDatabase, tmp_path: Path) -> AsyncIterator[Scene]:
    """booking_svc, on a database of its own and on the suite's NATS."""
    practice = new_practice(database, providers=2, rooms=4, patients=4, zone=str(_ZONE))
    environment = environment_of(database, Keys(tmp_path / "keys"), suite.nats.url)
    with booking_processes(environment | {"MEDFORALL_JWKS": str(suite.jwks)}, tmp_path) as (booking,):
        admin = suite.token(Role.ADMIN, clinic_id=practice.clinic, scopes=DEFAULT_SCOPES[Role.ADMIN])
        caller = Client([booking.target], practice, admin)
        async with grpc.aio.insecure_channel(booking.target) as channel:
            stub = directory_pb2_grpc.DirectoryServiceStub(channel)
            yield Scene(suite, practice, caller, stub, caller.metadata)
        await caller.close()


@dataclass
class Desk:
    """Books, holds, moves, cancels and sets up, at random."""

    scene: Scene
    chance: random.Random
    visits: list[str] = field(default_factory=list)
    taken: set[str] = field(default_factory=set)
    # What each change of the directory makes on which channel, in order.
    directory: list[dict[str, list[str]]] = field(default_factory=list)
    count: int = 0

    async def work(self, times: int) -> None:
        """Do so many things, one after the other."""
        for _ in range(times):
            self.count += 1
            deeds = [self.book, self.book, self.move, self.cancel, self.hold, self.change]
            await self.chance.choice(deeds)()

    def _place(self) -> tuple[str, str]:
        """A provider, and a time that nobody has, so that no patient is at two places."""
        while True:
            provider = self.chance.randrange(2)
            start = at(self.chance.randrange(18), self.chance.choice((0, 30)), self.chance.choice(_DAYS))
            if start not in self.taken:
                self.taken.add(start)
                return self.scene.practice.providers[provider], start

    async def book(self) -> None:
        provider, start = self._place()
        patient = len(self.visits) % 4
        created = await self.scene.caller.create(start, patient=patient, provider_id=provider)
        self.visits.append(created.appointment.id)

    async def move(self) -> None:
        if not self.visits:
            return await self.book()
        provider, start = self._place()
        visit = self.chance.choice(self.visits)
        await self.scene.caller.call(
            "RescheduleAppointment", appointment_id=visit, start=start, provider_id=provider
        )
        return None

    async def cancel(self) -> None:
        if not self.visits:
            return await self.book()
        visit = self.visits.pop(self.chance.randrange(len(self.visits)))
        await self.scene.caller.call("CancelAppointment", appointment_id=visit, reason="a test")
        return None

    async def hold(self) -> None:
        provider, start = self._place()
        held = await self.scene.caller.hold(start, provider_id=provider)
        self.count += 1
        await self.scene.caller.call("ReleaseHold", hold_id=held.appointment.id, hold_token=held.hold_token)

    async def change(self) -> None:
        """An evening without patients: of the whole location on the first day, of the second provider on the second."""
        practice = self.scene.practice
        both = ["directory.changed", "availability.invalidated"]
        clinic, provider, first, second, _ = self.scene.channels()
        if self.chance.random() < 0.5:
            closure = types.Closure(
                location_id=practice.location, start=_local(_DAYS[0], 20), end=_local(_DAYS[0], 22)
            )
            await self.scene.set_up("Closure", closure)
            heard = {clinic: both, provider: both[1:], first: both[1:]}
        else:
            window = types.Window(
                resource_id=practice.providers[1],
                start=_local(_DAYS[1], 20),
                end=_local(_DAYS[1], 22),
                kind=types.WINDOW_KIND_UNAVAILABLE,
            )
            await self.scene.set_up("Window", window)
            heard = {clinic: both, second: both[1:]}
        self.directory.append(heard)


def _local(day: date, hour: int) -> str:
    return f"{day}T{hour:02}:00"


def _audience(event: events_pb2.Event) -> set[str]:
    """Who hears of a visit, told apart from realtime_svc."""
    changed = event.appointment
    heard = {f"clinic:{event.clinic_id}"}
    for snapshot in (changed.after, changed.before) if changed.HasField("before") else (changed.after,):
        day = snapshot.start_utc.ToDatetime(tzinfo=ZoneInfo("UTC")).astimezone(_ZONE).date()
        heard.add(f"provider:{snapshot.provider_id}")
        heard.add(f"location:{snapshot.location_id}:{day}")
        heard.add(f"patient:{snapshot.patient_id}")
    return heard


def _expected(desk: Desk, published: list[events_pb2.Event], channel: str) -> tuple[list[Any], list[Any]]:
    """Event ids with types that a channel must hear, of visits and of the directory."""
    visits = [event for event in published if event.HasField("appointment")]
    changes = [event for event in published if event.HasField("directory")]
    return (
        [(event.event_id, event.type) for event in visits if channel in _audience(event)],
        [
            (event.event_id, type_)
            for event, heard in zip(changes, desk.directory, strict=True)
            for type_ in heard.get(channel, ())
        ],
    )


def _heard(follower: Follower) -> tuple[list[Any], list[Any]]:
    told = [(message["metadata"]["eventId"], message["type"]) for message in follower.received]
    of_directory = ("directory.changed", "availability.invalidated")
    return (
        [item for item in told if item[1] not in of_directory],
        [item for item in told if item[1] in of_directory],
    )


@pytest.mark.slow
async def test_clients_end_with_exactly_what_was_booked_whatever_is_killed(scene: Scene) -> None:
    """Five clients, real bookings and changes, gateway and realtime_svc killed: nothing missing, nothing twice."""
    seed = random.SystemRandom().randrange(10**6)
    print(f"seed {seed}")  # noqa: T201 - to repeat a failure
    chance = random.Random(seed)
    suite, desk, channels = scene.suite, Desk(scene, chance), scene.channels()
    followers = [Follower(suite, token, channel) for channel, token in channels.items()]
    async with following(followers):
        for victim in chance.sample(["gateway", "realtime_svc"] * 2, 4):
            await desk.work(5)
            suite.kill(victim)
            await desk.work(4)
            suite.restart(victim)
            await desk.work(2)
            await asyncio.to_thread(suite.processes[victim].wait_ready)
        await desk.change()
        desk.count += 1
        # The last of all, for each channel: everything before it has been told when it is.
        for day in _DAYS:
            for hour in (18, 19):
                await scene.caller.create(at(hour, day=day), patient=1)
                desk.count += 1
        published = await _published(suite, desk.count, scene.clinic)
        expected = [_expected(desk, published, channel) for channel in channels]
        await until_told(followers, [of_visits[-1][0] for of_visits, _ in expected])
        await until_told(followers[:1], [expected[0][1][-1][0]])
    assert [_heard(follower) for follower in followers] == expected
    assert all(follower.connects > 1 for follower in followers)


async def _published(suite: RealtimeSuite, count: int, clinic: str) -> list[events_pb2.Event]:
    """All events of the clinic once the outbox has sent so many: the appointments' stream first, each in its order."""
    connection = await nats.connect(suite.nats.url)
    jetstream = connection.jetstream()

    async def kept() -> list[events_pb2.Event]:
        found = []
        for spec in (APPOINTMENTS, DIRECTORY):
            state = (await jetstream.stream_info(spec.name)).state
            for sequence in range(state.first_seq, state.last_seq + 1):
                message = await jetstream.get_msg(spec.name, sequence)
                found.append(events_pb2.Event.FromString(message.data or b""))
        return [event for event in found if event.clinic_id == clinic]

    async def are_out() -> bool:
        return len(await kept()) >= count

    try:
        await wait_until_async(are_out, timeout_s=30, what=f"{count} events")
        found = await kept()
    finally:
        await connection.close()
    assert len(found) == count
    return found


async def _told(scene: Scene, word: str, entry: Any) -> dict[str, Any]:
    """What `availability.invalidated` says on the clinic's channel after an entry was set up."""
    token = scene.suite.token(clinic_id=scene.clinic)
    async with joined(scene.suite, token, f"clinic:{scene.clinic}") as reader:
        await scene.set_up(word, entry)
        payload: dict[str, Any] = (await reader.hear("availability.invalidated"))["payload"]
    return payload


async def test_a_change_of_the_directory_tells_where_whose_and_when(scene: Scene) -> None:
    """Closures and windows say their instants, place and provider; what recurs is open at its end, the rest at both."""
    practice = scene.practice
    provider, room = practice.providers[0], practice.rooms[0]
    start, end = _local(_DAYS[0], 20), _local(_DAYS[0], 22)
    once = [_utc(start), _utc(end)]
    spent: dict[str, Any] = {"start": start, "end": end, "kind": types.WINDOW_KIND_UNAVAILABLE}
    daily = {**spent, "recurrence_rule": "FREQ=DAILY"}
    here = practice.location
    for word, entry, expected in (
        ("Closure", types.Closure(location_id=here, start=start, end=end), ([here], [], once)),
        ("Closure", types.Closure(start=start, end=end), ([], [], once)),
        ("Window", types.Window(resource_id=provider, **spent), ([], [provider], once)),
        ("Window", types.Window(resource_id=provider, location_id=here, **spent), ([here], [provider], once)),
        ("Window", types.Window(resource_id=room, **spent), ([here], [], once)),
        ("Window", types.Window(resource_id=room, **daily), ([here], [], [once[0], None])),
        ("Room", types.Room(location_id=here, name="Another"), ([here], [], [None, None])),
    ):
        told = await _told(scene, word, entry)
        span = told["timeRange"]
        found = (told["locationIds"], told["providerIds"], [span["start"], span["end"]])
        assert found == expected, (word, entry)


def _utc(local: str) -> str:
    instant = datetime.fromisoformat(local).replace(tzinfo=_ZONE).astimezone(ZoneInfo("UTC"))
    return f"{instant:%Y-%m-%dT%H:%M:%SZ}"

"""Publishing to a real NATS server: alone or together, every message is stored once, and its sender learns of it."""

import asyncio
from collections.abc import AsyncIterator
from uuid import uuid4

import pytest

from chassis.bus import Bus
from chassis.publishing import TOGETHER_MIN, OutgoingMessage, Published, Rejected
from chassis.settings import NatsSettings
from chassis.streams import APPOINTMENTS, STREAMS
from scheduling.errors import Unavailable
from tests.integration.chassis.proxy import Proxy
from tests.support.waiting import wait_until_async

COUNT = TOGETHER_MIN + 4


@pytest.fixture
async def bus(nats_url: str) -> AsyncIterator[Bus]:
    """A connected bus, with the product's streams."""
    made = Bus(NatsSettings(url=nats_url), client_name="test")
    await made.start()
    await made.wait_connected(5_000)
    await made.ensure_streams(STREAMS)
    yield made
    await made.stop()


def events(count: int = COUNT, *, large: int | None = None) -> list[OutgoingMessage]:
    """Messages for one subject of the product's own stream; one may be larger than the server takes."""
    subject = f"medforall.appointment.{uuid4()}.created"
    return [
        OutgoingMessage(
            subject=subject,
            data=b"x" * (1_100_000 if number == large else 100),
            message_id=f"{subject}-{number}",
        )
        for number in range(count)
    ]


async def stored(bus: Bus, outcomes: list[Published]) -> list[tuple[str, bool]]:
    """The message ids that the stream has where it said so, and whether they came in a batch."""
    found = []
    for outcome in outcomes:
        headers = (await bus.jetstream.get_msg(outcome.stream, outcome.sequence)).headers or {}
        found.append((headers["Nats-Msg-Id"], "Nats-Batch-Id" in headers))
    return found


async def count(bus: Bus, sent: list[OutgoingMessage]) -> int:
    """How many messages the stream has under their subject."""
    subject = sent[0].subject
    state = (await bus.jetstream.stream_info(APPOINTMENTS.name, subjects_filter=subject)).state
    return (state.subjects or {}).get(subject, 0)


def published(outcomes: list[Published | Unavailable | Rejected]) -> list[Published]:
    found = [outcome for outcome in outcomes if isinstance(outcome, Published)]
    assert len(found) == len(outcomes), outcomes
    return found


async def test_many_events_are_stored_as_one_batch_in_their_order(bus: Bus) -> None:
    """Each is told its own sequence, one after the other, and holds what was sent."""
    sent = events()
    outcomes = published(await bus.publish_all(sent))
    first = outcomes[0].sequence
    assert outcomes == [Published(APPOINTMENTS.name, first + place, False) for place in range(COUNT)]
    assert await stored(bus, outcomes) == [(message.message_id, True) for message in sent]


async def test_few_events_are_sent_alone(bus: Bus) -> None:
    """Below the number from which a batch pays, none is made."""
    sent = events(TOGETHER_MIN - 1)
    outcomes = published(await bus.publish_all(sent))
    assert await stored(bus, outcomes) == [(message.message_id, False) for message in sent]


@pytest.mark.parametrize("known", [0, 7, COUNT - 1])
async def test_a_batch_with_an_event_that_is_there_stores_the_others_once(bus: Bus, known: int) -> None:
    """A relay that died before it marked what it had sent sends it again, with later events: all are stored once."""
    sent = events()
    await bus.publish_all([sent[known]])
    outcomes = published(await bus.publish_all(sent))
    assert [outcome.is_duplicate for outcome in outcomes] == [place == known for place in range(COUNT)]
    assert await count(bus, sent) == COUNT
    again = published(await bus.publish_all(sent))
    assert [outcome.sequence for outcome in again] == [outcome.sequence for outcome in outcomes]
    assert await count(bus, sent) == COUNT


async def test_two_senders_of_the_same_events_store_each_once(bus: Bus, nats_url: str) -> None:
    """Two relays at once, one of which does not know yet that it lost its lease."""
    other = Bus(NatsSettings(url=nats_url), client_name="other")
    await other.start()
    for _ in range(20):
        sent = events()
        both = await asyncio.gather(bus.publish_all(sent), other.publish_all(sent[3:]))
        outcomes, later = map(published, both)
        assert [outcome.sequence for outcome in later] == [outcome.sequence for outcome in outcomes[3:]]
        assert await count(bus, sent) == COUNT
    await other.stop()


@pytest.mark.parametrize("large", [0, 7, COUNT - 1])
async def test_an_event_that_is_too_large_is_refused_alone(bus: Bus, large: int) -> None:
    """Its neighbours are stored, in their order."""
    sent = events(large=large)
    outcomes = await bus.publish_all(sent)
    assert isinstance(outcomes.pop(large), Rejected)
    sequences = [outcome.sequence for outcome in published(outcomes)]
    assert sequences == sorted(sequences)
    assert await count(bus, sent) == COUNT - 1


async def test_events_of_several_streams_go_to_their_own(bus: Bus) -> None:
    """What is mixed is told apart, and what nobody stores is Unavailable beside its neighbours."""
    sent, directory, lost = events(), events(TOGETHER_MIN), events(1)
    directory = [
        OutgoingMessage(
            subject=f"medforall.directory.{uuid4()}.room", data=b"", message_id=message.message_id
        )
        for message in directory
    ]
    lost = [OutgoingMessage(subject=f"nobody.{uuid4()}", data=b"", message_id="lost")]
    mixed = [message for pair in zip(sent, directory, strict=False) for message in pair] + lost
    *outcomes, unstored = await bus.publish_all(mixed)
    assert isinstance(unstored, Unavailable)
    assert [outcome.stream for outcome in published(outcomes)] == ["APPOINTMENTS", "DIRECTORY"] * TOGETHER_MIN


@pytest.mark.parametrize("size", [2, COUNT])
async def test_a_line_that_is_cut_ends_the_wait(nats_url: str, bus: Bus, size: int) -> None:
    """What is not acknowledged when the line is cut is Unavailable then, not when its own time is over."""
    async with Proxy(nats_url) as proxy:
        settings = NatsSettings(url=proxy.url, connect_timeout_ms=2_000, ack_timeout_ms=60_000)
        behind = Bus(settings, client_name="behind")
        await behind.start()
        published(await behind.publish_all(events()))
        proxy.hold()
        sent = events(size)
        waiting = asyncio.create_task(behind.publish_all(sent))

        async def is_held() -> bool:
            return proxy.held_bytes > 0

        await wait_until_async(is_held, what="the messages to be on their way")
        proxy.cut()
        outcomes = await asyncio.wait_for(waiting, 10)
        assert [type(outcome) for outcome in outcomes] == [Unavailable] * size
        proxy.restore()
        await behind.wait_connected(10_000)
        await wait_until_async(lambda: _is_up(behind), what="the line to heal")
        published(await behind.publish_all(sent))
        assert await count(bus, sent) == size
        await behind.stop()


async def _is_up(bus: Bus) -> bool:
    return bus.is_connected

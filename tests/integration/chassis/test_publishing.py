"""Publishing to a real NATS server: alone or together, every message is stored once, and its sender learns of it."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
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


async def test_more_events_than_a_batch_may_have_keep_their_order(bus: Bus) -> None:
    """They go in several batches, and the few that are left alone behind them."""
    sent = events(1_000 + COUNT + 1_000 + 3)
    sequences = [outcome.sequence for outcome in published(await bus.publish_all(sent))]
    assert sequences == list(range(sequences[0], sequences[0] + len(sent)))


async def test_a_stream_that_takes_no_batches_gets_each_event_once(bus: Bus) -> None:
    """A stream of a release before batches stores what is sent, in order, until it is brought up to date."""
    config = (await bus.jetstream.stream_info(APPOINTMENTS.name)).config
    config.allow_atomic = False
    await bus.jetstream.update_stream(config)
    try:
        sent = events()
        outcomes = published(await bus.publish_all(sent))
        assert await stored(bus, outcomes) == [(message.message_id, False) for message in sent]
        assert await count(bus, sent) == COUNT
    finally:
        await bus.ensure_streams(STREAMS)


@pytest.mark.parametrize("size", [1, COUNT])
@pytest.mark.parametrize("missing", [0, 40, 120, 400])
async def test_what_fits_but_for_its_headers_does_not_end_the_connection(
    bus: Bus, size: int, missing: int
) -> None:
    """Headers count too: a server that is sent more than its bound ends the connection for good."""
    large = OutgoingMessage(
        subject=f"medforall.appointment.{uuid4()}.created",
        data=b"x" * (1_048_576 - missing),
        message_id=str(uuid4()),
    )
    sent = events(size)
    *outcomes, last = await bus.publish_all([*sent, large])
    published(outcomes)
    assert isinstance(last, Rejected if missing <= 40 else Published)
    published(await bus.publish_all(events()))


async def test_a_connection_that_the_server_ends_for_good_is_replaced(bus: Bus) -> None:
    """Whatever makes the client give up, the process is connected again without a restart."""
    client = bus.client
    too_much = b"x" * (client.max_payload - 10)
    await client.publish(f"medforall.appointment.{uuid4()}.created", too_much, headers={"a": "b" * 100})

    async def is_replaced() -> bool:
        return bus.is_connected and bus.client is not client

    await wait_until_async(is_replaced, what="another connection")
    published(await bus.publish_all(events()))


async def _held(proxy: Proxy) -> None:
    async def is_held() -> bool:
        return proxy.held_bytes > 0

    await wait_until_async(is_held, what="the messages to be on their way")


@pytest.mark.parametrize(("size", "others"), [(2, 0), (COUNT, 0), (COUNT, 2), (COUNT, COUNT)])
async def test_a_line_that_is_cut_ends_the_wait(nats_url: str, bus: Bus, size: int, others: int) -> None:
    """What is not acknowledged when the line is cut, and what was to follow, is Unavailable then, not much later."""
    async with Proxy(nats_url) as proxy:
        settings = NatsSettings(url=proxy.url, connect_timeout_ms=2_000, ack_timeout_ms=60_000)
        behind = Bus(settings, client_name="behind")
        await behind.start()
        published(await behind.publish_all(events()))
        proxy.hold()
        sent = events(size) + [
            OutgoingMessage(subject=f"medforall.directory.{uuid4()}.room", data=b"", message_id=str(uuid4()))
            for _ in range(others)
        ]
        waiting = asyncio.create_task(behind.publish_all(sent))
        await _held(proxy)
        proxy.cut()
        outcomes = await asyncio.wait_for(waiting, 10)
        assert [type(outcome) for outcome in outcomes] == [Unavailable] * len(sent)
        proxy.restore()

        async def is_up() -> bool:
            return behind.is_connected

        await wait_until_async(is_up, what="the line to heal")
        published(await behind.publish_all(sent))
        assert await count(bus, sent) == size
        await behind.stop()


async def test_a_line_that_is_silent_keeps_nobody_waiting(nats_url: str, bus: Bus) -> None:
    """However much is sent, however often, each sending ends in its time, and one that is cancelled ends at once."""
    async with Proxy(nats_url) as proxy:
        behind = Bus(NatsSettings(url=proxy.url, ack_timeout_ms=300), client_name="behind")
        await behind.start()
        published(await behind.publish_all(events()))
        proxy.hold()
        large = [replace(message, data=b"x" * 900_000) for message in events(COUNT)]
        for _ in range(4):
            outcomes = await asyncio.wait_for(behind.publish_all(large), 5)
            assert [type(outcome) for outcome in outcomes] == [Unavailable] * COUNT
        waiting = asyncio.create_task(behind.publish_all(large))
        await asyncio.sleep(0)
        waiting.cancel()
        done, _ = await asyncio.wait({waiting}, timeout=5)
        assert done
        proxy.cut()
        await behind.stop()

"""The bus against a real NATS server: nothing acknowledged is lost, whatever happens to the line."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from uuid import uuid4

import pytest

from chassis.bus import Bus
from chassis.consumers import DurableConsumer, DurableSpec, OrderedConsumer
from chassis.publishing import OutgoingMessage, Published, Rejected
from chassis.pull import Message
from chassis.settings import NatsSettings
from chassis.streams import APPOINTMENTS, STREAMS, StreamSpec
from chassis.supervisor import Backoff, Supervisor
from chassis.tracing import current_traceparent
from scheduling.errors import Unavailable
from tests.integration.chassis.proxy import Proxy

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
FAST = Backoff(first_ms=5, max_ms=20)


def settings(url: str) -> NatsSettings:
    return NatsSettings(url=url, connect_timeout_ms=2_000, ack_timeout_ms=2_000)


@pytest.fixture
async def bus(nats_url: str) -> AsyncIterator[Bus]:
    """A connected bus."""
    made = Bus(settings(nats_url), client_name="test")
    await made.start()
    await made.wait_connected(5_000)
    yield made
    await made.stop()
    await made.stop()


@pytest.fixture
async def stream(bus: Bus) -> StreamSpec:
    """A stream of this test's own."""
    name = f"T{uuid4().hex}"
    spec = StreamSpec(name, (f"{name}.>",), "A test's stream.")
    await bus.ensure_streams([spec])
    return spec


def message(
    stream: StreamSpec, number: int, *, leaf: str = "a", traceparent: str | None = None
) -> OutgoingMessage:
    return OutgoingMessage(
        subject=f"{stream.name}.{leaf}",
        data=str(number).encode(),
        message_id=f"{stream.name}-{number}",
        traceparent=traceparent,
    )


async def publish(bus: Bus, message: OutgoingMessage) -> Published:
    (outcome,) = await bus.publish_all([message])
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


async def wait_for(condition: Callable[[], bool], timeout_s: float = 10) -> None:
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110 - a condition with a deadline
            await asyncio.sleep(0.005)


def _has(seen: list[bytes], count: int) -> Callable[[], bool]:
    return lambda: len(seen) >= count


async def stop(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def never_poison(message: Message, error: Exception) -> None:
    raise AssertionError("nothing is poison here") from error


async def test_the_products_streams_are_made_as_designed(bus: Bus) -> None:
    """On disk, 14 days, duplicates caught for 10 minutes, nothing deleted by hand.

    Making them again changes nothing.
    """
    for _ in range(2):
        await bus.ensure_streams(STREAMS)
    config = (await bus.jetstream.stream_info(APPOINTMENTS.name)).config
    assert (config.storage, config.max_age, config.duplicate_window) == ("file", 14 * 86_400, 600)
    assert (config.deny_delete, config.num_replicas) == (True, 1)


async def test_a_message_is_stored_once(bus: Bus, stream: StreamSpec) -> None:
    """The same message id twice is one message; the second acknowledgement says so."""
    first = await publish(bus, message(stream, 1))
    again = await publish(bus, message(stream, 1))
    assert first == Published(stream.name, 1, is_duplicate=False)
    assert again == Published(stream.name, 1, is_duplicate=True)
    assert await bus.bounds(stream.name) == (1, 1)


async def test_many_messages_keep_their_order(bus: Bus, stream: StreamSpec) -> None:
    """Sent without waiting in between, they are stored in the order they were given."""
    outcomes = await bus.publish_all([message(stream, number) for number in range(300)])
    assert [outcome.sequence for outcome in outcomes if isinstance(outcome, Published)] == list(range(1, 301))


async def test_what_can_never_be_stored_is_rejected(bus: Bus, stream: StreamSpec) -> None:
    """A message over the limit is Rejected, one that nobody stores is Unavailable.

    Each beside its neighbours.
    """
    large = OutgoingMessage(subject=f"{stream.name}.a", data=b"x" * 1_100_000, message_id="large")
    lost = OutgoingMessage(subject=f"nobody.{uuid4().hex}", data=b"", message_id="lost")
    stored, rejected, unstored = await bus.publish_all([message(stream, 1), large, lost])
    assert isinstance(stored, Published)
    assert isinstance(rejected, Rejected)
    assert isinstance(unstored, Unavailable)


async def test_a_durable_consumer_sees_everything_with_its_trace(bus: Bus, stream: StreamSpec) -> None:
    """Messages from before and after it was made arrive soon, with id, sequence and trace context."""
    seen: list[tuple[Message, str | None]] = []

    async def handle(received: Message) -> None:
        seen.append((received, current_traceparent()))

    await publish(bus, message(stream, 1, traceparent=TRACEPARENT))
    consumer = DurableConsumer(bus, DurableSpec(stream=stream.name, name="d"), handle, never_poison)
    running = asyncio.create_task(consumer.run())
    await consumer.wait_pulling(5_000)
    await wait_for(lambda: len(seen) == 1)
    began = time.monotonic()
    await publish(bus, message(stream, 2))
    await wait_for(lambda: len(seen) == 2)
    assert time.monotonic() - began < 1
    await stop(running)
    (first, trace), (second, no_trace) = seen
    assert (first.data, first.message_id, first.sequence, first.deliveries) == (
        b"1",
        f"{stream.name}-1",
        1,
        1,
    )
    assert (trace, first.traceparent) == (TRACEPARENT, TRACEPARENT)
    assert (second.sequence, no_trace) == (2, None)


async def test_a_durable_consumer_goes_on_where_it_was(bus: Bus, stream: StreamSpec) -> None:
    """What was acknowledged does not come again after a restart; what came meanwhile does."""
    seen: list[bytes] = []

    async def handle(received: Message) -> None:
        seen.append(received.data)

    for batch in ((1, 2), (3, 4)):
        await bus.publish_all([message(stream, number) for number in batch])
        consumer = DurableConsumer(bus, DurableSpec(stream=stream.name, name="d"), handle, never_poison)
        running = asyncio.create_task(consumer.run())
        await wait_for(_has(seen, batch[-1]))
        await stop(running)
    assert sorted(seen) == [b"1", b"2", b"3", b"4"]


async def test_poison_is_set_aside_and_an_outage_is_not_poison(bus: Bus, stream: StreamSpec) -> None:
    """A message that always fails is handed to `on_poison` once.

    One whose dependency is away is tried for ever.
    """
    tries = {b"1": 0, b"2": 0, b"3": 0}
    poison: list[tuple[bytes, str]] = []

    async def handle(received: Message) -> None:
        tries[received.data] += 1
        if received.data == b"1":
            raise ValueError("always")
        if received.data == b"2" and tries[b"2"] < 8:
            raise Unavailable

    async def on_poison(received: Message, error: Exception) -> None:
        poison.append((received.data, str(error)))

    await bus.publish_all([message(stream, number) for number in (1, 2, 3)])
    spec = DurableSpec(stream=stream.name, name="d", failures_max=3)
    running = asyncio.create_task(DurableConsumer(bus, spec, handle, on_poison, backoff=FAST).run())
    await wait_for(lambda: tries[b"2"] == 8 and bool(poison))
    info = None
    async with asyncio.timeout(5):
        while info is None or info.num_ack_pending:
            info = await bus.jetstream.consumer_info(stream.name, "d")
    await stop(running)
    assert tries == {b"1": 3, b"2": 8, b"3": 1}
    assert poison == [(b"1", "always")]


async def test_no_more_is_in_flight_than_allowed(bus: Bus, stream: StreamSpec) -> None:
    """At most `in_flight_max` handlers run at once, and running ones finish when the consumer is stopped."""
    now = most = done = 0
    gate = asyncio.Event()

    async def handle(_: Message) -> None:
        nonlocal now, most, done
        now += 1
        most = max(most, now)
        await gate.wait()
        now -= 1
        done += 1

    await bus.publish_all([message(stream, number) for number in range(20)])
    spec = DurableSpec(stream=stream.name, name="d", in_flight_max=3)
    running = asyncio.create_task(DurableConsumer(bus, spec, handle, never_poison).run())
    await wait_for(lambda: now == 3)
    running.cancel()
    gate.set()
    await asyncio.gather(running, return_exceptions=True)
    assert (most, now, done) == (3, 0, 3)


async def test_an_ordered_consumer_follows_from_a_position(bus: Bus, stream: StreamSpec) -> None:
    """From a sequence it yields all that follows in order, then what is new.

    From nowhere, only what is new.
    """
    await bus.publish_all([message(stream, number) for number in range(1, 8)])
    reader = OrderedConsumer(bus, stream.name)
    following = reader.messages(4)
    assert [(await anext(following)).sequence for _ in range(4)] == [4, 5, 6, 7]
    fresh_reader = OrderedConsumer(bus, stream.name, [f"{stream.name}.b"])
    fresh = fresh_reader.messages()
    first_fresh: asyncio.Future[Message] = asyncio.ensure_future(anext(fresh))
    await asyncio.wait_for(fresh_reader.is_following.wait(), 5)
    await publish(bus, message(stream, 8))
    await publish(bus, message(stream, 9, leaf="b"))
    assert (await anext(following)).sequence == 8
    assert (await asyncio.wait_for(first_fresh, 5)).sequence == 9
    await following.aclose()  # type: ignore[attr-defined]
    await fresh.aclose()  # type: ignore[attr-defined]


async def test_a_cut_line_is_unavailable_at_once_and_heals(
    nats_url: str, bus: Bus, stream: StreamSpec
) -> None:
    """While the line is cut publishing fails within a second; afterwards it works with no restart."""
    async with Proxy(nats_url) as proxy:
        behind = Bus(settings(proxy.url), client_name="behind")
        await behind.start()
        await publish(behind, message(stream, 1))
        proxy.cut()
        await wait_for(lambda: not behind.is_connected)
        began = time.monotonic()
        with pytest.raises(Unavailable):
            await publish(behind, message(stream, 2))
        with pytest.raises(Unavailable):
            await behind.check()
        assert time.monotonic() - began < 1
        proxy.restore()
        await wait_for(lambda: behind.is_connected)
        assert (await publish(behind, message(stream, 2))).sequence == 2
        await behind.stop()


async def test_readers_survive_a_cut_line(nats_url: str, bus: Bus, stream: StreamSpec) -> None:
    """Supervised readers lose nothing and repeat nothing acknowledged when the line was gone for a while."""
    durable: list[bytes] = []
    ordered: list[int] = []

    async def handle(received: Message) -> None:
        durable.append(received.data)

    async with Proxy(nats_url) as proxy:
        behind = Bus(settings(proxy.url), client_name="behind")
        await behind.start()

        async def follow() -> None:
            async for received in OrderedConsumer(behind, stream.name).messages((ordered or [0])[-1] + 1):
                ordered.append(received.sequence)  # noqa: PERF401 - it is looked at meanwhile

        supervisor = Supervisor(backoff=Backoff(first_ms=20, max_ms=100))
        spec = DurableSpec(stream=stream.name, name="d")
        supervisor.spawn("durable", DurableConsumer(behind, spec, handle, never_poison).run)
        supervisor.spawn("ordered", follow)
        await bus.publish_all([message(stream, number) for number in range(1, 51)])
        await wait_for(lambda: len(durable) == 50 and len(ordered) == 50)
        proxy.cut()
        await bus.publish_all([message(stream, number) for number in range(51, 101)])
        await wait_for(lambda: not behind.is_connected)
        proxy.restore()
        await wait_for(lambda: len(set(durable)) == 100 and len(ordered) == 100, timeout_s=40)
        await supervisor.stop()
        await behind.stop()
    assert ordered == list(range(1, 101))


async def test_a_bus_that_is_away_at_the_start_is_found_later(nats_url: str) -> None:
    """A process starts without NATS, says Unavailable, and is connected as soon as there is one."""
    async with Proxy(nats_url) as proxy:
        proxy.cut()
        late = Bus(
            NatsSettings(url=proxy.url, connect_timeout_ms=100, ack_timeout_ms=500), client_name="late"
        )
        await asyncio.wait_for(late.start(), 3)
        with pytest.raises(Unavailable):
            await late.check()
        with pytest.raises(Unavailable):
            await late.wait_connected(10)
        proxy.restore()
        await late.wait_connected(20_000)
        await late.check()
        await late.stop()

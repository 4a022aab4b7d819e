"""The running service follows the events, and is as fresh as a token asks."""

from uuid import uuid4

import psycopg
from medforall.availability.v1 import availability_pb2 as pb

from availability_svc.wiring import Stores
from scheduling import consistency
from tests.integration.availability.asking import book_of, book_slot, call, caller_of, search_of
from tests.integration.availability.conftest import World
from tests.support.availability_service import Running, publish
from tests.support.waiting import wait_until_async


async def test_an_event_takes_a_slot_away_and_gives_it_back(
    world: World, stores: Stores, service: Running, nats_url: str
) -> None:
    """A booking's event makes its slot vanish from the next searches; the cancellation brings it back."""
    caller = caller_of(world)
    before = await call(service.stub.SearchSlots, search_of(world, limit=500), caller)
    slot = before.slots[0]
    book = book_of(world, stores)
    event = book_slot(world, book, slot)
    book.store(world.database.owner_url)
    with_slot = (slot.start_utc.seconds, slot.provider.id)

    async def offers() -> bool:
        reply = await call(service.stub.SearchSlots, search_of(world, limit=500), caller)
        return with_slot in {(one.start_utc.seconds, one.provider.id) for one in reply.slots}

    async def is_gone() -> bool:
        return not await offers()

    assert await offers()
    await publish(nats_url, {str(uuid4()): event})
    await wait_until_async(is_gone, timeout_s=5, what="the slot to go")
    canceled = book.cancel_last()
    book.store(world.database.owner_url)
    await publish(nats_url, {str(uuid4()): canceled})
    await wait_until_async(offers, timeout_s=5, what="the slot to come back")


async def test_a_consistency_token_is_answered_from_facts_that_new(world: World, service: Running) -> None:
    """A search with a version that no event has brought yet reads the database; one without it does not."""
    caller = caller_of(world)
    request = search_of(world, limit=5)
    first = await call(service.stub.SearchSlots, request, caller)
    provider_id = first.slots[0].provider.id
    with psycopg.connect(world.database.owner_url) as owner:
        row = owner.execute(
            "UPDATE resource SET calendar_version = calendar_version + 1 WHERE clinic_id = %s AND id = %s"
            " RETURNING calendar_version",
            (world.clinic.id, provider_id),
        ).fetchone()
    assert row is not None
    plain = await call(service.stub.SearchSlots, request, caller)
    assert plain.metadata.cache_layer == pb.CACHE_LAYER_L1
    request.consistency_token = consistency.encode({provider_id: row[0]})
    fresh = await call(service.stub.SearchSlots, request, caller)
    assert fresh.metadata.cache_layer == pb.CACHE_LAYER_DATABASE
    again = await call(service.stub.SearchSlots, request, caller)
    assert again.metadata.cache_layer == pb.CACHE_LAYER_L1

"""What the tests of the running service ask, and who asks."""

import random
from datetime import timedelta
from typing import Any

import grpc
import grpc.aio
import psycopg
from medforall.availability.v1 import availability_pb2 as pb

from availability_svc.wiring import Stores
from chassis.auth.principal import Role
from database.facts import build_location
from scheduling.clock import instant_of
from scheduling.facts import StaticFacts
from tests.integration.availability.conftest import FIRST_DAY, World
from tests.support.availability_book import Book
from tests.support.availability_service import metadata
from tests.support.practice import Practice


def search_of(
    world: World, *, day: int = 1, days: int = 3, service: int = 0, **fields: Any
) -> pb.SearchSlotsRequest:
    """Return a search of a few days of one service at the first location."""
    start = FIRST_DAY + timedelta(days=day)
    return pb.SearchSlotsRequest(
        clinic_id=world.clinic.id,
        service_id=world.service_ids[service],
        location_id=world.location_id,
        start=start.isoformat(),
        end=(start + timedelta(days=days)).isoformat(),
        **fields,
    )


def caller_of(world: World, role: Role = Role.FRONT_DESK, **claims: Any) -> tuple[tuple[str, str], ...]:
    """Return the metadata of somebody of the clinic."""
    return metadata(world.signing, world.clinic.id, role, **claims)


async def call(method: Any, request: Any, caller: Any) -> Any:
    """Call a method."""
    return await method(request, metadata=caller, timeout=10)


async def code_of(method: Any, request: Any, caller: Any) -> grpc.StatusCode:
    """Return the status of a call."""
    try:
        await call(method, request, caller)
    except grpc.aio.AioRpcError as error:
        return error.code()
    return grpc.StatusCode.OK


def static_of(world: World, stores: Stores) -> StaticFacts:
    """Return the first location's facts, straight from the database."""
    document = stores.truth.location(world.clinic.id, world.location_id)
    assert document is not None
    return build_location(document.text).static


def book_of(world: World, stores: Stores) -> Book:
    """Return the first location's appointments as the database has them."""
    book = Book(
        clinic_id=world.clinic.id,
        static=static_of(world, stores),
        patients=[],
        rng=random.Random(),
        first_min=0,
        last_min=1,
    )
    book.load(world.database.owner_url)
    return book


def book_slot(world: World, book: Book, slot: Any) -> bytes:
    """Book a slot of the plainest service, in the book alone, and return the event."""
    return book.book_at(
        world.service_ids[0],
        slot.provider.id,
        slot.start_utc.seconds // 60,
        slot.room_options[0].id if slot.room_options else None,
    )


def practice_search(practice: Practice, start: str, end: str, **fields: Any) -> pb.SearchSlotsRequest:
    """Return a search of a made clinic's first service between two local times."""
    return pb.SearchSlotsRequest(
        clinic_id=practice.clinic,
        service_id=practice.service,
        location_id=practice.location,
        start=start,
        end=end,
        **fields,
    )


def take(practice: Practice, resource_id: str, start_min: int, end_min: int) -> None:
    """Have one unit of a resource be taken by somebody."""
    span = instant_of(start_min), instant_of(end_min)
    with psycopg.connect(practice.owner_url) as owner:
        owner.execute(
            "INSERT INTO claim (clinic_id, resource_id, unit, starts_at, ends_at, during, appointment_id)"
            " VALUES (%s, %s, 1, %s, %s, tstzrange(%s, %s), gen_random_uuid())",
            (practice.clinic, resource_id, *span, *span),
        )

"""The running service: its answers against the engine on facts straight from SQL, and what it does in need."""

import asyncio
import itertools
import random
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from uuid import uuid4

import grpc
import psycopg
import pytest
import redis as redis_client
from grpc_status import rpc_status
from medforall.availability.v1 import availability_pb2 as pb

from availability_svc.usecases.verify_projection import ProjectionCare
from availability_svc.wiring import Stores
from chassis.auth.principal import Role
from database.facts import CLAIMS_SQL, build_claims, build_location, claims_parameters
from scheduling import consistency, localtime
from scheduling.busy import BusyFacts
from scheduling.clock import exact_minutes_of, instant_of
from scheduling.derived import DerivedCache
from scheduling.facts import SlotRequest, StaticFacts
from scheduling.reading import resources_read, span_read
from scheduling.search import SearchQuery, search
from scheduling.slots import SlotOrder
from scheduling.timeline import Horizon
from tests.integration.availability.conftest import FIRST_DAY, World
from tests.integration.chassis.proxy import Proxy
from tests.support.availability_book import Book
from tests.support.availability_service import Running, metadata, publish, running
from tests.support.waiting import wait_until_async


@pytest.fixture
async def service(world: World) -> AsyncIterator[Running]:
    """The service on the session's servers."""
    async with running(world.settings()) as started:
        yield started


def _search(
    world: World, *, day: int = 1, days: int = 3, service: int = 0, **fields: Any
) -> pb.SearchSlotsRequest:
    start = FIRST_DAY + timedelta(days=day)
    return pb.SearchSlotsRequest(
        clinic_id=world.clinic.id,
        service_id=world.service_ids[service],
        location_id=world.location_id,
        start=start.isoformat(),
        end=(start + timedelta(days=days)).isoformat(),
        **fields,
    )


def _caller(world: World, role: Role = Role.FRONT_DESK, **claims: Any) -> tuple[tuple[str, str], ...]:
    return metadata(world.signing, world.clinic.id, role, **claims)


async def _call(method: Any, request: Any, caller: Any) -> Any:
    return await method(request, metadata=caller, timeout=10)


def _static(world: World, stores: Stores) -> StaticFacts:
    document = stores.truth.location(world.clinic.id, world.location_id)
    assert document is not None
    return build_location(document).static


def _truth(world: World, static: StaticFacts, request: SlotRequest, window: Any) -> BusyFacts:
    """Every claim that decides, read with plain SQL as the owner."""
    span = span_read(static, request, window)
    parameters = claims_parameters(
        world.clinic.id, resources_read(static, request, window), span.start_min, span.end_min
    )
    with psycopg.connect(world.database.owner_url) as owner:
        return BusyFacts.of(build_claims(owner.execute(CLAIMS_SQL, parameters).fetchall()))


async def test_a_search_says_what_the_engine_says_of_the_database(
    world: World, stores: Stores, service: Running
) -> None:
    """Every service, over all pages, cold and warm: the same slots, rooms, scores and order as engine and SQL."""
    static = _static(world, stores)
    cache = DerivedCache()
    for index, service_id in enumerate(world.service_ids):
        for order in (pb.SLOT_ORDER_SCORE, pb.SLOT_ORDER_TIME):
            request = _search(world, service=index, days=4, order_by=order, limit=40)
            window_start = localtime.parse_local(request.start, static.location.zone)
            window_end = localtime.parse_local(request.end, static.location.zone)
            question = SlotRequest(service_id)
            query = SearchQuery(
                question,
                window_start,
                window_end,
                SlotOrder.TIME if order == pb.SLOT_ORDER_TIME else SlotOrder.SCORE,
            )
            busy = _truth(world, static, question, Horizon(window_start, window_end))
            now_min = exact_minutes_of(service.reader.stamp().fetched_at)
            wanted = [
                (slot.start_min, slot.end_min, slot.provider_id, slot.room_ids, slot.score)
                for slot in search(static, busy, query, now_min, cache)
            ]
            got, token = [], None
            while token != "":
                reply = await _call(service.stub.SearchSlots, request, _caller(world))
                got += [
                    (
                        slot.start_utc.seconds // 60,
                        slot.end_utc.seconds // 60,
                        slot.provider.id,
                        tuple(room.id for room in slot.room_options),
                        slot.score,
                    )
                    for slot in reply.slots
                ]
                assert reply.metadata.total_slots == len(wanted)
                token = request.page_token = reply.next_page_token
            assert got == wanted


async def test_a_reply_has_the_words_of_the_contract(world: World, service: Running) -> None:
    """A slot has local and UTC times that agree, its provider's name and its rooms' names; metadata says how fresh."""
    reply = await _call(service.stub.SearchSlots, _search(world, limit=5), _caller(world))
    slot = reply.slots[0]
    zone = world.clinic.zone
    assert localtime.parse_local(slot.start, zone) == slot.start_utc.seconds // 60
    assert slot.start == localtime.format_local(zone, slot.start_utc.seconds // 60)
    here = world.clinic.locations[0]
    assert slot.provider.name == here.providers[slot.provider.id].name
    assert [room.name for room in slot.room_options] == [
        here.rooms[room.id].name for room in slot.room_options
    ]
    assert reply.metadata.timezone == zone
    assert reply.metadata.cache_layer == pb.CACHE_LAYER_DATABASE
    assert not reply.metadata.patient_rules_judged
    again = await _call(service.stub.SearchSlots, _search(world, limit=5), _caller(world))
    assert again.metadata.cache_layer == pb.CACHE_LAYER_L1
    assert again.slots == reply.slots


async def test_explain_says_free_exactly_when_search_offers(world: World, service: Running) -> None:
    """For random grid and off-grid starts, each provider is explained free just when the search has its slot."""
    rng = random.Random(7)
    request = _search(world, days=2, limit=500)
    reply = await _call(service.stub.SearchSlots, request, _caller(world))
    assert not reply.next_page_token
    offered = {(slot.start_utc.seconds // 60, slot.provider.id) for slot in reply.slots}
    start_min = localtime.parse_local(request.start, world.clinic.zone)
    asked = rng.sample(sorted({start for start, _ in offered}), 4) + [
        start_min + rng.randrange(0, 2 * 1440 - 90) for _ in range(12)
    ]
    for at_min in asked:
        explained = await _call(
            service.stub.ExplainSlot,
            pb.ExplainSlotRequest(
                clinic_id=request.clinic_id,
                service_id=request.service_id,
                location_id=request.location_id,
                start=localtime.format_local(world.clinic.zone, at_min),
            ),
            _caller(world),
        )
        for one in explained.providers:
            assert one.free == ((at_min, one.provider.id) in offered)
            assert one.free == all(outcome.passed for outcome in one.outcomes)
        assert explained.free == any(one.free for one in explained.providers)


async def test_the_runs_of_a_day_cover_it_and_count_its_slots(world: World, service: Running) -> None:
    """ExplainDay's runs join up from midnight to midnight, and its free slots are those of the search."""
    day = FIRST_DAY + timedelta(days=1)
    request = _search(world, days=2, limit=500)
    reply = await _call(service.stub.SearchSlots, request, _caller(world))
    explained = await _call(
        service.stub.ExplainDay,
        pb.ExplainDayRequest(
            clinic_id=request.clinic_id,
            service_id=request.service_id,
            location_id=request.location_id,
            date=day.isoformat(),
        ),
        _caller(world),
    )
    low, high = localtime.day_bounds(world.clinic.zone, day)
    for one in explained.providers:
        bounds = [
            (run.interval.start_utc.seconds // 60, run.interval.end_utc.seconds // 60) for run in one.runs
        ]
        assert (bounds[0][0], bounds[-1][1]) == (low, high)
        assert all(left[1] == right[0] for left, right in itertools.pairwise(bounds))
        slots = [slot for slot in reply.slots if slot.provider.id == one.provider.id]
        assert one.free_slots == sum(low <= slot.start_utc.seconds // 60 < high for slot in slots)


async def test_next_available_is_the_beginning_of_the_search_by_time(world: World, service: Running) -> None:
    """The first slots of one location are those that a search by time begins with."""
    request = _search(world, order_by=pb.SLOT_ORDER_TIME, limit=4, days=7)
    reply = await _call(service.stub.SearchSlots, request, _caller(world))
    found = await _call(
        service.stub.FindNextAvailable,
        pb.FindNextAvailableRequest(
            clinic_id=request.clinic_id,
            service_id=request.service_id,
            location_ids=[request.location_id],
            after=request.start,
            count=4,
        ),
        _caller(world),
    )
    assert list(found.slots) == list(reply.slots)


async def test_a_batch_answers_in_the_order_asked(world: World, service: Running) -> None:
    """Each answer of a batch has the slots of the single search, in its place."""
    searches = [_search(world, day=day, days=1, limit=10) for day in (3, 1, 2)]
    batch = await _call(
        service.stub.BatchSearchSlots,
        pb.BatchSearchSlotsRequest(clinic_id=world.clinic.id, searches=searches),
        _caller(world),
    )
    for one, answered in zip(searches, batch.results, strict=True):
        single = await _call(service.stub.SearchSlots, one, _caller(world))
        assert list(answered.slots) == list(single.slots)


async def test_free_busy_shows_times_and_nobody(world: World, service: Running) -> None:
    """A provider's taken runs are its claims in SQL, and open time holds every slot offered."""
    provider_id = world.provider_ids[0]
    request = _search(world, days=2, limit=500, provider_ids=[provider_id])
    answer = await _call(
        service.stub.GetFreeBusy,
        pb.GetFreeBusyRequest(
            clinic_id=request.clinic_id,
            resource_id=provider_id,
            location_id=request.location_id,
            start=request.start,
            end=request.end,
        ),
        _caller(world),
    )
    with psycopg.connect(world.database.owner_url) as owner:
        taken = owner.execute(
            "SELECT sum(extract(epoch FROM least(ends_at, %(e)s) - greatest(starts_at, %(s)s)) / 60)::int FROM claim"
            " WHERE clinic_id = %(c)s AND resource_id = %(r)s AND starts_at < %(e)s AND ends_at > %(s)s",
            {
                "c": request.clinic_id,
                "r": provider_id,
                "s": _instant(request.start, world.clinic.zone),
                "e": _instant(request.end, world.clinic.zone),
            },
        ).fetchone()
    runs = [(run.interval.start_utc.seconds // 60, run.interval.end_utc.seconds // 60) for run in answer.busy]
    assert taken is not None
    assert sum(end - start for start, end in runs) == (taken[0] or 0)


def _instant(local: str, zone: str) -> Any:
    return instant_of(localtime.parse_local(local, zone))


async def test_free_busy_elsewhere_keeps_a_calendar_whole(
    world: World, service: Running, care: ProjectionCare
) -> None:
    """A provider asked about where it does not work is projected with its gaps: nothing differs from SQL."""
    there = world.clinic.locations[1].static.providers
    stranger_id = next(found.id for found in there if found.id not in world.provider_ids)
    request = _search(world, days=5)
    answer = await _call(
        service.stub.GetFreeBusy,
        pb.GetFreeBusyRequest(
            clinic_id=world.clinic.id,
            resource_id=stranger_id,
            location_id=world.location_id,
            start=request.start,
            end=request.end,
        ),
        _caller(world),
    )
    assert not answer.open
    assert answer.busy
    found = care.verify(world.clinic.id)
    assert found.entries
    assert found.differences == []


async def test_an_event_takes_a_slot_away_and_gives_it_back(
    world: World, stores: Stores, service: Running, nats_url: str
) -> None:
    """A booking's event makes its slot vanish from the next searches; the cancellation brings it back."""
    caller = _caller(world)
    before = await _call(service.stub.SearchSlots, _search(world, limit=500), caller)
    slot = before.slots[0]
    event, cancel = _book_slot(world, stores, slot)
    with_slot = (slot.start_utc.seconds, slot.provider.id)

    async def offers() -> bool:
        reply = await _call(service.stub.SearchSlots, _search(world, limit=500), caller)
        return with_slot in {(one.start_utc.seconds, one.provider.id) for one in reply.slots}

    async def is_gone() -> bool:
        return not await offers()

    assert await offers()
    await publish(nats_url, {str(uuid4()): event})
    await wait_until_async(is_gone, timeout_s=5, what="the slot to go")
    await publish(nats_url, {str(uuid4()): cancel})
    await wait_until_async(offers, timeout_s=5, what="the slot to come back")


def _book_slot(world: World, stores: Stores, slot: Any) -> tuple[bytes, bytes]:
    """Return the event of booking a slot, and the event of canceling it."""
    static = _static(world, stores)
    book = Book(
        clinic_id=world.clinic.id,
        static=static,
        patients=[],
        rng=random.Random(1),
        first_min=0,
        last_min=1,
    )
    book.load(world.database.owner_url)
    event = book.book_at(
        world.service_ids[0],
        slot.provider.id,
        slot.start_utc.seconds // 60,
        slot.room_options[0].id if slot.room_options else None,
    )
    return event, book.cancel_last()


async def test_a_consistency_token_is_answered_from_facts_that_new(world: World, service: Running) -> None:
    """A search with a version that no event has brought yet reads the database; one without it does not."""
    caller = _caller(world)
    request = _search(world, limit=5)
    first = await _call(service.stub.SearchSlots, request, caller)
    provider_id = first.slots[0].provider.id
    with psycopg.connect(world.database.owner_url) as owner:
        row = owner.execute(
            "UPDATE resource SET calendar_version = calendar_version + 1 WHERE clinic_id = %s AND id = %s"
            " RETURNING calendar_version",
            (world.clinic.id, provider_id),
        ).fetchone()
    assert row is not None
    plain = await _call(service.stub.SearchSlots, request, caller)
    assert plain.metadata.cache_layer == pb.CACHE_LAYER_L1
    request.consistency_token = consistency.encode({provider_id: row[0]})
    fresh = await _call(service.stub.SearchSlots, request, caller)
    assert fresh.metadata.cache_layer == pb.CACHE_LAYER_DATABASE
    again = await _call(service.stub.SearchSlots, request, caller)
    assert again.metadata.cache_layer == pb.CACHE_LAYER_L1


async def test_other_clinics_look_like_nothing(world: World, service: Running) -> None:
    """Unknown ids of every kind are NOT_FOUND, and so is another clinic."""
    unknown = str(uuid4())
    for fields in (
        {"location_id": unknown},
        {"service_id": unknown},
        {"provider_ids": [unknown]},
        {"patient_id": unknown},
        {"ignore_appointment_id": unknown},
        {"clinic_id": unknown},
    ):
        request = _search(world)
        for name, value in fields.items():
            if isinstance(value, list):
                request.provider_ids.extend(value)
            else:
                setattr(request, name, value)
        assert await _code(service.stub.SearchSlots, request, _caller(world)) == grpc.StatusCode.NOT_FOUND


async def test_windows_and_tokens_are_checked(world: World, service: Running) -> None:
    """A window the wrong way round or too long, a time that is none and a foreign page token are INVALID_ARGUMENT."""
    for request in (
        _search(world, days=-1),
        _search(world, days=94),
        _search(world, page_token="abc"),
        pb.SearchSlotsRequest(**{**_fields(_search(world)), "start": "2026-13-01T00:00"}),
    ):
        assert (
            await _code(service.stub.SearchSlots, request, _caller(world)) == grpc.StatusCode.INVALID_ARGUMENT
        )
    first = await _call(service.stub.SearchSlots, _search(world, limit=5), _caller(world))
    other = _search(world, service=1, limit=5, page_token=first.next_page_token)
    assert await _code(service.stub.SearchSlots, other, _caller(world)) == grpc.StatusCode.INVALID_ARGUMENT


def _fields(request: pb.SearchSlotsRequest) -> dict[str, Any]:
    return {field.name: value for field, value in request.ListFields()}


async def _code(method: Any, request: Any, caller: Any) -> grpc.StatusCode:
    try:
        await _call(method, request, caller)
    except grpc.aio.AioRpcError as error:
        return error.code()
    return grpc.StatusCode.OK


async def test_patients_search_for_themselves_only(world: World, service: Running) -> None:
    """A patient's token may judge its own rules; another patient's id is NOT_FOUND; nobody may be anonymous here."""
    own, other = world.clinic.patient_ids[:2]
    caller = _caller(world, Role.PATIENT, patient_id=own)
    reply = await _call(service.stub.SearchSlots, _search(world, patient_id=own), caller)
    assert reply.metadata.patient_rules_judged
    code = await _code(service.stub.SearchSlots, _search(world, patient_id=other), caller)
    assert code == grpc.StatusCode.NOT_FOUND


async def test_many_cold_callers_read_the_database_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Thirty searches of one cold place at once read each calendar from the database a single time."""
    async with running(world.settings()) as service:
        truth = service.reader._calendars._truth
        read: list[Any] = []
        original = truth.stretches

        def counted(clinic_id: str, stretches: Any, **options: Any) -> Any:
            read.extend(stretches)
            return original(clinic_id, stretches, **options)

        monkeypatch.setattr(truth, "stretches", counted)
        caller = _caller(world)
        await asyncio.gather(*(_call(service.stub.SearchSlots, _search(world), caller) for _ in range(30)))
        assert read
        assert len(read) == len(set(read))


async def test_without_redis_answers_come_from_the_database(world: World) -> None:
    """T21: Redis flushed, cut and silent in turn; every search is answered right, and in less than a second."""
    url = world.environment["MEDFORALL_REDIS_URL"]
    async with Proxy(url) as line, running(world.settings(MEDFORALL_REDIS_URL=line.url)) as service:
        caller = _caller(world)
        expected = await _call(service.stub.SearchSlots, _search(world, limit=500), caller)

        async def is_right() -> float:
            service.reader._calendars.clear()
            service.reader._locations.clear()
            began = time.perf_counter()
            reply = await _call(service.stub.SearchSlots, _search(world, limit=500), caller)
            assert list(reply.slots) == list(expected.slots)
            return time.perf_counter() - began

        with redis_client.Redis.from_url(url) as client:
            client.flushdb()
        assert await is_right() < 1
        line.cut()
        assert max([await is_right() for _ in range(5)]) < 1
        line.restore()
        line.hold()
        assert max([await is_right() for _ in range(6)]) < 1
        line.restore()

        async def is_back() -> bool:
            await is_right()
            reply = await _call(service.stub.SearchSlots, _search(world, limit=1), caller)
            service.reader._calendars.clear()
            reply = await _call(service.stub.SearchSlots, _search(world, limit=1), caller)
            return bool(reply.metadata.cache_layer == pb.CACHE_LAYER_L2)

        await wait_until_async(is_back, timeout_s=10, what="Redis to be used again")


async def test_without_nats_answers_say_that_they_are_stale(world: World) -> None:
    """NATS away: the search goes on, says stale with a growing age, and is fresh again afterwards."""
    async with (
        Proxy(world.environment["MEDFORALL_NATS_URL"]) as line,
        running(world.settings(MEDFORALL_NATS_URL=line.url)) as service,
    ):
        caller = _caller(world)

        async def is_stale() -> bool:
            reply = await _call(service.stub.SearchSlots, _search(world, limit=1), caller)
            return bool(reply.metadata.stale)

        async def is_receiving() -> bool:
            return bool(service.reader._freshness._is_receiving)

        await wait_until_async(is_receiving, timeout_s=10, what="events to be received")
        line.cut()
        await wait_until_async(is_stale, timeout_s=10, what="the answers to be stale")
        first = await _call(service.stub.SearchSlots, _search(world, limit=1), caller)
        await asyncio.sleep(0)
        second = await _call(service.stub.SearchSlots, _search(world, limit=1), caller)
        assert second.metadata.age_ms >= first.metadata.age_ms > 0
        line.restore()
        await wait_until_async(is_receiving, timeout_s=15, what="events to be received again")


async def test_without_the_database_the_cache_answers_and_the_rest_is_unavailable(world: World) -> None:
    """T13: what is projected is served marked stale, what is not is UNAVAILABLE in less than two seconds."""
    async with (
        Proxy(world.environment["MEDFORALL_APP_DATABASE_URL"]) as app,
        Proxy(world.environment["MEDFORALL_WORKER_DATABASE_URL"]) as worker,
        running(
            world.settings(MEDFORALL_APP_DATABASE_URL=app.url, MEDFORALL_WORKER_DATABASE_URL=worker.url)
        ) as service,
    ):
        caller = _caller(world)
        expected = await _call(service.stub.SearchSlots, _search(world), caller)
        app.cut()
        worker.cut()
        service.reader._calendars.clear()
        service.reader._locations.clear()

        async def is_stale() -> bool:
            reply = await _call(service.stub.SearchSlots, _search(world), caller)
            assert list(reply.slots) == list(expected.slots)
            return bool(reply.metadata.stale)

        await wait_until_async(is_stale, timeout_s=10, what="the answers to be stale")
        began = time.perf_counter()
        cold = _search(world, day=60)
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await _call(service.stub.SearchSlots, cold, caller)
        assert failed.value.code() == grpc.StatusCode.UNAVAILABLE
        assert rpc_status.from_call(failed.value) is not None
        assert time.perf_counter() - began < 2
        app.restore()
        worker.restore()

        async def is_answered() -> bool:
            return await _code(service.stub.SearchSlots, cold, caller) == grpc.StatusCode.OK

        await wait_until_async(is_answered, timeout_s=10, what="the database to be used again")

"""The running service's searches, against the engine on facts straight from SQL and against the contract."""

from typing import Any
from uuid import uuid4

import grpc
import psycopg
import pytest
from medforall.availability.v1 import availability_pb2 as pb

from availability_svc.wiring import Stores
from chassis.auth.principal import Role
from database.facts import CLAIMS_SQL, build_claims, claims_parameters
from scheduling import consistency, localtime
from scheduling.busy import BusyFacts
from scheduling.clock import exact_minutes_of
from scheduling.derived import DerivedCache
from scheduling.facts import SlotRequest, StaticFacts
from scheduling.reading import resources_read, span_read
from scheduling.search import SearchQuery, search
from scheduling.slots import SlotOrder
from scheduling.timeline import Horizon
from tests.integration.availability.asking import call, caller_of, code_of, search_of, static_of
from tests.integration.availability.conftest import World
from tests.support.availability_service import Running
from tests.support.booking import details_of


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
    static = static_of(world, stores)
    cache = DerivedCache()
    for index, service_id in enumerate(world.service_ids):
        for order in (pb.SLOT_ORDER_SCORE, pb.SLOT_ORDER_TIME):
            request = search_of(world, service=index, days=4, order_by=order, limit=40)
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
                reply = await call(service.stub.SearchSlots, request, caller_of(world))
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
    reply = await call(service.stub.SearchSlots, search_of(world, limit=5), caller_of(world))
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
    again = await call(service.stub.SearchSlots, search_of(world, limit=5), caller_of(world))
    assert again.metadata.cache_layer == pb.CACHE_LAYER_L1
    assert again.slots == reply.slots


async def test_next_available_is_the_beginning_of_the_search_by_time(world: World, service: Running) -> None:
    """The first slots of one location are those that a search by time begins with."""
    request = search_of(world, order_by=pb.SLOT_ORDER_TIME, limit=4, days=7)
    reply = await call(service.stub.SearchSlots, request, caller_of(world))
    found = await call(
        service.stub.FindNextAvailable,
        pb.FindNextAvailableRequest(
            clinic_id=request.clinic_id,
            service_id=request.service_id,
            location_ids=[request.location_id],
            after=request.start,
            count=4,
        ),
        caller_of(world),
    )
    assert list(found.slots) == list(reply.slots)


async def test_a_batch_answers_in_the_order_asked(world: World, service: Running) -> None:
    """Each answer of a batch has the slots of the single search, in its place."""
    searches = [search_of(world, day=day, days=1, limit=10) for day in (3, 1, 2)]
    batch = await call(
        service.stub.BatchSearchSlots,
        pb.BatchSearchSlotsRequest(clinic_id=world.clinic.id, searches=searches),
        caller_of(world),
    )
    for one, answered in zip(searches, batch.results, strict=True):
        single = await call(service.stub.SearchSlots, one, caller_of(world))
        assert list(answered.slots) == list(single.slots)


async def test_a_batch_answers_from_one_reading(
    world: World, service: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever changes while a batch is answered, its searches see each calendar alike, and say the same freshness."""
    source: Any = service.reader._calendars
    original, asked = source.buckets, list[Any]()

    def forgetful(place: Any, ids: Any, at_least: Any) -> Any:
        found = original(place, ids, at_least)
        asked.extend(ids)
        source.clear()
        return found

    monkeypatch.setattr(source, "buckets", forgetful)
    searches = [search_of(world, day=1, days=1, service=index, limit=10) for index in (0, 1, 0)]
    searches[1].consistency_token = consistency.encode({world.provider_ids[0]: 1})
    batch = await call(
        service.stub.BatchSearchSlots,
        pb.BatchSearchSlotsRequest(clinic_id=world.clinic.id, searches=searches),
        caller_of(world),
    )
    assert asked
    assert len(asked) == len(set(asked))
    assert len({one.metadata.fetched_at.ToNanoseconds() for one in batch.results}) == 1
    assert len({one.metadata.fresh_at.ToNanoseconds() for one in batch.results}) == 1
    assert list(batch.results[0].slots) == list(batch.results[2].slots)


async def test_a_batch_says_which_of_its_searches_is_refused(world: World, service: Running) -> None:
    """The refusal names the search in its message, its metadata and the field."""
    searches = [search_of(world), search_of(world, days=-1)]
    batch = pb.BatchSearchSlotsRequest(clinic_id=world.clinic.id, searches=searches)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await call(service.stub.BatchSearchSlots, batch, caller_of(world))
    details = details_of(refused.value)
    assert details["ErrorInfo"].metadata["search"] == "1"
    (violation,) = details["BadRequest"].field_violations
    assert violation.field == "searches[1].end"
    assert (refused.value.details() or "").startswith("searches[1]: ")


async def test_windows_and_tokens_are_checked(world: World, service: Running) -> None:
    """A window the wrong way round or too long, a time that is none and a foreign page token are INVALID_ARGUMENT."""
    for request in (
        search_of(world, days=-1),
        search_of(world, days=94),
        search_of(world, page_token="abc"),
        pb.SearchSlotsRequest(**{**_fields(search_of(world)), "start": "2026-13-01T00:00"}),
    ):
        assert (
            await code_of(service.stub.SearchSlots, request, caller_of(world))
            == grpc.StatusCode.INVALID_ARGUMENT
        )
    first = await call(service.stub.SearchSlots, search_of(world, limit=5), caller_of(world))
    other = search_of(world, service=1, limit=5, page_token=first.next_page_token)
    assert (
        await code_of(service.stub.SearchSlots, other, caller_of(world)) == grpc.StatusCode.INVALID_ARGUMENT
    )


def _fields(request: pb.SearchSlotsRequest) -> dict[str, Any]:
    return {field.name: value for field, value in request.ListFields()}


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
        request = search_of(world)
        for name, value in fields.items():
            if isinstance(value, list):
                request.provider_ids.extend(value)
            else:
                setattr(request, name, value)
        assert await code_of(service.stub.SearchSlots, request, caller_of(world)) == grpc.StatusCode.NOT_FOUND


async def test_patients_search_for_themselves_only(world: World, service: Running) -> None:
    """A patient's token may judge its own rules; another patient's id is NOT_FOUND; nobody may be anonymous here."""
    own, other = world.clinic.patient_ids[:2]
    caller = caller_of(world, Role.PATIENT, patient_id=own)
    reply = await call(service.stub.SearchSlots, search_of(world, patient_id=own), caller)
    assert reply.metadata.patient_rules_judged
    code = await code_of(service.stub.SearchSlots, search_of(world, patient_id=other), caller)
    assert code == grpc.StatusCode.NOT_FOUND

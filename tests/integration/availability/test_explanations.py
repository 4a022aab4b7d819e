"""What the running service says of single starts, whole days and single resources agrees with what it offers."""

import itertools
import random
from datetime import timedelta
from typing import Any

import psycopg
from medforall.availability.v1 import availability_pb2 as pb

from availability_svc.usecases.verify_projection import ProjectionCare
from scheduling import localtime
from scheduling.clock import instant_of
from tests.integration.availability.asking import call, caller_of, search_of
from tests.integration.availability.conftest import FIRST_DAY, World
from tests.support.availability_service import Running


async def test_explain_says_free_exactly_when_search_offers(world: World, service: Running) -> None:
    """For random grid and off-grid starts, each provider is explained free just when the search has its slot."""
    rng = random.Random(7)
    request = search_of(world, days=2, limit=500)
    reply = await call(service.stub.SearchSlots, request, caller_of(world))
    assert not reply.next_page_token
    offered = {(slot.start_utc.seconds // 60, slot.provider.id) for slot in reply.slots}
    start_min = localtime.parse_local(request.start, world.clinic.zone)
    asked = rng.sample(sorted({start for start, _ in offered}), 4) + [
        start_min + rng.randrange(0, 2 * 1440 - 90) for _ in range(12)
    ]
    for at_min in asked:
        explained = await call(
            service.stub.ExplainSlot,
            pb.ExplainSlotRequest(
                clinic_id=request.clinic_id,
                service_id=request.service_id,
                location_id=request.location_id,
                start=localtime.format_local(world.clinic.zone, at_min),
            ),
            caller_of(world),
        )
        for one in explained.providers:
            assert one.free == ((at_min, one.provider.id) in offered)
            assert one.free == all(outcome.passed for outcome in one.outcomes)
        assert explained.free == any(one.free for one in explained.providers)


async def test_the_runs_of_a_day_cover_it_and_count_its_slots(world: World, service: Running) -> None:
    """ExplainDay's runs join up from midnight to midnight, and its free slots are those of the search."""
    day = FIRST_DAY + timedelta(days=1)
    request = search_of(world, days=2, limit=500)
    reply = await call(service.stub.SearchSlots, request, caller_of(world))
    explained = await call(
        service.stub.ExplainDay,
        pb.ExplainDayRequest(
            clinic_id=request.clinic_id,
            service_id=request.service_id,
            location_id=request.location_id,
            date=day.isoformat(),
        ),
        caller_of(world),
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


async def test_free_busy_shows_times_and_nobody(world: World, service: Running) -> None:
    """A provider's taken runs are its claims in SQL, and open time holds every slot offered."""
    provider_id = world.provider_ids[0]
    request = search_of(world, days=2, limit=500, provider_ids=[provider_id])
    answer = await call(
        service.stub.GetFreeBusy,
        pb.GetFreeBusyRequest(
            clinic_id=request.clinic_id,
            resource_id=provider_id,
            location_id=request.location_id,
            start=request.start,
            end=request.end,
        ),
        caller_of(world),
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
    request = search_of(world, days=5)
    answer = await call(
        service.stub.GetFreeBusy,
        pb.GetFreeBusyRequest(
            clinic_id=world.clinic.id,
            resource_id=stranger_id,
            location_id=world.location_id,
            start=request.start,
            end=request.end,
        ),
        caller_of(world),
    )
    assert not answer.open
    assert answer.busy
    found = care.verify(world.clinic.id)
    assert found.entries
    assert found.differences == []

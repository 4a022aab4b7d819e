"""Clinics made to measure, where one search could spoil the next one's answer."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import grpc
import psycopg
from medforall.availability.v1 import availability_pb2 as pb

from booking_svc.model import Appointment, Change, EventType, HeldClaim
from booking_svc.outbox.events import event_bytes
from scheduling import consistency, localtime
from scheduling.appointment import AppointmentStatus
from scheduling.clock import instant_of
from scheduling.facts import ResourceKind, Rule
from scheduling.rules.registry import MAX_DAILY, parse_payload
from tests.integration.availability.asking import call, code_of, practice_search, take
from tests.integration.availability.conftest import World
from tests.integration.chassis.proxy import Proxy
from tests.support.availability_service import Running, metadata, publish, running
from tests.support.clinic_rows import insert
from tests.support.practice import MONDAY, Practice, at, new_id, new_practice
from tests.support.waiting import wait_until_async

NEW_YORK = "America/New_York"


async def test_each_window_reads_the_quotas_of_its_own_days(world: World, service: Running) -> None:
    """Two windows of one UTC day and of two local days in a row: the second finds its own day's limit reached."""
    practice = new_practice(world.database, zone=NEW_YORK)
    payload: dict[str, object] = {"max_per_day": 1}
    with psycopg.connect(practice.owner_url) as owner:
        rule_id = practice.add_rule(owner, "max_daily", service="", **payload)
    rule = Rule(rule_id, "max_daily", parse_payload("max_daily", payload), practice.service)
    tuesday = MONDAY + timedelta(days=1)
    quota_id = MAX_DAILY.resource_id(rule, practice.location, practice.provider, tuesday)
    take(practice, quota_id, *localtime.day_bounds(NEW_YORK, tuesday))
    caller = metadata(world.signing, practice.clinic)
    late = practice_search(practice, at(21), at(23))
    early = practice_search(practice, at(8, day=tuesday), at(10, day=tuesday))
    assert (await call(service.stub.SearchSlots, late, caller)).slots
    assert not (await call(service.stub.SearchSlots, early, caller)).slots


async def test_a_token_of_a_directory_change_makes_the_change_seen(world: World, service: Running) -> None:
    """The location is closed and no event says so: the change's token shows it, to a batch and an explanation too."""
    practice = new_practice(world.database)
    caller = metadata(world.signing, practice.clinic)
    request = practice_search(practice, at(9), at(12))
    assert (await call(service.stub.SearchSlots, request, caller)).slots
    with psycopg.connect(practice.owner_url) as owner:
        insert(
            owner,
            "closure",
            clinic_id=practice.clinic,
            id=new_id(),
            start_local=datetime.fromisoformat(at(0)),
            end_local=datetime.fromisoformat(at(23)),
        )
        row = owner.execute(
            "SELECT version FROM directory_version WHERE clinic_id = %s", (practice.clinic,)
        ).fetchone()
    assert row is not None
    assert (await call(service.stub.SearchSlots, request, caller)).slots
    token = consistency.encode({practice.clinic: row[0]})
    batch = pb.BatchSearchSlotsRequest(clinic_id=practice.clinic, searches=[request, request])
    batch.searches[1].consistency_token = token
    results = (await call(service.stub.BatchSearchSlots, batch, caller)).results
    assert [list(one.slots) for one in results] == [[], []]
    request.consistency_token = token
    assert not (await call(service.stub.SearchSlots, request, caller)).slots
    request.consistency_token = ""
    assert not (await call(service.stub.SearchSlots, request, caller)).slots


async def test_clinic_wide_questions_need_no_database_once_they_were_asked(world: World) -> None:
    """Next available at any location, and free and busy without one, are answered while PostgreSQL is away."""
    practice = new_practice(world.database)
    caller = metadata(world.signing, practice.clinic)
    first = pb.FindNextAvailableRequest(
        clinic_id=practice.clinic, service_id=practice.service, after=at(9), count=2
    )
    busy = pb.GetFreeBusyRequest(
        clinic_id=practice.clinic, resource_id=practice.provider, start=at(9), end=at(12)
    )
    async with (
        Proxy(world.environment["MEDFORALL_APP_DATABASE_URL"]) as line,
        running(world.settings(MEDFORALL_APP_DATABASE_URL=line.url)) as service,
    ):
        expected = [
            await call(service.stub.FindNextAvailable, first, caller),
            await call(service.stub.GetFreeBusy, busy, caller),
        ]
        line.cut()
        for is_remembered in (True, False):
            if not is_remembered:
                reader: Any = service.reader
                for source in (reader._locations, reader._outlines, reader._calendars):
                    source.clear()
            again = await call(service.stub.FindNextAvailable, first, caller)
            assert list(again.slots) == list(expected[0].slots)
            assert again.metadata.cache_layer != pb.CACHE_LAYER_DATABASE
            assert (await call(service.stub.GetFreeBusy, busy, caller)).open == expected[1].open


async def test_the_next_slot_of_places_far_apart_is_the_earliest(world: World, service: Running) -> None:
    """A local time is 25 hours later in Pago Pago: its slot of the first week hides not Kiritimati's of the second."""
    practice = new_practice(world.database, providers=0, rooms=0, zone="Pacific/Kiritimati")
    caller = metadata(world.signing, practice.clinic)
    pago = new_id()
    after = datetime.fromisoformat(at(9))
    with psycopg.connect(practice.owner_url) as owner:
        insert(
            owner,
            "location",
            clinic_id=practice.clinic,
            id=pago,
            name="Far",
            timezone="Pacific/Pago_Pago",
        )
        owner.execute("UPDATE service SET requires_room = false WHERE clinic_id = %s", (practice.clinic,))
        _works_once(practice, owner, practice.location, after + timedelta(days=7, hours=1))
        _works_once(practice, owner, pago, after + timedelta(days=6, hours=22))
    request = pb.FindNextAvailableRequest(
        clinic_id=practice.clinic, service_id=practice.service, after=after.isoformat(), count=1
    )
    first = await call(service.stub.FindNextAvailable, request, caller)
    assert [slot.location_id for slot in first.slots] == [practice.location]
    request.count = 50
    every = await call(service.stub.FindNextAvailable, request, caller)
    starts = [slot.start_utc.seconds for slot in every.slots]
    assert starts == sorted(starts)
    assert {slot.location_id for slot in every.slots} == {practice.location, pago}


def _works_once(
    practice: Practice, owner: psycopg.Connection[Any], location_id: str, start: datetime
) -> None:
    """Have somebody new work at a place for two hours, once."""
    provider = practice.add_provider(owner)
    owner.execute(
        "UPDATE provider SET location_id = %s WHERE clinic_id = %s AND id = %s",
        (location_id, practice.clinic, provider),
    )
    owner.execute(
        "UPDATE provider_availability SET location_id = %s, start_local = %s, end_local = %s, recurrence_rule = NULL"
        " WHERE clinic_id = %s AND provider_id = %s",
        (location_id, start, start + timedelta(hours=2), practice.clinic, provider),
    )


async def test_a_patients_visits_count_as_far_back_as_a_rule_looks(world: World, service: Running) -> None:
    """A rule wants 600 days between two visits: one of 450 days ago refuses every start, one of 700 days ago none."""
    practice = new_practice(world.database, patients=2)
    caller = metadata(world.signing, practice.clinic)
    with psycopg.connect(practice.owner_url) as owner:
        practice.add_rule(owner, "patient_limit", service="", min_days_between=600)
        for patient, days in zip(practice.patients, (450, 700), strict=True):
            start = datetime.fromisoformat(at(9)).replace(tzinfo=UTC) - timedelta(days=days)
            insert(
                owner,
                "appointment",
                clinic_id=practice.clinic,
                id=new_id(),
                location_id=practice.location,
                patient_id=patient,
                provider_id=practice.provider,
                service_id=practice.service,
                start_ts_utc=start,
                end_ts_utc=start + timedelta(minutes=30),
                status="completed",
            )
    recent, long_ago = practice.patients
    for patient, is_offered in ((recent, False), (long_ago, True)):
        request = practice_search(practice, at(9), at(12), patient_id=patient)
        assert bool((await call(service.stub.SearchSlots, request, caller)).slots) == is_offered


async def test_a_day_out_of_bounds_is_refused(world: World, service: Running) -> None:
    """The first and the last day of the calendar, and a time of day, are INVALID_ARGUMENT like any other nonsense."""
    practice = new_practice(world.database)
    caller = metadata(world.signing, practice.clinic)
    for day in ("0001-01-01", "9999-12-31", "1970-12-31", "2200-01-01", "2026-02-30"):
        request = pb.ExplainDayRequest(
            clinic_id=practice.clinic, service_id=practice.service, location_id=practice.location, date=day
        )
        code = await code_of(service.stub.ExplainDay, request, caller)
        assert code == grpc.StatusCode.INVALID_ARGUMENT, day


async def test_a_hold_hides_its_slot_until_its_very_end(
    world: World, service: Running, nats_url: str
) -> None:
    """Told of by its event, it hides the slot from every answer before its end, and from none after it."""
    practice = new_practice(world.database)
    caller = metadata(world.signing, practice.clinic)
    request = practice_search(practice, at(9), at(9, 30))
    start_min = localtime.parse_local(at(9), practice.zone)
    assert (await call(service.stub.SearchSlots, request, caller)).slots
    # A fifth of a second after a whole one: rounded up it would end four fifths too late.
    until = datetime.now(UTC).replace(microsecond=200_000) + timedelta(seconds=3)
    event = _hold(practice, start_min, until)
    await publish(nats_url, {str(uuid4()): event})
    seen: list[tuple[datetime, bool]] = []

    async def offers() -> bool:
        reply = await call(service.stub.SearchSlots, request, caller)
        seen.append((reply.metadata.fetched_at.ToDatetime(UTC), bool(reply.slots)))
        return seen[-1][1]

    async def hides() -> bool:
        return not await offers()

    await wait_until_async(hides, timeout_s=2.5, what="the slot to be held")
    await wait_until_async(offers, timeout_s=10, what="the slot to be free again")
    hidden = [fetched_at for fetched_at, is_offered in seen if not is_offered]
    assert seen[-1][0] >= until - timedelta(milliseconds=50)
    assert max(hidden) < until + timedelta(milliseconds=1)


def _hold(practice: Practice, start_min: int, until: datetime) -> bytes:
    """Hold the practice's provider for half an hour, and return the event."""
    hold_id = new_id()
    span = instant_of(start_min), instant_of(start_min + 30)
    with psycopg.connect(practice.owner_url) as owner:
        owner.execute(
            "INSERT INTO claim (clinic_id, resource_id, unit, starts_at, ends_at, during, appointment_id, expires_at)"
            " VALUES (%s, %s, 1, %s, %s, tstzrange(%s, %s), %s, %s)",
            (practice.clinic, practice.provider, *span, *span, hold_id, until),
        )
        row = owner.execute(
            "UPDATE resource SET calendar_version = calendar_version + 1 WHERE clinic_id = %s AND id = %s"
            " RETURNING calendar_version",
            (practice.clinic, practice.provider),
        ).fetchone()
    assert row is not None
    visit = Appointment(
        clinic_id=practice.clinic,
        id=hold_id,
        location_id=practice.location,
        provider_id=practice.provider,
        service_id=practice.service,
        start_min=start_min,
        end_min=start_min + 30,
        zone=practice.zone,
        status=AppointmentStatus.HELD,
        created_at=until,
        updated_at=until,
    )
    held = HeldClaim(
        practice.provider, ResourceKind.PROVIDER, practice.provider, 1, start_min, start_min + 30, until
    )
    change = Change(
        event_type=EventType.CREATED,
        after=visit,
        before=None,
        claims=(held,),
        claims_before=(),
        versions={practice.provider: row[0]},
    )
    return event_bytes(change, new_id(), until, None)

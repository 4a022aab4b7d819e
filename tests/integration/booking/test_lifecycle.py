"""States, holds, etags and who may do what, through gRPC on PostgreSQL."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import grpc.aio
import psycopg
import pytest
from medforall.booking.v1 import appointment_pb2

from scheduling import consistency
from tests.integration.booking.conftest import MakeClient, Suite
from tests.support.booking import code_of, details_of, outcome
from tests.support.invariants import invariants, query
from tests.support.practice import MONDAY, Noon, at, new_id
from tests.support.waiting import wait_until_async

CANCELED = appointment_pb2.APPOINTMENT_STATUS_CANCELED


def claims(suite: Suite, visit: Any) -> int:
    sql = "SELECT count(*) FROM claim WHERE appointment_id = %s"
    found: int = query(suite.database.owner_url, sql, visit.id)[0][0]
    return found


async def test_a_visit_goes_its_whole_way(suite: Suite, make_client: MakeClient) -> None:
    """Scheduled, confirmed, checked in, in progress, completed: each step raises the version, others are refused."""
    practice = suite.practice()
    client = make_client(practice)
    visit = (await client.create(at(9))).appointment
    for method, version in (
        ("ConfirmAppointment", 2),
        ("CheckInAppointment", 3),
        ("StartAppointment", 4),
        ("CompleteAppointment", 5),
    ):
        changed = (await client.call(method, appointment_id=visit.id)).appointment
        assert changed.version == version
    for method in ("CancelAppointment", "ConfirmAppointment", "MarkNoShow"):
        assert (
            await outcome(client.call(method, appointment_id=visit.id))
            == "FAILED_PRECONDITION INVALID_TRANSITION"
        )
    assert claims(suite, visit) == 0, "completed days before its time: nothing of it is left"
    invariants(suite.database)


async def test_a_no_show_keeps_its_quota_only(suite: Suite, make_client: MakeClient) -> None:
    """A no-show frees its time but not its place in the day's quota, and cannot come another day."""
    practice = suite.practice()
    with psycopg.connect(suite.database.owner_url) as owner:
        practice.add_rule(owner, "max_daily", max_per_day=2, scope="service")
    client = make_client(practice)
    visit = (await client.create(at(9))).appointment
    await client.call("MarkNoShow", appointment_id=visit.id)
    assert claims(suite, visit) == 1
    assert await outcome(client.create(at(9))) == "OK"
    assert await outcome(client.create(at(12))) == "FAILED_PRECONDITION MAX_DAILY_REACHED"
    assert (
        await outcome(client.call("CheckInAppointment", appointment_id=visit.id))
        == "FAILED_PRECONDITION INVALID_TRANSITION"
    )


async def test_a_no_show_of_today_may_still_come(suite: Suite, make_client: MakeClient) -> None:
    """On its own day a no-show is checked in with all its claims, unless somebody else has its time."""
    noon = Noon.somewhere()
    practice = suite.practice(zone=noon.zone, rooms=2)
    client = make_client(practice)
    visit = (await client.create(noon.just_begun(), override_reason="walked in")).appointment
    before = claims(suite, visit)
    await client.call("MarkNoShow", appointment_id=visit.id)
    assert claims(suite, visit) == 0
    back = (await client.call("CheckInAppointment", appointment_id=visit.id)).appointment
    assert back.status == appointment_pb2.APPOINTMENT_STATUS_CHECKED_IN
    assert claims(suite, visit) == before
    await client.call("MarkNoShow", appointment_id=visit.id)
    await client.create(noon.just_begun(), patient=1, override_reason="next one")
    assert (
        await outcome(client.call("CheckInAppointment", appointment_id=visit.id))
        == "ALREADY_EXISTS SLOT_ALREADY_BOOKED"
    )
    invariants(suite.database)


async def test_a_stale_etag_changes_nothing(suite: Suite, make_client: MakeClient) -> None:
    """If-Match of an older version is refused, the present one is accepted."""
    practice = suite.practice()
    client = make_client(practice)
    visit = (await client.create(at(9))).appointment
    changed = (await client.call("UpdateAppointment", appointment_id=visit.id, notes="x")).appointment
    assert (
        await outcome(client.call("CancelAppointment", appointment_id=visit.id, etag=visit.etag))
        == "ABORTED STALE_ETAG"
    )
    assert (
        await outcome(
            client.call("RescheduleAppointment", appointment_id=visit.id, start=at(11), etag=visit.etag)
        )
        == "ABORTED STALE_ETAG"
    )
    assert claims(suite, visit) == 3
    assert await outcome(client.call("CancelAppointment", appointment_id=visit.id, etag=changed.etag)) == "OK"


async def test_a_hold_is_confirmed_with_its_token_only(suite: Suite, make_client: MakeClient) -> None:
    """A hold keeps id and claims when it becomes an appointment, and claims the patient that was not known."""
    practice = suite.practice()
    client = make_client(practice)
    held = await client.hold(at(9))
    assert held.appointment.status == appointment_pb2.APPOINTMENT_STATUS_HELD
    assert claims(suite, held.appointment) == 2
    assert await outcome(client.create(at(9))) == "ALREADY_EXISTS SLOT_ALREADY_BOOKED"
    use = {"hold_id": held.appointment.id}
    assert (
        await outcome(client.call("ConfirmHold", **use, hold_token="x" * 20))
        == "FAILED_PRECONDITION HOLD_TOKEN_MISMATCH"
    )
    use["hold_token"] = held.hold_token
    assert await outcome(client.call("ConfirmHold", **use)) == "INVALID_ARGUMENT INVALID_ARGUMENT"
    renewed = (await client.call("RenewHold", **use, ttl_seconds=900)).appointment
    assert renewed.expires_at.seconds > held.appointment.expires_at.seconds + 500
    confirmed = (await client.call("ConfirmHold", **use, patient_id=practice.patients[1])).appointment
    assert confirmed.id == held.appointment.id
    assert confirmed.status == appointment_pb2.APPOINTMENT_STATUS_SCHEDULED
    assert not confirmed.HasField("expires_at")
    assert claims(suite, confirmed) == 3
    sql = "SELECT count(*) FROM claim WHERE appointment_id = %s AND expires_at IS NOT NULL"
    assert query(suite.database.owner_url, sql, confirmed.id) == [(0,)]
    assert await outcome(client.call("ReleaseHold", **use)) == "FAILED_PRECONDITION INVALID_TRANSITION"
    invariants(suite.database)


async def test_a_busy_patient_cannot_confirm_a_hold(suite: Suite, make_client: MakeClient) -> None:
    """Confirmation claims the patient, and is refused when the patient is somewhere else; the hold stays."""
    practice = suite.practice(providers=2, rooms=2)
    client = make_client(practice)
    await client.create(at(9), provider_id=practice.providers[1])
    held = await client.hold(at(9))
    use = {"hold_id": held.appointment.id, "hold_token": held.hold_token}
    assert (
        await outcome(client.call("ConfirmHold", **use, patient_id=practice.patients[0]))
        == "ALREADY_EXISTS PATIENT_ALREADY_BOOKED"
    )
    assert await outcome(client.call("ConfirmHold", **use, patient_id=practice.patients[1])) == "OK"


async def test_a_booking_expires_the_hold_it_meets(suite: Suite, make_client: MakeClient) -> None:
    """The claims of a hold that has ended do not stand in a booking's way; it gets its event and version."""
    practice = suite.practice()
    client = make_client(practice)
    held = (await client.hold(at(9))).appointment
    with psycopg.connect(suite.database.owner_url) as owner:
        for table, column in (("appointment", "id"), ("claim", "appointment_id")):
            owner.execute(
                f"UPDATE {table} SET expires_at = clock_timestamp() - interval '1 ms' WHERE {column} = %s",
                (held.id,),
            )
    assert await outcome(client.create(at(9))) == "OK"
    sql = "SELECT status, version FROM appointment WHERE id = %s"
    assert query(suite.database.owner_url, sql, held.id) == [("expired", 2)]
    events = query(
        suite.database.owner_url,
        "SELECT event_type FROM outbox_event WHERE aggregate_id = %s ORDER BY id",
        held.id,
    )
    assert events == [("hold.created",), ("hold.expired",)]
    invariants(suite.database)


async def test_the_sweeper_ends_holds_that_nobody_meets(suite: Suite, make_client: MakeClient) -> None:
    """A hold that has ended is expired within seconds, and its token no longer works."""
    practice = suite.practice()
    client = make_client(practice)
    held = await client.hold(at(9), ttl_seconds=1)
    hold_id = held.appointment.id

    async def expired() -> bool:
        sql = "SELECT status FROM appointment WHERE id = %s"
        return query(suite.database.owner_url, sql, hold_id) == [("expired",)]

    await wait_until_async(expired, timeout_s=15, what="the sweeper")
    assert claims(suite, held.appointment) == 0
    assert (
        await outcome(client.call("RenewHold", hold_id=hold_id, hold_token=held.hold_token))
        == "FAILED_PRECONDITION HOLD_EXPIRED"
    )


async def test_patients_see_and_change_their_own_only(suite: Suite, make_client: MakeClient) -> None:
    """A patient's calls reach its own visits; another's look as if they did not exist, and carry no notes."""
    practice = suite.practice(rooms=2)
    staff = make_client(practice)
    own = make_client(
        practice,
        "patient",
        patient_id=practice.patients[0],
        scopes=("read:appointments", "write:appointments"),
    )
    other = (await staff.create(at(9), patient=1, notes="secret")).appointment
    for method in ("GetAppointment", "CancelAppointment"):
        assert await outcome(own.call(method, appointment_id=other.id)) == "NOT_FOUND NOT_FOUND"
    assert await outcome(own.create(at(10), patient=1)) == "PERMISSION_DENIED PERMISSION_DENIED"
    mine = (await own.create(at(10), notes="mine")).appointment
    assert mine.notes == ""
    listed = await own.call("ListAppointments", date=MONDAY.isoformat())
    assert [visit.id for visit in listed.appointments] == [mine.id]


async def test_other_clinics_look_like_nothing(suite: Suite, make_client: MakeClient) -> None:
    """Ids of another clinic are answered as random ones are."""
    practice, foreign = suite.practice(), suite.practice()
    client, stranger = make_client(practice), make_client(foreign)
    visit = (await client.create(at(9))).appointment
    for known in (visit.id, new_id()):
        assert await outcome(stranger.call("GetAppointment", appointment_id=known)) == "NOT_FOUND NOT_FOUND"
    for field in ("service_id", "provider_id", "location_id", "patient_id", "room_id"):
        theirs: str = {
            "service_id": practice.service,
            "provider_id": practice.provider,
            "location_id": practice.location,
            "patient_id": practice.patients[0],
            "room_id": practice.rooms[0],
        }[field]
        for value in (theirs, new_id()):
            named: dict[str, Any] = {field: value}
            assert await outcome(stranger.create(at(9), **named)) == "NOT_FOUND NOT_FOUND", field


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ('"7", "1"', "OK"),
        ('"7","8"', "ABORTED STALE_ETAG"),
        ('W/"1"', "ABORTED STALE_ETAG"),
        ('W/"1", "1"', "OK"),
        ("1", "OK"),
        ("*", "OK"),
    ],
)
async def test_any_of_several_tags_may_match_and_a_weak_one_never(
    suite: Suite, make_client: MakeClient, tags: str, expected: str
) -> None:
    """A list of entity tags matches when one of them does, compared strongly."""
    client = make_client(suite.practice())
    visit = (await client.create(at(9))).appointment
    assert await outcome(client.call("CancelAppointment", appointment_id=visit.id, etag=tags)) == expected


async def test_a_conflict_names_what_is_taken_and_what_is_free(suite: Suite, make_client: MakeClient) -> None:
    """The error tells the resource and the nearest slots of the same and of any provider; they can be booked."""
    practice = suite.practice(providers=2, rooms=2)
    client = make_client(practice)
    await client.create(at(9))
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await client.create(at(9), patient=1)
    conflict = details_of(refused.value)["BookingConflict"]
    assert [item.id for item in conflict.taken] == [practice.provider]
    assert [slot.start[11:16] for slot in conflict.same_provider] == ["08:30", "09:30", "08:15"]
    assert all(slot.provider.id == practice.provider for slot in conflict.same_provider)
    assert conflict.any_provider[0].start[11:16] == "09:00"
    best = conflict.any_provider[0]
    assert await outcome(client.create(best.start, patient=1, provider_id=best.provider.id)) == "OK"


async def test_a_conflict_fits_into_its_error_however_many_rooms_there_are(
    suite: Suite, make_client: MakeClient
) -> None:
    """With fifty rooms the refusal still says what is taken and which slots are free, each with its best rooms."""
    practice = suite.practice(providers=2, rooms=50)
    client = make_client(practice)
    await client.create(at(9))
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await client.create(at(9), patient=1)
    conflict = details_of(refused.value)["BookingConflict"]
    assert [item.id for item in conflict.taken] == [practice.provider]
    assert (len(conflict.same_provider), len(conflict.any_provider)) == (3, 3)
    assert {len(slot.room_options) for slot in (*conflict.same_provider, *conflict.any_provider)} == {3}


async def test_old_slots_and_suspended_clinics_are_refused(suite: Suite, make_client: MakeClient) -> None:
    """availabilityFetchedAt older than 30 s is refused; a suspended clinic reads and cancels only."""
    practice = suite.practice()
    client = make_client(practice)
    old = datetime.now(UTC) - timedelta(seconds=40)
    assert await outcome(client.create(at(9), availability_fetched_at=old)) == "ABORTED STALE_AVAILABILITY"
    fresh = await client.create(at(9), availability_fetched_at=datetime.now(UTC))
    token = consistency.decode(fresh.consistency_token)
    assert token.keys() == {practice.provider, practice.rooms[0], practice.patients[0]}
    with psycopg.connect(suite.database.owner_url) as owner:
        owner.execute("UPDATE clinic SET status = 'suspended' WHERE id = %s", (practice.clinic,))
    assert await outcome(client.create(at(10))) == "FAILED_PRECONDITION CLINIC_SUSPENDED"
    visit = fresh.appointment
    assert await outcome(client.call("GetAppointment", appointment_id=visit.id)) == "OK"
    assert await outcome(client.call("CancelAppointment", appointment_id=visit.id)) == "OK"


async def test_the_location_may_be_left_out_when_one_is_left(suite: Suite, make_client: MakeClient) -> None:
    """A provider of one place needs no location; one who could be in two needs it."""
    practice = suite.practice()
    client = make_client(practice)
    visit = (await client.create(at(9), location_id="")).appointment
    assert visit.location_id == practice.location
    with psycopg.connect(suite.database.owner_url) as owner:
        owner.execute(
            "INSERT INTO location (clinic_id, id, name) VALUES (%s, %s, 'There')", (practice.clinic, new_id())
        )
    assert await outcome(client.create(at(10), location_id="")) == "INVALID_ARGUMENT INVALID_ARGUMENT"
    assert await outcome(client.create(at(10), location_id="", room_id=practice.rooms[0])) == "OK"


@pytest.mark.parametrize("what", ["room", "provider"])
async def test_an_unknown_room_or_provider_is_not_found_without_a_location(
    suite: Suite, make_client: MakeClient, what: str
) -> None:
    """What the clinic does not have, or another one has, is NOT_FOUND, with a location and without one."""
    practice, foreign = suite.practice(), suite.practice()
    client = make_client(practice)
    for unknown in (new_id(), {"room": foreign.rooms[0], "provider": foreign.provider}[what]):
        named: dict[str, Any] = {f"{what}_id": unknown}
        for location in ("", practice.location):
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await client.create(at(9), location_id=location, **named)
            assert code_of(refused.value) == "NOT_FOUND"
            assert details_of(refused.value)["ErrorInfo"].metadata["resource"] == what
    with psycopg.connect(suite.database.owner_url) as owner:
        idle = practice.add_provider(owner)
        owner.execute("UPDATE provider SET location_id = NULL WHERE id = %s", (idle,))
        owner.execute("DELETE FROM provider_availability WHERE provider_id = %s", (idle,))
    found = await outcome(client.create(at(9), location_id="", provider_id=idle))
    assert found == "INVALID_ARGUMENT INVALID_ARGUMENT", "who works nowhere is there all the same"


async def test_lists_are_paged_filtered_and_pruned(suite: Suite, make_client: MakeClient) -> None:
    """Pages by number and by token give the same rows; a foreign token is refused."""
    practice = suite.practice()
    client = make_client(practice)
    made = [(await client.create(at(8 + n), patient=n)).appointment.id for n in range(5)]
    day = MONDAY.isoformat()
    whole = await client.call("ListAppointments", date=day, provider_id=practice.provider)
    assert [visit.id for visit in whole.appointments] == made
    second = await client.call("ListAppointments", date=day, page=2, limit=2)
    assert [visit.id for visit in second.appointments] == made[2:4]
    first = await client.call("ListAppointments", date=day, limit=2)
    rest = await client.call("ListAppointments", date=day, limit=10, page_token=first.next_page_token)
    assert [visit.id for visit in rest.appointments] == made[2:]
    assert rest.next_page_token == ""
    assert (
        await outcome(
            client.call(
                "ListAppointments",
                date=day,
                patient_id=practice.patients[0],
                page_token=first.next_page_token,
            )
        )
        == "INVALID_ARGUMENT INVALID_ARGUMENT"
    )
    await client.call("CancelAppointment", appointment_id=made[0])
    canceled = await client.call("ListAppointments", date_range=f"{day},{day}", status=[CANCELED])
    assert [visit.id for visit in canceled.appointments] == made[:1]

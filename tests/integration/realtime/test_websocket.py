"""The WebSocket, from an event in JetStream to a client, through real processes."""

import asyncio
import json
from datetime import timedelta
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from chassis.auth.principal import Role
from tests.support.directory_events import directory_event
from tests.support.realtime import (
    Client,
    Clinic,
    Events,
    RealtimeSuite,
    Visit,
    client,
    joined,
)


async def closed(client: Client) -> int:
    """The code that the server closes with."""

    async def drain() -> None:
        while True:
            await client.connection.recv()

    async with asyncio.timeout(10):
        with pytest.raises(ConnectionClosed) as end:
            await drain()
    assert end.value.rcvd is not None
    return end.value.rcvd.code


async def test_a_created_appointment_arrives_in_the_documented_format(
    suite: RealtimeSuite, events: Events, clinic: Clinic
) -> None:
    """An event reaches a subscriber as `appointment.created` with ids and local times with their offset."""
    visit = Visit(clinic)
    async with joined(suite, suite.token(clinic_id=clinic.id), f"clinic:{clinic.id}") as client:
        event = visit.event()
        await events.publish(event)
        message = await client.hear()
    sequence = message["metadata"].pop("sequence")
    timestamp = message["metadata"].pop("timestamp")
    assert message == {
        "type": "appointment.created",
        "payload": {
            "appointmentId": visit.id,
            "clinicId": clinic.id,
            "locationId": clinic.location_id,
            "providerId": clinic.provider_ids[0],
            "roomId": clinic.room_ids[0],
            "start": "2026-02-20T09:00:00-05:00",
            "end": "2026-02-20T09:30:00-05:00",
            "serviceId": clinic.service_ids[0],
            "status": "scheduled",
            "version": 1,
        },
        "metadata": {"eventId": event.event_id},
    }
    assert timestamp.endswith("Z")
    assert json.dumps(message).find(clinic.patient_ids[0]) < 0
    assert "-" in sequence


async def test_every_client_message_is_answered(suite: RealtimeSuite, events: Events, clinic: Clinic) -> None:
    """authenticate, subscribe, unsubscribe and ping are acknowledged, with the id that the client chose."""
    async with client(suite) as new:
        await new.say(type="authenticate", token=suite.token(clinic_id=clinic.id), id="a")
        answer = await new.hear()
        assert (answer["type"], answer["id"]) == ("authenticated", "a")
        assert answer["payload"]["clinicId"] == clinic.id
        await new.say(type="subscribe", channels=[f"clinic:{clinic.id}"], id="b")
        answer = await new.hear()
        assert (answer["type"], answer["id"]) == ("subscribed", "b")
        assert answer["payload"] == {"channels": [f"clinic:{clinic.id}"], "refused": []}
        await new.say(type="ping", id="c")
        pong = await new.hear()
        assert (pong["type"], pong["id"]) == ("pong", "c")
        assert pong["metadata"]["sequence"]
        await new.say(type="unsubscribe", channels=[f"clinic:{clinic.id}"], id="d")
        answer = await new.hear()
        assert (answer["type"], answer["id"]) == ("unsubscribed", "d")
        await events.publish(Visit(clinic).event())
        await new.say(type="ping")
        assert (await new.hear())["type"] == "pong"


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("not json", "INVALID_ARGUMENT"),
        ("[]", "INVALID_ARGUMENT"),
        ('{"type":"shout"}', "INVALID_ARGUMENT"),
        ('{"type":"subscribe"}', "INVALID_ARGUMENT"),
        ('{"type":"subscribe","channels":["nonsense"]}', "INVALID_ARGUMENT"),
        ('{"type":"subscribe","channels":["clinic:00000000-0000-4000-8000-000000000000"]}', "NOT_FOUND"),
        (
            '{"type":"subscribe","channels":["patient:00000000-0000-4000-8000-000000000000"]}',
            "PERMISSION_DENIED",
        ),
        ('{"type":"subscribe","channels":["clinic:CLINIC"],"resumeFrom":"x"}', "INVALID_ARGUMENT"),
        ('{"type":"authenticate","token":"x"}', "UNAUTHENTICATED"),
    ],
)
async def test_a_bad_message_is_answered_with_its_error(
    suite: RealtimeSuite, clinic: Clinic, text: str, error: str
) -> None:
    """A message that is wrong gets an error with a reason, and the connection lives on."""
    async with client(suite) as new:
        await new.say(type="authenticate", token=suite.token(clinic_id=clinic.id))
        await new.hear("authenticated")
        await new.connection.send(text.replace("CLINIC", clinic.id))
        answer = await new.hear()
        assert (answer["type"], answer["payload"]["error"]) == ("error", error)
        await new.say(type="ping")
        assert (await new.hear())["type"] == "pong"


async def test_a_bad_token_closes_with_4401(suite: RealtimeSuite) -> None:
    """A token that does not verify is answered with an error and close code 4401."""
    async with client(suite) as new:
        await new.say(type="authenticate", token="nonsense")
        assert (await new.hear())["payload"]["error"] == "UNAUTHENTICATED"
        assert await closed(new) == 4401


async def test_a_first_message_that_is_not_authenticate_closes_with_4401(suite: RealtimeSuite) -> None:
    """Nothing but `authenticate` is taken from a stranger."""
    async with client(suite) as new:
        await new.say(type="ping")
        assert (await new.hear())["payload"]["error"] == "UNAUTHENTICATED"
        assert await closed(new) == 4401


@pytest.mark.slow
async def test_silence_instead_of_a_token_closes_with_4408(suite: RealtimeSuite) -> None:
    """Who does not authenticate within 5 s is shown out."""
    async with client(suite) as new:
        assert await closed(new) == 4408


async def test_a_token_without_the_scope_is_refused(suite: RealtimeSuite, clinic: Clinic) -> None:
    """Realtime needs the scope read:appointments; 4405 says that the token is good, but not for this."""
    async with client(suite) as new:
        await new.say(type="authenticate", token=suite.token(clinic_id=clinic.id, scopes=()))
        assert (await new.hear())["payload"]["error"] == "PERMISSION_DENIED"
        assert await closed(new) == 4405


async def test_a_renewed_token_keeps_the_connection_open(
    suite: RealtimeSuite, events: Events, clinic: Clinic
) -> None:
    """An expiring token closes with 4410; one renewed on the open connection does not."""
    short = suite.token(clinic_id=clinic.id, ttl_s=2, issued_s_ago=29)
    async with client(suite) as renewed, client(suite) as expired:
        for each in (renewed, expired):
            await each.join(short, f"clinic:{clinic.id}")
        await renewed.say(type="authenticate", token=suite.token(clinic_id=clinic.id), id="again")
        assert (await renewed.hear())["id"] == "again"
        assert await closed(expired) == 4410
        visit = Visit(clinic)
        await events.publish(visit.event())
        assert (await renewed.hear())["payload"]["appointmentId"] == visit.id


async def test_another_users_token_does_not_renew(suite: RealtimeSuite, clinic: Clinic) -> None:
    """A connection stays its user's."""
    async with client(suite) as new:
        await new.say(type="authenticate", token=suite.token(clinic_id=clinic.id))
        await new.hear("authenticated")
        await new.say(type="authenticate", token=suite.token(clinic_id=clinic.id, subject="other"))
        assert (await new.hear())["payload"]["error"] == "PERMISSION_DENIED"


async def test_another_clinics_events_are_silent(
    suite: RealtimeSuite, events: Events, clinic: Clinic
) -> None:
    """A provider channel of another clinic may be joined, as any unknown one, and tells nothing."""
    stranger = Clinic()
    async with joined(suite, suite.token(clinic_id=stranger.id), f"provider:{clinic.provider_ids[0]}") as spy:
        await events.publish(Visit(clinic).event())
        async with joined(suite, suite.token(clinic_id=clinic.id), f"clinic:{clinic.id}") as own:
            visit = Visit(clinic)
            await events.publish(visit.event())
            await own.hear("appointment.created")
        await spy.say(type="ping")
        assert (await spy.hear())["type"] == "pong"


async def test_a_provider_sees_colleagues_as_free_or_busy(
    suite: RealtimeSuite, events: Events, clinic: Clinic
) -> None:
    """A provider gets its own visits whole, and of a colleague's only when the calendar changed."""
    token = suite.token(Role.PROVIDER, clinic_id=clinic.id, provider_id=clinic.provider_ids[0])
    async with joined(suite, token, f"clinic:{clinic.id}") as provider:
        other, own = Visit(clinic, provider=1), Visit(clinic, provider=0)
        await events.publish(other.event())
        reduced = await provider.hear()
        await events.publish(other.event("confirmed", status="confirmed"))
        await events.publish(own.event())
        whole = await provider.hear()
    assert reduced["type"] == "availability.invalidated"
    assert reduced["payload"] == {
        "clinicId": clinic.id,
        "locationIds": [clinic.location_id],
        "providerIds": [clinic.provider_ids[1]],
        "timeRange": {"start": "2026-02-20T14:00:00Z", "end": "2026-02-20T14:30:00Z"},
    }
    assert other.id not in json.dumps(reduced)
    assert whole["payload"]["appointmentId"] == own.id


async def test_a_patient_hears_of_its_own_visits_only(
    suite: RealtimeSuite, events: Events, clinic: Clinic
) -> None:
    """A patient's token joins its own channel, and no other."""
    mine = clinic.patient_ids[0]
    token = suite.token(Role.PATIENT, clinic_id=clinic.id, subject="p", patient_id=mine)
    async with client(suite) as patient:
        await patient.say(type="authenticate", token=token)
        await patient.say(
            type="subscribe",
            channels=[
                f"patient:{mine}",
                f"clinic:{clinic.id}",
                f"provider:{clinic.provider_ids[0]}",
                f"patient:{clinic.patient_ids[1]}",
            ],
        )
        answer = await patient.hear("subscribed")
        assert answer["payload"]["channels"] == [f"patient:{mine}"]
        assert [refused["reason"] for refused in answer["payload"]["refused"]] == [
            "PERMISSION_DENIED",
            "PERMISSION_DENIED",
            "NOT_FOUND",
        ]
        await events.publish(Visit(clinic, patient=1).event())
        own = Visit(clinic, patient=0)
        await events.publish(own.event())
        assert (await patient.hear())["payload"]["appointmentId"] == own.id


async def test_a_move_is_heard_where_it_was_and_where_it_is(
    suite: RealtimeSuite, events: Events, clinic: Clinic
) -> None:
    """A rescheduled visit reaches the old day's and the new day's channel, once each, with its old place."""
    visit = Visit(clinic)
    token = suite.token(clinic_id=clinic.id)
    old_day, new_day = (f"location:{clinic.location_id}:2026-02-{day}" for day in (20, 21))
    async with joined(suite, token, old_day) as old, joined(suite, token, new_day, old_day) as both:
        await events.publish(visit.event())
        await events.publish(visit.event("rescheduled", start=visit.start + timedelta(days=1)))
        for each in (old, both):
            assert (await each.hear())["type"] == "appointment.created"
            moved = await each.hear()
            assert moved["type"] == "appointment.rescheduled"
            assert moved["payload"]["start"] == "2026-02-21T09:00:00-05:00"
            assert moved["payload"]["previous"]["start"] == "2026-02-20T09:00:00-05:00"


async def test_a_hold_is_told_with_its_end_and_when_it_ended(
    suite: RealtimeSuite, events: Events, clinic: Clinic
) -> None:
    """`hold.created` says until when, `hold.expired` that the time is free again."""
    hold = Visit(clinic, status="held")
    created = hold.event("hold.created")
    created.resources[0].claims[0].expires_at_s = 1_771_592_400
    async with joined(suite, suite.token(clinic_id=clinic.id), f"clinic:{clinic.id}") as reader:
        await events.publish(created)
        await events.publish(hold.event("hold.expired", status="expired"))
        told = [await reader.hear() for _ in range(2)]
    assert [(message["type"], message["payload"]["status"]) for message in told] == [
        ("hold.created", "held"),
        ("hold.expired", "expired"),
    ]
    assert told[0]["payload"]["expiresAt"] == "2026-02-20T13:00:00Z"
    assert "expiresAt" not in told[1]["payload"]


async def test_a_directory_change_tells_what_changed_and_what_to_fetch_again(
    suite: RealtimeSuite, events: Events, clinic: Clinic
) -> None:
    """A change of hours makes `directory.changed` and `availability.invalidated`; a day channel gets the latter."""
    token = suite.token(clinic_id=clinic.id)
    near, far = (f"location:{clinic.location_id}:2026-{day}" for day in ("02-20", "05-20"))
    event = directory_event(clinic, "window", location_ids=[clinic.location_id])
    event.directory.affects_from.FromJsonString("2026-02-20T14:00:00Z")
    event.directory.affects_to.FromJsonString("2026-02-20T18:00:00Z")
    async with (
        joined(suite, token, f"clinic:{clinic.id}") as whole,
        joined(suite, token, near) as day,
        joined(suite, token, far) as other_day,
    ):
        await events.publish(event)
        assert (await whole.hear())["type"] == "directory.changed"
        assert (await whole.hear())["type"] == "availability.invalidated"
        heard = await day.hear()
        assert heard["payload"]["timeRange"] == {
            "start": "2026-02-20T14:00:00Z",
            "end": "2026-02-20T18:00:00Z",
        }
        await other_day.say(type="ping")
        assert (await other_day.hear())["type"] == "pong"


@pytest.mark.parametrize(
    ("claims", "is_named"),
    [
        ({"role": Role.FRONT_DESK}, True),
        ({"role": Role.SERVICE, "scopes": ("read:appointments", "read:phi")}, True),
        ({"role": Role.SERVICE}, False),
        ({"role": Role.PROVIDER}, False),
    ],
)
async def test_a_patient_that_changed_is_named_to_those_who_may_know(
    suite: RealtimeSuite, events: Events, clinic: Clinic, claims: dict[str, Any], is_named: bool
) -> None:
    """Providers, and services without read:phi, hear that patients changed, not which one."""
    event = directory_event(clinic, "patient")
    async with joined(suite, suite.token(clinic_id=clinic.id, **claims), f"clinic:{clinic.id}") as reader:
        await events.publish(event)
        assert (await reader.hear())["payload"]["id"] == (event.directory.id if is_named else "")


async def test_resuming_tells_what_was_missed_and_goes_on(
    suite: RealtimeSuite, events: Events, clinic: Clinic
) -> None:
    """After a break, everything since the last id comes in order, copies left out, then what is new."""
    token = suite.token(clinic_id=clinic.id)
    first, *missed = (Visit(clinic) for _ in range(6))
    async with joined(suite, token, f"clinic:{clinic.id}") as before:
        await events.publish(first.event())
        position = (await before.hear())["metadata"]["sequence"]
    for visit in missed:
        await events.publish(visit.event())
    assert first.last is not None
    await events.publish(first.last, again=True)
    async with client(suite) as after:
        await after.join(token, f"clinic:{clinic.id}", resume_from=position)
        assert [message["type"] for message in after.received][-1] == "subscribed"
        live = Visit(clinic)
        await events.publish(live.event())
        await after.hear()
    told = [m["payload"]["appointmentId"] for m in after.received if m["type"] == "appointment.created"]
    assert told == [visit.id for visit in (*missed, live)]


async def test_a_position_between_two_messages_of_one_event_loses_neither(
    suite: RealtimeSuite, events: Events, clinic: Clinic
) -> None:
    """Resuming after `directory.changed` begins with its `availability.invalidated`."""
    token = suite.token(clinic_id=clinic.id)
    async with joined(suite, token, f"clinic:{clinic.id}") as before:
        await events.publish(directory_event(clinic, "location"))
        position = (await before.hear("directory.changed"))["metadata"]["sequence"]
    async with client(suite) as after:
        await after.join(token, f"clinic:{clinic.id}", resume_from=position)
    assert [m["type"] for m in after.received] == [
        "authenticated",
        "availability.invalidated",
        "subscribed",
    ]


async def test_a_page_of_another_origin_is_refused(suite: RealtimeSuite) -> None:
    """A browser on a foreign page gets 403; this server's own pages are let in."""
    with pytest.raises(InvalidStatus) as refused:
        async with client(suite, origin="https://evil.example"):
            pass
    assert refused.value.response.status_code == 403
    async with client(suite, origin=suite.http_url):
        pass


async def test_a_token_in_the_address_is_refused(suite: RealtimeSuite, clinic: Clinic) -> None:
    """A JWT in the URL is answered 400, and no log has it."""
    token = suite.token(clinic_id=clinic.id)
    with pytest.raises(InvalidStatus) as refused:
        async with connect(f"{suite.ws_url}?token={token}", proxy=None):
            pass
    assert refused.value.response.status_code == 400
    assert token not in suite.log("gateway")

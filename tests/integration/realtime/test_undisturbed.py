"""What one client does wrong or waits for keeps nobody from hearing and being answered."""

from __future__ import annotations

from tests.support.realtime import Clinic, Events, RealtimeSuite, Visit, client, joined

from .test_websocket import closed


async def test_pings_and_renewals_are_answered_while_a_subscription_waits(
    suite: RealtimeSuite, clinic: Clinic
) -> None:
    """Without realtime_svc subscriptions wait, in order, until it is back; the rest is answered at once."""
    token, channel = suite.token(clinic_id=clinic.id), f"clinic:{clinic.id}"
    async with client(suite) as new:
        await new.say(type="authenticate", token=token)
        await new.hear("authenticated")
        suite.kill("realtime_svc")
        try:
            await new.say(type="subscribe", channels=[channel], id="first")
            await new.say(type="unsubscribe", channels=[channel], id="second")
            await new.say(type="ping", id="third")
            await new.say(type="authenticate", token=token, id="fourth")
            answers = [await new.hear() for _ in range(2)]
        finally:
            suite.restart("realtime_svc")
        answers += [await new.hear(timeout_s=30) for _ in range(2)]
    assert [(answer["type"], answer["id"]) for answer in answers] == [
        ("pong", "third"),
        ("authenticated", "fourth"),
        ("subscribed", "first"),
        ("unsubscribed", "second"),
    ]


async def test_a_token_of_a_malformed_clinic_is_refused_and_nobody_else_notices(
    suite: RealtimeSuite, events: Events, clinic: Clinic
) -> None:
    """A signed token whose clinic is no UUID is none; the stream that all share goes on."""
    broken = suite.log("gateway").count("link.broken")
    async with joined(suite, suite.token(clinic_id=clinic.id), f"clinic:{clinic.id}") as reader:
        async with client(suite) as odd:
            await odd.say(type="authenticate", token=suite.token(clinic_id="my-clinic"))
            assert (await odd.hear())["payload"]["error"] == "UNAUTHENTICATED"
            assert await closed(odd) == 4401
        visit = Visit(clinic)
        await events.publish(visit.event())
        assert (await reader.hear())["payload"]["appointmentId"] == visit.id
    assert suite.log("gateway").count("link.broken") == broken

"""How far is looked for what is free instead, and who looks."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from booking_svc.usecases.alternatives import ANSWERS_MAX, Answers, Candidates, Wish, how_far
from database.location_facts import LocationFacts
from scheduling.errors import Reason, Refused
from scheduling.judge import Proposal
from tests.unit.scheduling.clinic import clinic, rule

DAY_MIN = 1440
NOW_MIN = 1_000_000


def wish(kind: str, payload: dict[str, Any], *, days_ahead: int) -> Wish:
    """A visit some days ahead, of a service with one rule."""
    facts = LocationFacts(
        static=clinic(rule(kind, **payload)),
        name="Quay",
        active=True,
        clinic_status="active",
        public_search=False,
        providers={},
        rooms={},
    )
    start_min = NOW_MIN + days_ahead * DAY_MIN
    return Wish(facts, Proposal("service", "provider", start_min, patient_id="p"), start_min, NOW_MIN)


@pytest.mark.parametrize(
    ("kind", "payload", "times"),
    [
        ("patient_limit", {"max_active": 3}, 1),
        ("patient_limit", {"min_days_between": 3}, 3),
        ("patient_limit", {"max_active": 3, "min_days_between": 3}, 3),
        ("lead_time", {"min_minutes": 60 * DAY_MIN}, 1),
        ("lead_time", {"min_minutes": 20 * DAY_MIN}, 3),
        ("lead_time", {"no_same_day": True}, 3),
    ],
)
def test_what_no_time_cures_is_looked_for_once(kind: str, payload: dict[str, Any], times: int) -> None:
    """A patient who has enough visits, and a notice beyond the last time looked at, are refused everywhere."""
    refusal = Refused("no", reason=Reason.PATIENT_LIMIT, metadata={"ruleId": kind})
    assert len(how_far(wish(kind, payload, days_ahead=2), refusal)) == times
    other = Refused("no", reason=Reason.OUTSIDE_HOURS, metadata={"ruleId": ""})
    assert len(how_far(wish(kind, payload, days_ahead=2), other)) == 3


async def test_a_search_that_fails_leaves_a_newer_one_alone() -> None:
    """Of two searches for one time, the older long forgotten, the newer one is joined after the older one failed."""
    answers, gates, asked = Answers(), (asyncio.Event(), asyncio.Event()), 0

    async def work() -> Candidates:
        nonlocal asked
        asked += 1
        number = asked
        if number <= len(gates):
            await gates[number - 1].wait()
        if number == 1:
            raise ConnectionError
        return ()

    async def quick() -> Candidates:
        return ()

    older = asyncio.create_task(answers.of("time", work))
    await asyncio.sleep(0)
    for number in range(ANSWERS_MAX):
        await answers.of(number, quick)
    newer = asyncio.create_task(answers.of("time", work))
    await asyncio.sleep(0)
    gates[0].set()
    with pytest.raises(ConnectionError):
        await older
    joined = asyncio.create_task(answers.of("time", work))
    await asyncio.sleep(0)
    gates[1].set()
    assert (await newer, await joined) == ((), ())
    assert asked == 2

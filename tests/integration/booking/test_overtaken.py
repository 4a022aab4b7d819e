"""Bookings whose locks come with their writes: what changed in between is seen, and nothing is left of that try."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, time, timedelta
from typing import cast

import psycopg
import pytest
from psycopg.types.range import TimestamptzRange

from booking_svc.store.session import Session
from chassis.encryption import ClinicCipher
from database.failures import is_overtaken
from database.pipeline import Connection
from scheduling.facts import PatientFacts
from tests.integration.booking.conftest import MakeClient, Suite
from tests.support.booking import outcome
from tests.support.clinic_rows import insert
from tests.support.invariants import query
from tests.support.practice import MONDAY, Practice, at, new_id
from tests.support.waiting import wait_until_async

_WAITING = """
SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'
    AND query LIKE '%%require_untouched%%'
"""
_COUNTED = "SELECT count(*) FROM {} WHERE clinic_id = %s"
_RAISED = "UPDATE resource SET calendar_version = calendar_version + 1 WHERE id = %s"

Change = Callable[[psycopg.Connection, Practice], object]


def raise_a_version(owner: psycopg.Connection, practice: Practice) -> None:
    """Somebody has changed the provider's calendar, and changed it back."""
    owner.execute(_RAISED, (practice.provider,))


def take_the_time(owner: psycopg.Connection, practice: Practice) -> None:
    """Somebody has claimed the provider at that time."""
    start = datetime.combine(MONDAY, time(9), UTC)
    end = start + timedelta(minutes=30)
    insert(
        owner, "claim", clinic_id=practice.clinic, resource_id=practice.provider, unit=1, starts_at=start,
        ends_at=end, during=TimestamptzRange(start, end, "[)"), appointment_id=new_id(),
    )  # fmt: skip
    owner.execute(_RAISED, (practice.provider,))


def put_the_patient_out_of_use(owner: psycopg.Connection, practice: Practice) -> None:
    """Somebody has put the patient out of use, under the lock that this takes."""
    owner.execute("SELECT FROM patient WHERE id = %s FOR UPDATE", (practice.patients[0],))
    owner.execute("UPDATE patient SET active = false WHERE id = %s", (practice.patients[0],))


@pytest.mark.parametrize(
    ("change", "answer", "booked"),
    [
        (raise_a_version, "OK", 1),
        (take_the_time, "ALREADY_EXISTS SLOT_ALREADY_BOOKED", 0),
        (put_the_patient_out_of_use, "NOT_FOUND NOT_FOUND", 0),
    ],
)
async def test_what_changes_between_judging_and_locking_is_seen(
    suite: Suite, make_client: MakeClient, change: Change, answer: str, booked: int
) -> None:
    """A booking that waits for somebody's change is judged again by what that has changed, and booked once or not."""
    practice = suite.practice()
    client = make_client(practice)
    before = overtaken(suite)
    with psycopg.connect(suite.database.owner_url) as owner:
        change(owner, practice)
        booking = asyncio.create_task(outcome(client.create(at(9))))

        async def waits() -> bool:
            return query(suite.database.owner_url, _WAITING) == [(1,)]

        await wait_until_async(waits, what="the booking to wait for the change")
        owner.commit()
    assert await booking == answer
    assert overtaken(suite) == before + 1
    for table in ("appointment", "appointment_ref", "outbox_event", "audit_event"):
        assert query(suite.database.owner_url, _COUNTED.format(table), practice.clinic) == [(booked,)], table


async def test_quiet_bookings_are_not_overtaken(suite: Suite, make_client: MakeClient) -> None:
    """Five in a row, in calendars that fill, need one try each, and raise versions by one.

    A whole minute, or a pause of the machine, is met on one day or two of three.
    """
    practice = suite.practice()
    client = make_client(practice)
    booked = 0
    for day in range(3):
        before = overtaken(suite)
        for hour in range(9, 14):
            assert await outcome(client.create(at(hour, day=MONDAY + timedelta(days=day)))) == "OK"
            booked += 1
        if overtaken(suite) == before:
            break
    else:
        pytest.fail("each five had one that was overtaken, though nobody else books")
    versions = query(
        suite.database.owner_url,
        "SELECT DISTINCT calendar_version FROM resource WHERE id = ANY (%s)",
        [practice.provider, practice.patients[0], practice.rooms[0]],
    )
    assert versions == [(booked,)]


def overtaken(suite: Suite) -> int:
    """How often bookings of this suite were run again because something had changed."""
    wanted = 'booking_retries_total{sqlstate="MF001"} '
    lines = suite.processes[0].metrics().splitlines()
    return sum(int(float(line.removeprefix(wanted))) for line in lines if line.startswith(wanted))


class Moment:
    """A transaction of a clinic on a connection of its own, by a clock that is an hour ahead, and what it may lock."""

    def __init__(self, suite: Suite, practice: Practice, connection: Connection) -> None:
        ahead = timedelta(hours=1)
        self.session = Session(connection, practice.clinic, cast("ClinicCipher", None), ahead)
        self.resource_ids = [practice.provider, practice.rooms[0]]
        self.patient_id = practice.patients[0]
        self.now = query(suite.database.owner_url, "SELECT clock_timestamp()")[0][0] + ahead

    async def is_overtaken(self) -> bool:
        """Run what is queued; whether it fails as `require_untouched` does."""
        try:
            await self.session.run()
        except psycopg.Error as error:
            if not is_overtaken(error):
                raise
            return True
        return False


@pytest.fixture
async def moment(suite: Suite) -> AsyncIterator[Moment]:
    """A transaction that has begun and read nothing yet."""
    practice = suite.practice()
    connection = Connection(await psycopg.AsyncConnection.connect(suite.database.app_url, autocommit=True))
    made = Moment(suite, practice, connection)
    made.session.begin()
    await made.session.run()
    yield made
    await connection.close()


@pytest.mark.parametrize(
    ("seen", "more", "wait", "overtakes"),
    [
        ((0, 0), [], timedelta(minutes=1), False),
        ((0, 1), [], timedelta(minutes=1), True),
        ((0, 0), [new_id()], timedelta(minutes=1), True),
        ((0, 0), [], timedelta(seconds=-1), True),
    ],
    ids=["as it was", "another version", "a row that is gone", "too late"],
)
async def test_rows_are_locked_only_as_they_were_seen(
    moment: Moment, seen: tuple[int, int], more: list[str], wait: timedelta, overtakes: bool
) -> None:
    """Another version, a missing row, or a moment that has passed by the moved clock, each alone ends the run."""
    versions = {**dict(zip(moment.resource_ids, seen, strict=True)), **dict.fromkeys(more, 0)}
    moment.session.lock_untouched(versions, moment.now + wait)
    assert await moment.is_overtaken() == overtakes


@pytest.mark.parametrize(
    ("is_placeholder", "wait", "overtakes"),
    [
        (False, timedelta(minutes=1), False),
        (True, timedelta(minutes=1), True),
        (False, timedelta(seconds=-1), True),
    ],
    ids=["as it was", "no placeholder", "too late"],
)
async def test_a_patient_is_locked_only_as_it_was_seen(
    moment: Moment, is_placeholder: bool, wait: timedelta, overtakes: bool
) -> None:
    """A patient that is a placeholder no more, or a moment that has passed, each alone ends the run."""
    patient = PatientFacts(moment.patient_id, is_placeholder=is_placeholder)
    moment.session.lock_patient_untouched(patient, moment.now + wait)
    assert await moment.is_overtaken() == overtakes

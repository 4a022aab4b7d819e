"""`/live` in a browser, with a clinic behind it."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from medforall.events.v1 import events_pb2 as events

from ctl.ports import free_port
from tests.support.browser import Page, chromium
from tests.support.fake_clinic import FakeClinic, serving
from tests.support.realtime import Clinic, RealtimeSuite, Visit

DAY = "2026-02-20"
# Eight in the morning in New York.
MORNING = datetime(2026, 2, 20, 13, 0, tzinfo=UTC)
SCOPES = ("read:appointments", "read:directory", "read:availability")
_STATUSES = ("scheduled", "scheduled", "confirmed", "confirmed", "checked_in", "in_progress", "completed")


def half_full_day() -> FakeClinic:
    """A clinic with a day about half full."""
    chance = random.Random(7)
    clinic = Clinic()
    known = FakeClinic(clinic)
    for provider in range(3):
        for slot in sorted(chance.sample(range(1, 18), 9)):
            status = _STATUSES[0 if slot > 8 else chance.randrange(len(_STATUSES))]
            visit = Visit(
                clinic, provider=provider, service=slot % 3, start=MORNING + timedelta(minutes=30 * slot)
            )
            visit.event(status=status)
            known.visits.append(visit)
    return known


def booked(
    known: FakeClinic, *, provider: int = 0, at_min: int, minutes: int = 30, patient: int = 0
) -> Visit:
    """A visit that the services know of, some minutes after the morning began."""
    start = MORNING + timedelta(minutes=at_min)
    visit = Visit(known.clinic, provider=provider, patient=patient, start=start)
    visit.event()
    known.visits.append(visit)
    known.minutes[visit.id] = minutes
    return visit


def news_of(visit: Visit) -> events.Event:
    """The last event of a visit."""
    assert visit.last is not None
    return visit.last


class LiveServices:
    """A suite for one test after another: its gateway finds the made-up clinic of whoever is `showing` one."""

    def __init__(self, directory: Path, redis_url: str) -> None:
        chromium()
        self._port = free_port()
        target = f"127.0.0.1:{self._port}"
        settings = {"MEDFORALL_BOOKING_TARGET": target, "MEDFORALL_AVAILABILITY_TARGET": target}
        self.suite = RealtimeSuite(directory, redis_url, settings)

    @asynccontextmanager
    async def showing(self, known: FakeClinic) -> AsyncIterator[RealtimeSuite]:
        """The suite with this clinic behind it; what an earlier test left dead runs again."""
        self.suite.mend()
        async with serving(known, self._port):
            yield self.suite


async def show(
    page: Page,
    suite: RealtimeSuite,
    known: FakeClinic,
    token: str = "",
    *,
    day: str = DAY,
    scopes: tuple[str, ...] = SCOPES,
) -> None:
    """Open the page on a day, and wait until it is live and read."""
    token = token or suite.token(clinic_id=known.clinic.id, scopes=scopes)
    date = f"&date={day}" if day else ""
    await page.open(f"{suite.http_url}/live#token={token}&location={known.clinic.location_id}{date}")
    await page.wait_for(in_state("live"))
    await page.wait_for("document.getElementById('board').ariaBusy === 'false'")
    assert token not in await page.value("location.href")


async def renew(page: Page, token: str) -> None:
    """Go on with another token, once one is asked for; the day is read again."""
    await page.wait_for("!document.getElementById('renewal').hidden")
    await page.value(f"document.getElementById('renewal-token').value = '{token}'")
    await page.value("document.getElementById('renewal').requestSubmit()")


def in_state(name: str) -> str:
    """That the connection is shown to be so."""
    return f"document.getElementById('state').dataset.state === '{name}'"


def card(visit: Visit) -> str:
    """A visit's card."""
    return f"document.querySelector('[data-id=\"{visit.id}\"]:not(.gone)')"


def text_of(id_: str) -> str:
    """What a part of the page says."""
    return f"document.getElementById('{id_}').textContent"


FEED = "[...document.querySelectorAll('#feed li b')].map((each) => each.textContent)"

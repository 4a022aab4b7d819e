"""Whom `/live` shows to whom: patients, colleagues, and providers who come from elsewhere."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from functools import partial

import pytest

from chassis.auth.principal import Role
from tests.support.browser import browser_page
from tests.support.directory_events import directory_event
from tests.support.fake_clinic import PATIENTS, FakeClinic, patient_name
from tests.support.live_page import SCOPES, LiveServices, booked, card, news_of, renew, show
from tests.support.realtime import Clinic, RealtimeSuite, Visit
from tests.support.waiting import wait_until_async

pytestmark = pytest.mark.browser


@pytest.fixture
def known() -> FakeClinic:
    """An empty clinic whose first two providers work all day; the third is seldom here."""
    clinic = Clinic()
    first, second, _ = clinic.provider_ids
    return FakeClinic(clinic, hours={first: (8, 17), second: (9, 12)})


@pytest.fixture
async def suite(live_services: LiveServices, known: FakeClinic) -> AsyncIterator[RealtimeSuite]:
    """A suite whose gateway finds the made-up clinic."""
    async with live_services.showing(known) as made:
        yield made


_COLUMNS = "[...document.querySelectorAll('.column')].map((each) => each.ariaLabel)"
_HEADS = "[...document.querySelectorAll('.head b')].map((each) => each.textContent)"
_BUSY = "[...document.querySelectorAll('.busy')].map((each) => each.title)"


async def test_patients_are_named_to_those_who_may_read_them(suite: RealtimeSuite, known: FakeClinic) -> None:
    """With `read:phi` cards name who comes, also who is booked meanwhile; without it nobody is asked for or named."""
    there = booked(known, at_min=60, patient=0)
    async with suite.events() as events, browser_page() as page:
        await events.prepare()
        await show(page, suite, known, scopes=(*SCOPES, "read:phi"))
        await page.wait_for(f"{card(there)}.innerText.includes('{PATIENTS[0]}')")
        new = booked(known, at_min=120, patient=1)
        await events.publish(news_of(new))
        await page.wait_for(f"{card(new)}?.innerText.includes('{PATIENTS[1]}')")
        label = await page.value(f"{card(new)}.ariaLabel")
        assert label == f"10:00 to 10:30, Dr. Maya Chen, {PATIENTS[1]}, Consultation, Room 1, scheduled"
        kept = (
            "location.href + document.title + JSON.stringify(localStorage) + JSON.stringify(sessionStorage)"
        )
        assert not _names_in(await page.value(kept))

        await page.open("about:blank")
        await show(page, suite, known)
        await page.wait_for(f"{card(there)}.innerText.includes('Consultation')")
        asked = "performance.getEntriesByType('resource').filter((each) => each.name.includes('/patients')).length"
        assert await page.value(asked) == 0
        assert not _names_in(await page.value("document.body.innerHTML"))
    assert page.faults == []


async def test_a_long_day_is_named_at_once(suite: RealtimeSuite, known: FakeClinic) -> None:
    """The patients of a day are asked for by the hundred, and one who may not be seen costs nobody else a name."""
    known.clinic.patient_ids = [str(uuid.uuid4()) for _ in range(130)]
    visits = [
        booked(known, provider=n % 3, at_min=5 * (n // 3), minutes=5, patient=n % 130) for n in range(140)
    ]
    known.unseen = {known.clinic.patient_ids[7], known.clinic.patient_ids[129]}
    async with suite.events() as events, browser_page() as page:
        await events.prepare()
        await show(page, suite, known, scopes=(*SCOPES, "read:phi"))
        unnamed = [visit for visit in visits if known.clinic.patient_ids[visit.patient] in known.unseen]
        titles = "[...document.querySelectorAll('.visit > b')].map((each) => each.textContent)"
        await page.wait_for(f"{titles}.filter((title) => title === 'Consultation').length === {len(unnamed)}")
        told = set(await page.value(titles))
        assert {patient_name(known.clinic, id_) for id_ in known.clinic.patient_ids} - told == {
            "Patient 7",
            "Patient 129",
        }
    assert sorted(map(len, known.named)) == [29, 30, 99, 100]
    assert page.faults == []


async def test_nobody_waits_for_a_visit_that_cannot_be_looked_up(
    suite: RealtimeSuite, known: FakeClinic
) -> None:
    """While the look-up of one visit is refused others have their names, and it has its own once it is answered."""
    reads = (*SCOPES, "read:phi")
    # It ends so soon that the page asks for another one.
    ending = suite.token(clinic_id=known.clinic.id, scopes=reads, ttl_s=200)
    there = booked(known, at_min=60, patient=0)
    async with suite.events() as events, browser_page() as page:
        await events.prepare()
        await show(page, suite, known, ending)
        await page.wait_for(f"{card(there)}.innerText.includes('{PATIENTS[0]}')")
        withheld = booked(known, at_min=90, patient=1)
        known.withheld.add(withheld.id)
        await events.publish(news_of(withheld))
        await wait_until_async(partial(_is_sought, known, withheld), what="the look-up of the visit")
        # Two that the list alone tells: one of a patient whose name is in memory, one whose is asked for.
        in_memory, asked_for = booked(known, at_min=120, patient=0), booked(known, at_min=180, patient=2)
        await renew(page, suite.token(clinic_id=known.clinic.id, scopes=reads))
        await page.wait_for(f"{card(in_memory)}?.innerText.includes('{PATIENTS[0]}')")
        await page.wait_for(f"{card(asked_for)}?.innerText.includes('{PATIENTS[2]}')")
        assert PATIENTS[1] not in await page.value(f"{card(withheld)}.innerText")
        known.withheld.clear()
        await page.wait_for(f"{card(withheld)}.innerText.includes('{PATIENTS[1]}')", timeout_s=40)
    assert page.faults == []


async def _is_sought(known: FakeClinic, visit: Visit) -> bool:
    return visit.id in known.sought


def _names_in(text: str) -> list[str]:
    return [name for name in PATIENTS if name in text]


async def test_a_provider_sees_when_colleagues_are_busy(suite: RealtimeSuite, known: FakeClinic) -> None:
    """A provider's page shows its own visits, and colleagues' taken time as grey blocks that follow what happens."""
    own, colleague, _ = known.clinic.provider_ids
    mine = booked(known, at_min=60)
    known.busy = {own: [(9, 10)], colleague: [(10, 11)]}
    async with suite.events() as events, browser_page() as page:
        await events.prepare()
        token = suite.token(Role.PROVIDER, clinic_id=known.clinic.id, scopes=SCOPES, provider_id=own)
        await show(page, suite, known, token)
        await page.wait_for(f"{card(mine)}")
        await page.wait_for(f"{_BUSY}.join() === 'Busy 10:00 to 11:00'")
        known.busy[colleague] = [(9, 10), (10, 11)]
        theirs = booked(known, provider=1, at_min=60)
        await events.publish(news_of(theirs))
        await page.wait_for(f"{_BUSY}.join() === 'Busy 09:00 to 10:00,Busy 10:00 to 11:00'")
        assert await page.value(f"{card(theirs)} === null")
        await page.screenshot("live-provider")
    assert page.faults == []


async def test_columns_are_of_those_who_are_here(suite: RealtimeSuite, known: FakeClinic) -> None:
    """Who works or has a visit here that day has a named column, wherever it is at home; new names show at once."""
    first, _, third = known.clinic.provider_ids
    known.away = {first, third}
    async with suite.events() as events, browser_page() as page:
        await events.prepare()
        await show(page, suite, known)
        await page.wait_for(f"{_HEADS}.join() === 'Dr. Jonas Weber,Dr. Maya Chen'")
        known.names[2] = ("Dr. Aisha Khan-Weber", "Pediatrics")
        visit = booked(known, provider=2, at_min=60)
        await events.publish(news_of(visit))
        await page.wait_for(f"{_HEADS}.join() === 'Dr. Aisha Khan,Dr. Jonas Weber,Dr. Maya Chen'")
        await events.publish(directory_event(known.clinic, "provider"))
        await page.wait_for(f"{_HEADS}.join() === 'Dr. Aisha Khan-Weber,Dr. Jonas Weber,Dr. Maya Chen'")
        assert (await page.value(_COLUMNS))[0] == "Dr. Aisha Khan-Weber, 1 visit"
    assert page.faults == []

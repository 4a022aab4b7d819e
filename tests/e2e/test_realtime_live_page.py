"""`/live` in a real browser: visits appear and move as they happen, and a cut connection loses nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, time, timedelta

import pytest

from tests.support.browser import Page, browser_page
from tests.support.fake_clinic import ZONE, FakeClinic
from tests.support.live_page import (
    FEED,
    MORNING,
    LiveServices,
    booked,
    card,
    half_full_day,
    in_state,
    show,
    text_of,
)
from tests.support.realtime import RealtimeSuite, Visit

pytestmark = pytest.mark.browser

SHOWN_DAY = "document.getElementById('day').dateTime"


@pytest.fixture
def known() -> FakeClinic:
    """A clinic with a day about half full."""
    return half_full_day()


@pytest.fixture
async def suite(live_services: LiveServices, known: FakeClinic) -> AsyncIterator[RealtimeSuite]:
    """A suite whose gateway finds the made-up clinic."""
    async with live_services.showing(known) as made:
        yield made


async def in_column(page: Page, visit: Visit, provider: int) -> None:
    column = visit.clinic.provider_ids[provider]
    await page.wait_for(f"{card(visit)}?.parentElement.dataset.provider === '{column}'")


async def test_a_day_is_shown_and_followed(suite: RealtimeSuite, known: FakeClinic) -> None:
    """The page shows the day, then every booking, move and cancellation, also those while it was cut off."""
    clinic = known.clinic
    async with suite.events() as events, browser_page() as page:
        await events.prepare()
        await show(page, suite, known)
        await page.wait_for(f"document.querySelectorAll('.visit').length === {len(known.visits)}")

        new = Visit(clinic, provider=1, start=MORNING + timedelta(hours=9, minutes=30))
        await events.publish(new.event())
        await in_column(page, new, 1)
        moved = known.visits[0]
        await events.publish(
            moved.event("rescheduled", provider=2, start=MORNING + timedelta(hours=9, minutes=30))
        )
        await in_column(page, moved, 2)
        gone = known.visits[1]
        await events.publish(gone.event("canceled", status="canceled"))
        await page.wait_for(f"!{card(gone)}")
        arrived = known.visits[-1]
        await events.publish(arrived.event("checked_in", status="checked_in"))
        await page.wait_for(f"{card(arrived)}.dataset.status === 'checked_in'")
        told = [line.partition(" · ")[0] for line in await page.value(FEED)]
        assert told == ["Arrived", "Canceled", "Moved", "Booked"]

        suite.kill("gateway")
        await page.wait_for(in_state("waiting"))
        missed = Visit(clinic, provider=0, start=MORNING)
        await events.publish(missed.event())
        await events.publish(
            new.event("rescheduled", provider=0, start=MORNING + timedelta(hours=9, minutes=30))
        )
        suite.restart("gateway")
        await page.wait_for(in_state("live"), timeout_s=30)
        await in_column(page, missed, 0)
        await in_column(page, new, 0)
        assert await page.value(text_of("heard")) == "6"
        await _photographed(page)
    assert page.faults == []


async def _photographed(page: Page) -> None:
    """The page in light and dark and on a phone, where it scrolls in one direction only."""
    await _stillness(page)
    picture = await page.screenshot("live")
    assert picture.stat().st_size > 20_000
    dark = {"name": "prefers-color-scheme", "value": "dark"}
    await page.call("Emulation.setEmulatedMedia", features=[dark])
    await _stillness(page)
    await page.screenshot("live-dark")
    phone = {"width": 420, "height": 800, "deviceScaleFactor": 1, "mobile": True}
    await page.call("Emulation.setDeviceMetricsOverride", **phone)
    await page.wait_for("document.documentElement.scrollWidth <= 420")
    await page.screenshot("live-phone")
    # What stands beside the board elsewhere is one touch away.
    await page.value("document.getElementById('more').click()")
    await page.wait_for("document.getElementById('feed').checkVisibility({visibilityProperty: true})")
    await _stillness(page)
    await page.screenshot("live-phone-activity")


async def _stillness(page: Page) -> None:
    """Wait until nothing moves but what moves for ever."""
    still = "each.effect.getTiming().iterations > 1 || each.playState === 'finished'"
    await page.wait_for(f"document.getAnimations().every((each) => {still})")


async def test_times_are_the_clinics(suite: RealtimeSuite, known: FakeClinic) -> None:
    """A location without a zone of its own shows now, today and what happens on the clinic's clock, in any browser."""
    async with suite.events() as events, browser_page() as page:
        await events.prepare()
        await page.call("Emulation.setTimezoneOverride", timezoneId="Pacific/Kiritimati")
        before = datetime.now(UTC)
        today = before.astimezone(ZONE).date()
        visits = {str(day): _at_noon(known, day) for day in (today, today + timedelta(days=1))}
        await show(page, suite, known, day="")
        visit = visits[await page.value(SHOWN_DAY)]
        await events.publish(visit.event("confirmed", status="confirmed"))
        await page.wait_for("document.querySelector('#feed li time')")
        moments = _clock_between(before, datetime.now(UTC))
        assert await page.value("document.querySelector('#feed li time').textContent") in moments
        if moments <= {f"{hour:02}:{minute:02}" for hour in range(8, 17) for minute in range(60)}:
            assert await page.value(text_of("now-time")) in moments
        assert await page.value("document.querySelector('.visit:not(.gone) time').textContent") == "12:00"
    assert page.faults == []


def _at_noon(known: FakeClinic, day: date) -> Visit:
    """A visit that begins at twelve o'clock of the clinic."""
    visit = Visit(known.clinic, start=datetime.combine(day, time(12), ZONE).astimezone(UTC))
    visit.event()
    known.visits.append(visit)
    return visit


def _clock_between(first: datetime, last: datetime) -> set[str]:
    """What the clinic's clock shows from one instant to the other."""
    count = (last - first) // timedelta(minutes=1) + 2
    return {f"{(first + timedelta(minutes=n)).astimezone(ZONE):%H:%M}" for n in range(count)}


async def test_today_turns_at_midnight(suite: RealtimeSuite, known: FakeClinic) -> None:
    """A page that shows today shows tomorrow after midnight, and one that shows another day stays there."""
    later = """window.laterMs = 0; const Real = Date;
      window.Date = class extends Real {
        constructor(...parts) { parts.length ? super(...parts) : super(Real.now() + window.laterMs); }
        static now() { return Real.now() + window.laterMs; }
      };"""
    looks = "document.dispatchEvent(new Event('visibilitychange'))"
    async with browser_page() as page:
        await page.call("Page.enable")
        await page.call("Page.addScriptToEvaluateOnNewDocument", source=later)
        await show(page, suite, known, day="")
        before = await page.value(SHOWN_DAY)
        # Not a day later: on two days of the year that is the day after, or the same one.
        tomorrow = date.fromisoformat(before) + timedelta(days=1)
        after_midnight = datetime.combine(tomorrow, time(0, 5), ZONE)
        await page.value(f"window.laterMs = {after_midnight.timestamp() * 1_000:.0f} - Date.now()")
        await page.value(looks)
        await page.wait_for(f"{SHOWN_DAY} === '{tomorrow}'")
        await page.value("document.getElementById('previous').click()")
        await page.wait_for(f"{SHOWN_DAY} === '{before}'")
        await page.value(looks)
        assert await page.value(SHOWN_DAY) == before
    assert page.faults == []


_OVERLAPS = """(() => {
  const boxes = [...document.querySelectorAll('.visit:not(.gone)')].map((each) => each.getBoundingClientRect());
  return boxes.flatMap((a, i) => boxes.slice(i + 1).filter((b) =>
    a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom)).length;
})()"""


async def test_what_overlaps_stands_side_by_side(suite: RealtimeSuite, known: FakeClinic) -> None:
    """Cards never cover each other: neither overlapping visits, nor short ones that are drawn higher than they last."""
    known.visits.clear()
    early = booked(known, at_min=0, minutes=30)
    early.event("completed", status="completed")
    within = booked(known, at_min=10, minutes=20)
    for number in range(6):
        booked(known, at_min=60 + 5 * number, minutes=5)
    for number in range(3):
        booked(known, at_min=120 + 10 * number, minutes=10)
    whole = booked(known, at_min=180, minutes=30)
    async with browser_page() as page:
        await show(page, suite, known)
        await page.wait_for(f"document.querySelectorAll('.visit').length === {len(known.visits)}")
        await _stillness(page)
        assert await page.value(_OVERLAPS) == 0
        width = "{0}.getBoundingClientRect().width"
        assert (
            await page.value(width.format(card(within))) < await page.value(width.format(card(whole))) * 0.6
        )
        # Ten minutes are enough to stand alone.
        alone = known.visits[8]
        assert await page.value(width.format(card(alone))) == await page.value(width.format(card(whole)))
        await page.screenshot("live-lanes")
    assert page.faults == []


async def test_a_bad_token_is_refused_in_words(suite: RealtimeSuite) -> None:
    """What is not a clinic's token is answered beside the form."""
    async with browser_page() as page:
        await page.open(f"{suite.http_url}/live#token=nonsense")
        await page.wait_for("!document.getElementById('fault').hidden")
        assert "not a token" in await page.value("document.getElementById('fault').textContent")
        await page.screenshot("live-sign-in")

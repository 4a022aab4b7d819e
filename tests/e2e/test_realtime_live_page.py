"""`/live` in a real browser: visits appear and move as they happen, and a cut connection loses nothing."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ctl.ports import free_port
from tests.support.browser import Page, browser_page, chromium
from tests.support.fake_clinic import FakeClinic, serving
from tests.support.realtime import Clinic, RealtimeSuite, Visit

pytestmark = pytest.mark.browser

_DAY = datetime(2026, 2, 20, 13, 0, tzinfo=UTC)
_STATUSES = ("scheduled", "scheduled", "confirmed", "confirmed", "checked_in", "in_progress", "completed")


@pytest.fixture
def known() -> FakeClinic:
    """A clinic with a day about half full."""
    chance = random.Random(7)
    clinic = Clinic()
    known = FakeClinic(clinic)
    for provider in range(3):
        for slot in sorted(chance.sample(range(1, 18), 9)):
            visit = Visit(
                clinic,
                provider=provider,
                service=slot % 3,
                start=_DAY + timedelta(minutes=30 * slot),
            )
            visit.event(status=_STATUSES[0 if slot > 8 else chance.randrange(len(_STATUSES))])
            known.visits.append(visit)
    return known


@pytest.fixture
async def suite(tmp_path: Path, redis_url: str, known: FakeClinic) -> AsyncIterator[RealtimeSuite]:
    """A suite whose gateway finds the made-up directory."""
    chromium()
    port = free_port()
    made = RealtimeSuite(tmp_path, redis_url, {"MEDFORALL_BOOKING_TARGET": f"127.0.0.1:{port}"})
    try:
        async with serving(known, port):
            made.start()
            yield made
    finally:
        made.stop()


def card(visit: Visit) -> str:
    return f"document.querySelector('[data-id=\"{visit.id}\"]:not(.gone)')"


async def in_column(page: Page, visit: Visit, provider: int) -> None:
    column = visit.clinic.provider_ids[provider]
    await page.wait_for(f"{card(visit)}?.parentElement.dataset.provider === '{column}'")


async def test_a_day_is_shown_and_followed(suite: RealtimeSuite, known: FakeClinic) -> None:
    """The page shows the day, then every booking, move and cancellation, also those while it was cut off."""
    clinic = known.clinic
    token = suite.token(clinic_id=clinic.id, scopes=("read:appointments", "read:directory"))
    address = f"{suite.http_url}/live#token={token}&location={clinic.location_id}&date=2026-02-20"
    async with suite.events() as events, browser_page() as page:
        await events.prepare()
        await page.open(address)
        await page.wait_for("document.getElementById('state').dataset.state === 'live'")
        await page.wait_for(f"document.querySelectorAll('.visit').length === {len(known.visits)}")
        assert token not in await page.value("location.href")

        new = Visit(clinic, provider=1, start=_DAY + timedelta(hours=9, minutes=30))
        await events.publish(new.event())
        await in_column(page, new, 1)
        moved = known.visits[0]
        await events.publish(
            moved.event("rescheduled", provider=2, start=_DAY + timedelta(hours=9, minutes=30))
        )
        await in_column(page, moved, 2)
        gone = known.visits[1]
        await events.publish(gone.event("canceled", status="canceled"))
        await page.wait_for(f"!{card(gone)}")
        arrived = known.visits[-1]
        await events.publish(arrived.event("checked_in", status="checked_in"))
        await page.wait_for(f"{card(arrived)}.dataset.status === 'checked_in'")

        suite.kill("gateway")
        await page.wait_for("document.getElementById('state').dataset.state === 'waiting'")
        missed = Visit(clinic, provider=0, start=_DAY + timedelta(minutes=0))
        await events.publish(missed.event())
        await events.publish(
            new.event("rescheduled", provider=0, start=_DAY + timedelta(hours=9, minutes=30))
        )
        suite.restart("gateway")
        await page.wait_for("document.getElementById('state').dataset.state === 'live'", timeout_s=30)
        await in_column(page, missed, 0)
        await in_column(page, new, 0)
        assert await page.value("document.getElementById('heard').textContent") == "6"
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


async def _stillness(page: Page) -> None:
    """Wait until nothing moves but what moves for ever."""
    still = "each.effect.getTiming().iterations > 1 || each.playState === 'finished'"
    await page.wait_for(f"document.getAnimations().every((each) => {still})")


async def test_a_bad_token_is_refused_in_words(suite: RealtimeSuite) -> None:
    """What is not a clinic's token is answered beside the form."""
    async with browser_page() as page:
        await page.open(f"{suite.http_url}/live#token=nonsense")
        await page.wait_for("!document.getElementById('fault').hidden")
        assert "not a token" in await page.value("document.getElementById('fault').textContent")
        await page.screenshot("live-sign-in")

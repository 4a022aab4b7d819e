"""A browser's own `EventSource` with one-time tickets, as the integrators' page tells to use it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.browser import Page, browser_page, chromium
from tests.support.realtime import ROOT, Clinic, RealtimeSuite, Visit

pytestmark = pytest.mark.browser


@pytest.fixture
def suite(tmp_path: Path, redis_url: str) -> Iterator[RealtimeSuite]:
    """A suite whose gateway this test kills."""
    chromium()
    made = RealtimeSuite(tmp_path, redis_url)
    try:
        made.start()
        yield made
    finally:
        made.stop()


def documented() -> str:
    """The example of the integrators' page, as it stands there."""
    page = (ROOT / "docs" / "integrators.md").read_text()
    found = re.search(r"```js\n(async function listen\(.*?)```", page, re.DOTALL)
    assert found is not None
    return found.group(1)


async def hears(page: Page, visit: Visit) -> None:
    await page.wait_for(f"told.some((one) => one.payload?.appointmentId === '{visit.id}')", timeout_s=40)


async def test_an_event_source_that_is_cut_off_goes_on_with_another_ticket(
    suite: RealtimeSuite, clinic: Clinic
) -> None:
    """The documented lines hear what happened before, while and after the gateway was away, each once, in order."""
    token = json.dumps(suite.token(clinic_id=clinic.id))
    visits = [Visit(clinic) for _ in range(4)]
    async with suite.events() as events, browser_page() as page:
        await page.open(f"{suite.http_url}/docs")
        await page.wait_for(f"location.href.startsWith('{suite.http_url}')")
        start = f"listen('{clinic.id}', async () => {token}, (one) => told.push(one)); undefined"
        await page.value(f"window.told = []; window.listen = {documented()}; {start}")
        await page.wait_for("told[0]?.type === 'subscribed'")
        await events.publish(visits[0].event())
        await hears(page, visits[0])
        suite.kill("gateway")
        await events.publish(visits[1].event())
        await events.publish(visits[2].event())
        suite.restart("gateway")
        await hears(page, visits[2])
        await events.publish(visits[3].event())
        await hears(page, visits[3])
        told = await page.value("told.map((one) => one.payload.appointmentId ?? one.type)")
        assert page.faults == []
    ids = [visit.id for visit in visits]
    assert told == ["subscribed", ids[0], ids[1], ids[2], "subscribed", ids[3]]


@pytest.fixture
def clinic() -> Clinic:
    """A clinic that nobody else uses."""
    return Clinic()

"""`/live` says how it stands: what is not live is not called so, and what failed is said and tried again."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from functools import partial

import grpc
import pytest

from tests.support.browser import Page, browser_page
from tests.support.event_contract import DOCUMENT
from tests.support.fake_clinic import FakeClinic
from tests.support.live_page import (
    DAY,
    FEED,
    SCOPES,
    LiveServices,
    booked,
    card,
    in_state,
    news_of,
    renew,
    show,
    text_of,
)
from tests.support.realtime import Clinic, RealtimeSuite
from tests.support.waiting import wait_until_async

pytestmark = pytest.mark.browser

_NEXT_DAY, _THIRD_DAY = "2026-02-21", "2026-02-22"
_DAY_MIN = 24 * 60


@pytest.fixture
def known() -> FakeClinic:
    """A clinic with no visits yet."""
    return FakeClinic(Clinic())


@pytest.fixture
async def suite(live_services: LiveServices, known: FakeClinic) -> AsyncIterator[RealtimeSuite]:
    """A suite whose gateway finds the made-up clinic."""
    async with live_services.showing(known) as made:
        yield made


async def test_a_frozen_gateway_is_not_called_live(suite: RealtimeSuite, known: FakeClinic) -> None:
    """A connection that is open but silent is given up, said so, and resumed when the gateway goes on."""
    pid = suite.processes["gateway"].pid
    assert pid is not None
    async with suite.events() as events, browser_page() as page:
        await events.prepare()
        await show(page, suite, known)
        os.kill(pid, signal.SIGSTOP)
        try:
            await page.wait_for(f"!({in_state('live')})", timeout_s=45)
            await page.wait_for(f"{text_of('notice-text')}.startsWith('Not live since')", timeout_s=30)
            missed = booked(known, at_min=60)
            await events.publish(news_of(missed))
            await page.screenshot("live-not-live")
        finally:
            os.kill(pid, signal.SIGCONT)
        await page.wait_for(in_state("live"), timeout_s=45)
        await page.wait_for(f"{card(missed)}")
        assert await page.value("document.getElementById('notice').hidden")
    assert page.faults == []


async def test_an_offline_device_says_so(suite: RealtimeSuite, known: FakeClinic) -> None:
    """Offline shows at once, even while the socket seems open; online again, what was missed is told."""
    async with suite.events() as events, browser_page() as page:
        await events.prepare()
        await show(page, suite, known)
        await _network(page, offline=True)
        await page.wait_for(in_state("offline"))
        missed = booked(known, at_min=60)
        await events.publish(news_of(missed))
        await _network(page, offline=False)
        await page.wait_for(in_state("live"), timeout_s=30)
        await page.wait_for(f"{card(missed)}")
        told = [line.partition(" · ")[0] for line in await page.value(FEED)]
        assert "Connection lost" in told
    assert page.faults == []


async def _network(page: Page, *, offline: bool) -> None:
    await page.call("Network.enable")
    await page.call(
        "Network.emulateNetworkConditions",
        offline=offline,
        latency=0,
        downloadThroughput=-1,
        uploadThroughput=-1,
    )


async def test_the_day_last_asked_for_is_shown(suite: RealtimeSuite, known: FakeClinic) -> None:
    """An earlier day whose list comes late changes nothing, and a change of day is no lost connection."""
    wanted = booked(known, at_min=2 * _DAY_MIN + 60)
    known.gates[_NEXT_DAY] = asyncio.Event()
    async with browser_page() as page:
        await show(page, suite, known)
        await page.value("document.getElementById('next').click()")
        await wait_until_async(partial(_is_asked, known, _NEXT_DAY), what="the list of the next day")
        assert await page.value("document.getElementById('board').ariaBusy") == "true"
        assert await page.value(text_of("empty")) == "Reading the day…"
        await page.value("document.getElementById('next').click()")
        await page.wait_for(f"{card(wanted)}")
        known.gates[_NEXT_DAY].set()
        late = f"(each) => each.name.includes('date={_NEXT_DAY}') && each.responseEnd > 0"
        await page.wait_for(f"performance.getEntriesByType('resource').some({late})")
        assert await page.value("document.getElementById('day').dateTime") == _THIRD_DAY
        assert await page.value(f"{card(wanted)} !== null")
        assert await page.value(FEED) == []
        assert await page.value(in_state("live"))
    assert page.faults == []


async def _is_asked(known: FakeClinic, day: str) -> bool:
    return day in known.asked


async def test_every_event_is_told_in_words(suite: RealtimeSuite, known: FakeClinic) -> None:
    """Whatever happens to a visit or a hold has words of its own in the feed, never the type's name."""
    described = DOCUMENT["components"]["messages"]
    types = [type_ for type_ in described if type_.startswith(("appointment.", "hold."))]
    async with suite.events() as events, browser_page() as page:
        await events.prepare()
        await show(page, suite, known)
        words = await page.value(
            f"import('/live/words.js').then(({{ eventWord }}) => {types}.map(eventWord))",
        )
        assert len(set(words)) == len(types) > 10
        visit = booked(known, at_min=60)
        await events.publish(visit.event("hold.renewed", status="held"))
        await page.wait_for(f"{FEED}.join() === 'Held for longer · Consultation'")
    assert page.faults == []


async def test_an_ended_token_is_renewed_where_it_stands(suite: RealtimeSuite, known: FakeClinic) -> None:
    """When the token ends the board stays, and another token goes on from there; one of another clinic does not."""
    visit = booked(known, at_min=60)
    # Twenty seconds are left of the half minute for which an ended token is taken.
    short = suite.token(clinic_id=known.clinic.id, scopes=SCOPES, ttl_s=20, issued_s_ago=30)
    async with suite.events() as events, browser_page() as page:
        await events.prepare()
        await show(page, suite, known, short)
        await page.wait_for(in_state("ended"), timeout_s=90)
        assert "The token has ended" in await page.value(text_of("notice-text"))
        assert await page.value(f"{card(visit)} !== null")
        await page.screenshot("live-token-ended")
        await renew(page, suite.token(clinic_id=Clinic().id, scopes=SCOPES))
        await page.wait_for(f"{text_of('notice-text')} === 'This token is of another clinic.'")
        missed = booked(known, at_min=120)
        await events.publish(news_of(missed))
        await renew(page, suite.token(clinic_id=known.clinic.id, scopes=SCOPES))
        await page.wait_for(in_state("live"))
        await page.wait_for(f"{card(missed)} && document.getElementById('notice').hidden")
    assert page.faults == []


async def test_a_token_is_renewed_before_it_ends(suite: RealtimeSuite, known: FakeClinic) -> None:
    """Before a token ends somebody is reminded, and another one is taken on the open connection."""
    short = suite.token(clinic_id=known.clinic.id, scopes=SCOPES, ttl_s=200)
    async with browser_page() as page:
        await show(page, suite, known, short)
        await page.wait_for(f"{text_of('notice-text')}.startsWith('The token ends at')")
        await renew(page, suite.token(clinic_id=known.clinic.id, scopes=SCOPES))
        await page.wait_for("document.getElementById('notice').hidden")
        assert await page.value(in_state("live"))
        assert await page.value(FEED) == []
    assert page.faults == []


async def test_a_clinic_that_cannot_be_read_is_tried_again(suite: RealtimeSuite, known: FakeClinic) -> None:
    """A server that is away is not a clinic without locations: the page says what happened, and asks again."""
    known.faults = [grpc.StatusCode.INTERNAL]
    async with browser_page() as page:
        token = suite.token(clinic_id=known.clinic.id, scopes=SCOPES)
        await page.open(f"{suite.http_url}/live#token={token}&date={DAY}")
        await page.wait_for("!document.getElementById('fault').hidden")
        assert "cannot answer at the moment (500). Trying again" in await page.value(text_of("fault"))
        await page.screenshot("live-away")
        await page.wait_for(in_state("live"), timeout_s=30)
        await page.wait_for("document.getElementById('sign-in').hidden")
    assert page.faults == []

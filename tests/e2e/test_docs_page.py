"""`/docs` in a real browser: it lists the whole API, lets a reader try it, and needs nothing from elsewhere."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from ctl.run_file import DemoFacts, RunFile
from tests.support.browser import browser_page

pytestmark = pytest.mark.browser


def operations(suite: RunFile) -> dict[str, str]:
    """The summary of every operation, by its id."""
    document: dict[str, Any] = httpx.get(f"{suite.gateway_url}/openapi.json", trust_env=False).json()
    return {
        operation["operationId"]: operation["summary"]
        for methods in document["paths"].values()
        for operation in methods.values()
    }


async def test_every_operation_is_listed_and_found(suite: RunFile) -> None:
    """All operations of /openapi.json are shown, the filter finds them, and every request goes to the gateway."""
    expected = operations(suite)
    async with browser_page() as page:
        await page.open(f"{suite.gateway_url}/docs")
        await page.wait_for("document.querySelectorAll('main details[data-text]').length > 0")
        await page.screenshot("docs-page")
        shown = await page.value(
            "[...document.querySelectorAll('main details[data-text]')].map((box) => box.id)"
        )
        assert sorted(shown) == sorted(expected)
        await page.value(
            "(() => { const box = document.getElementById('filter'); box.value = 'cancel appointment';"
            " box.dispatchEvent(new Event('input')); })()"
        )
        found = await page.value(
            "[...document.querySelectorAll('main details[data-text]:not([hidden])')].map((box) => box.id)"
        )
        assert "cancelAppointment" in found
        assert len(found) < 5
        addresses = await page.value("performance.getEntriesByType('resource').map((entry) => entry.name)")
        assert all(address.startswith(f"{suite.gateway_url}/") for address in addresses), addresses
        assert not page.faults


async def test_a_call_can_be_tried(suite: RunFile, demo: DemoFacts) -> None:
    """An operation opens with its parameters, and `Send` shows the status, headers and body of the answer."""
    async with browser_page() as page:
        await page.open(f"{suite.gateway_url}/docs")
        await page.wait_for("document.getElementById('getClinic')")
        await page.value(f"document.getElementById('token').value = {json.dumps(suite.tokens['admin'])}, 1")
        await page.value("document.getElementById('getClinic').open = true")
        await page.wait_for("document.querySelector('#getClinic input[name=clinicId]')")
        await page.value(
            "document.querySelector('#getClinic input[name=clinicId]').value = "
            f"{json.dumps(demo.clinic_id)}, document.querySelector('#getClinic button').click(), 1"
        )
        await page.wait_for("document.querySelector('#getClinic pre').textContent.startsWith('200')")
        assert demo.clinic_id in await page.value("document.querySelector('#getClinic pre').textContent")
        await page.value("document.getElementById('getClinic').scrollIntoView(), 1")
        await page.screenshot("docs-page-tried")
        await page.value(
            "document.getElementById('getClinic').open = false,"
            " document.getElementById('createAppointment').open = true"
        )
        await page.wait_for("document.querySelector('#createAppointment textarea')")
        await page.value("document.getElementById('createAppointment').scrollIntoView(), 1")
        await page.screenshot("docs-page-body")
        assert not page.faults

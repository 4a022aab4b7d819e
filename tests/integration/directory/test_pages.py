"""Every list of the booking service goes on where its page ended, and takes no token of another list."""

from __future__ import annotations

from typing import Any

import pytest

from tests.integration.directory.conftest import Directory
from tests.integration.directory.test_displacement import book
from tests.support.booking import outcome
from tests.support.practice import MONDAY, Practice

LISTS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "ListProviders": ({}, {"include_inactive": True}),
    "ListPatients": ({"name_prefix": "ada"}, {"name_prefix": "abiodun"}),
    "ListAuditEvents": ({"action": "provider.*"}, {"action": "provider.create"}),
    "ListBreakGlass": ({}, {"active_only": True}),
    "ListAppointments": ({"date": MONDAY.isoformat()}, {"date_range": f"{MONDAY},{MONDAY}"}),
}
"""Filters of each list, and others that let the same rows pass."""


async def two_of_each(directory: Directory, practice: Practice) -> None:
    """Something for two pages of every list; names as long as they may be."""
    for letter in "名字":
        await directory.add("Provider", name=letter * 255, location_id=practice.location)
        await directory.add("Patient", name="Ada Abiodun", dob="1980-01-01")
        await directory.call("BreakGlass", reason="the reading room is on fire")
    for hour in (9, 10):
        await book(directory, practice, hour)


@pytest.mark.parametrize("method", LISTS)
async def test_a_list_goes_on_and_keeps_to_its_filters(
    directory: Directory, practice: Practice, method: str
) -> None:
    """Each page begins after the one before; with other filters, or for another list, its token is refused."""
    await two_of_each(directory, practice)
    filters, others = LISTS[method]
    call, size = (
        (directory.booking, "limit") if method == "ListAppointments" else (directory.call, "page_size")
    )
    shown: list[str] = []
    tokens = [""]
    while len(tokens) == 1 or (tokens[-1] and len(tokens) < 20):
        page = await call(method, **{size: 1}, page_token=tokens[-1], **filters)
        shown += [found.id for _, rows in page.ListFields()[:1] for found in rows]
        tokens.append(page.next_page_token)
    assert len(shown) == len(set(shown)) == len(tokens) - 1 >= 2
    token = tokens[1]
    assert (await outcome(call(method, page_token=token, **others))).startswith("INVALID_ARGUMENT")
    assert (await outcome(directory.call("ListRooms", page_token=token))).startswith("INVALID_ARGUMENT")

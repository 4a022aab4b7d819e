"""Holds that ended are swept, whatever became of their neighbours."""

from __future__ import annotations

import psycopg

from tests.integration.booking.conftest import MakeClient, Suite
from tests.support.invariants import query
from tests.support.practice import at
from tests.support.waiting import wait_until_async

END = "UPDATE appointment SET expires_at = now() - %s * interval '1 minute' WHERE id = %s"


async def test_a_hold_that_cannot_be_read_keeps_no_other_from_ending(
    suite: Suite, make_client: MakeClient
) -> None:
    """One damaged row is reported; the holds after it are expired all the same."""
    client = make_client(suite.practice(providers=2, rooms=2))
    damaged = (await client.hold(at(9), notes="something")).appointment.id
    sound = (await client.hold(at(10))).appointment.id
    with psycopg.connect(suite.database.owner_url) as owner:
        owner.execute("UPDATE appointment SET notes_encrypted = 'damaged' WHERE id = %s", (damaged,))
        owner.execute(END, (2, damaged))
        owner.execute(END, (1, sound))

    def status(visit: str) -> str:
        found: str = query(suite.database.owner_url, "SELECT status FROM appointment WHERE id = %s", visit)[
            0
        ][0]
        return found

    async def swept() -> bool:
        return status(sound) == "expired"

    await wait_until_async(swept, what="the sound hold's end")
    assert status(damaged) == "held"

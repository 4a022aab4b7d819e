"""A change of all of a clinic holds the lock of every location, and there are never more than it can hold."""

from __future__ import annotations

import grpc.aio
import psycopg
import pytest
from medforall.directory.v1 import directory_types_pb2 as types

from booking_svc.usecases.edit_directory import LOCATIONS_MAX
from database.locks import SHARED_SQL, directory_key
from tests.integration.directory.conftest import Directory, Suite
from tests.support.booking import code_of, outcome, reason_of
from tests.support.practice import Practice, at


@pytest.fixture
def location_ids(suite: Suite, practice: Practice) -> list[str]:
    """As many locations as a clinic may have, the last one out of use."""
    with psycopg.connect(suite.database.owner_url) as owner:
        owner.execute(
            "INSERT INTO location (clinic_id, id, name, active)"
            " SELECT %s, gen_random_uuid(), 'Branch ' || n, n > 1 FROM generate_series(1, %s) AS n",
            (practice.clinic, LOCATIONS_MAX - 1),
        )
        rows = owner.execute(
            "SELECT id::text FROM location WHERE clinic_id = %s ORDER BY id", (practice.clinic,)
        ).fetchall()
    return [row[0] for row in rows]


async def test_every_location_is_locked(
    suite: Suite, directory: Directory, practice: Practice, location_ids: list[str]
) -> None:
    """While a booking at the last location goes on, a closure of all the clinic waits; then it is made."""
    closure = types.Closure(start=at(9)[:16], end=at(12)[:16])
    assert len(location_ids) == LOCATIONS_MAX
    with psycopg.connect(suite.database.owner_url) as booking:
        booking.execute(
            SHARED_SQL.replace("$1", "%s").encode(), ([directory_key(practice.clinic, location_ids[-1])],)
        )
        waited = await outcome(directory.call("CreateClosure", closure=closure))
    assert waited.startswith(("UNAVAILABLE", "ABORTED")), waited
    assert await outcome(directory.call("CreateClosure", closure=closure)) == "OK"


async def test_a_clinic_has_a_bounded_number_of_locations(
    directory: Directory, location_ids: list[str]
) -> None:
    """One more is refused by name of the limit, and the clinic goes on as it was."""
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await directory.add("Location", name="One too many")
    assert (code_of(refused.value), reason_of(refused.value)) == ("FAILED_PRECONDITION", "LIMIT_REACHED")
    reply = await directory.call("DeactivateLocation", location_id=location_ids[0])
    assert not reply.location.active

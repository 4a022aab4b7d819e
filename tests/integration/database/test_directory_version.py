"""A booking that remembers a location's facts can tell by one number whether they still hold."""

from __future__ import annotations

import re
from datetime import timedelta
from uuid import uuid4

import psycopg
import pytest
from psycopg import errors
from psycopg.types.range import TimestamptzRange

from database.location_facts import LOCATION_SQL
from tests.support.clinic_rows import START, claim_values, insert, insert_clinic
from tests.support.databases import MigratedDatabase

READ_TABLES = sorted(set(re.findall(r"\b(?:FROM|JOIN) ([a-z_]+) [a-z]\b", LOCATION_SQL)) - {"place", "here"})
_VERSION = "SELECT version FROM directory_version WHERE clinic_id = %s"


def test_every_table_of_a_locations_facts_is_known() -> None:
    """The tables that the facts are read from are found in the statement's text, so that none is forgotten below."""
    assert len(READ_TABLES) == 13
    assert {"clinic", "location", "location_hours", "provider_preference"} <= set(READ_TABLES)


@pytest.mark.parametrize("table", READ_TABLES)
def test_any_change_of_what_facts_are_read_from_raises_the_version(
    database: MigratedDatabase, table: str
) -> None:
    """Inserting into, updating and deleting from each table that facts are read from raises the clinic's version."""
    with psycopg.connect(database.owner_url) as owner:
        events = owner.execute(
            "SELECT count(*) FROM pg_trigger WHERE tgrelid = %s::regclass AND tgname LIKE 'version_after_%%'",
            (table,),
        ).fetchone()
    assert events == (2 if table == "clinic" else 3,)


def test_a_change_of_one_clinic_leaves_the_others_version(database: MigratedDatabase) -> None:
    """Each statement raises the version of the clinics whose rows it touched, once, and of no other."""
    ids, other = insert_clinic(database.owner_url), insert_clinic(database.owner_url)
    with psycopg.connect(database.owner_url) as owner:
        before = [owner.execute(_VERSION, (found.clinic,)).fetchone() for found in (ids, other)]
        owner.execute("UPDATE room SET name = 'another' WHERE clinic_id = %s", (ids.clinic,))
        owner.execute("UPDATE clinic SET name = 'another' WHERE id = %s", (ids.clinic,))
        owner.execute("DELETE FROM provider_availability WHERE clinic_id = %s", (uuid4(),))
        after = [owner.execute(_VERSION, (found.clinic,)).fetchone() for found in (ids, other)]
    assert before[0] is not None
    assert after == [(before[0][0] + 2,), before[1]]


def test_no_claim_lasts_longer_than_readers_look_back(database: MigratedDatabase) -> None:
    """A claim of 72 hours is stored, one minute more is refused by name."""
    ids = insert_clinic(database.owner_url)
    for length, is_kept in ((timedelta(hours=72), True), (timedelta(hours=72, minutes=1), False)):
        values = claim_values(ids, str(uuid4()), str(uuid4())) | {
            "starts_at": START,
            "ends_at": START + length,
            "during": TimestamptzRange(START, START + length, "[)"),
        }
        with psycopg.connect(database.owner_url) as owner:
            if is_kept:
                insert(owner, "claim", **values)
            else:
                with pytest.raises(errors.CheckViolation, match="claim_bounded"):
                    insert(owner, "claim", **values)

"""How PostgreSQL runs the lists, seen as the application's role under row-level security."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from booking_svc.store.statements import list_appointments
from tests.integration.booking.conftest import Suite
from tests.support.practice import MONDAY, new_id


def plan_of(suite: Suite, filters: tuple[str, ...]) -> str:
    """The plan of a day's list."""
    start = datetime(MONDAY.year, MONDAY.month, MONDAY.day, tzinfo=UTC)
    values: list[Any] = [
        new_id(), start.isoformat(), (start + timedelta(days=1)).isoformat(), "{scheduled}", start.isoformat(),
        new_id(), 50, 0, *(new_id() for _ in filters),
    ]  # fmt: skip
    call = ", ".join(f"'{value}'" if isinstance(value, str) else str(value) for value in values)
    with psycopg.connect(suite.database.app_url) as app:
        app.execute("SELECT set_config('app.clinic_id', %s, true)", (new_id(),))
        app.execute(f"PREPARE listed AS {list_appointments(filters).sql}")
        return "\n".join(row[0] for row in app.execute(f"EXPLAIN EXECUTE listed ({call})"))


@pytest.mark.parametrize("filters", [(), ("location_id",), ("provider_id",), ("patient_id",)])
def test_a_days_list_reads_its_months_partition_alone(suite: Suite, filters: tuple[str, ...]) -> None:
    """Of all months only the day's own is looked at, and through an index."""
    plan = plan_of(suite, filters)
    partitions = set(re.findall(r" on (appointment_(?:\d{4}_\d{2}|default))\b", plan))
    assert partitions == {f"appointment_{MONDAY:%Y_%m}"}, plan
    assert "Seq Scan on appointment_2" not in plan, plan

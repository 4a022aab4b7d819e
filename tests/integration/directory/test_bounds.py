"""What a window, a closure or a rule may say: refused by field when it is written, and by the database behind it."""

from __future__ import annotations

from typing import Any

import grpc.aio
import psycopg
import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from medforall.directory.v1 import directory_types_pb2 as types
from psycopg import errors

from tests.integration.directory.conftest import Directory, Suite
from tests.support.booking import code_of, details_of
from tests.support.clinic_rows import insert
from tests.support.practice import Practice, new_id

FAR = [
    ({"start": "9999-01-01T09:00", "end": "9999-01-01T17:00"}, "start"),
    ({"start": "0001-01-01T09:00", "end": "0001-01-01T17:00"}, "start"),
    ({"start": "2026-01-01T09:00", "end": "5000-01-01T17:00"}, "end"),
]


async def violation_of(call: Any) -> str:
    """The field that the refusal names first."""
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await call
    assert code_of(refused.value) == "INVALID_ARGUMENT", refused.value.details()
    return str(details_of(refused.value)["BadRequest"].field_violations[0].field)


@pytest.mark.parametrize(("span", "field"), FAR)
@pytest.mark.parametrize("rule", ["", "FREQ=DAILY"])
async def test_far_years_are_refused_by_field(
    directory: Directory, practice: Practice, span: dict[str, Any], field: str, rule: str
) -> None:
    """A window or closure of year 1, 5000 or 9999 is refused, and the place can be searched and booked as before."""
    shift: dict[str, Any] = {"kind": types.WINDOW_KIND_AVAILABLE, "recurrence_rule": rule, **span}
    window = types.Window(resource_id=practice.provider, **shift)
    assert await violation_of(directory.call("CreateWindow", window=window)) == f"window.{field}"
    days = {"start_date": "2026-01-01", "end_date": "2026-01-02"}
    assert await violation_of(directory.call("PreviewWindows", window=window, **days)) == f"window.{field}"
    closure = types.Closure(location_id=practice.location, **span)
    assert await violation_of(directory.call("CreateClosure", closure=closure)) == f"closure.{field}"


@pytest.mark.parametrize(
    ("first", "last", "field"),
    [
        ("9999-06-01", "9999-06-02", "start_date"),
        ("2026-06-01", "9999-12-31", "end_date"),
        ("2026-06-01", "2026-05-31", "end_date"),
        ("2026-06-01", "2027-06-02", "end_date"),
        ("2026-06-01", "2026-06-31", "end_date"),
    ],
)
async def test_days_of_a_preview_are_bounded(
    directory: Directory, practice: Practice, first: str, last: str, field: str
) -> None:
    """Days that are none, far away, in the wrong order or more than 366 are refused by the field that is wrong."""
    window = types.Window(
        resource_id=practice.provider,
        kind=types.WINDOW_KIND_AVAILABLE,
        start="2026-06-01T09:00",
        end="2026-06-01T17:00",
    )
    days = {"start_date": first, "end_date": last}
    assert await violation_of(directory.call("PreviewWindows", window=window, **days)) == field


@pytest.mark.parametrize("table", ["closure", "provider_availability"])
def test_the_database_holds_years_bounded(suite: Suite, practice: Practice, table: str) -> None:
    """What goes past the service is refused by the schema too."""
    columns: dict[str, object] = {"clinic_id": practice.clinic, "id": new_id()}
    if table == "provider_availability":
        columns |= {"provider_id": practice.provider, "kind": "available"}
    with psycopg.connect(suite.database.owner_url) as owner, pytest.raises(errors.CheckViolation):
        insert(owner, table, **columns, start_local="9999-01-01", end_local="9999-01-02")


async def test_a_far_window_of_before_can_be_put_out_of_use(
    suite: Suite, directory: Directory, practice: Practice
) -> None:
    """A row older than the bounds is refused as it stands, but deactivated without a question."""
    window_id = new_id()
    with psycopg.connect(suite.database.owner_url) as owner:
        owner.execute("ALTER TABLE provider_availability DROP CONSTRAINT provider_availability_years_bounded")
        insert(
            owner,
            "provider_availability",
            clinic_id=practice.clinic,
            id=window_id,
            provider_id=practice.provider,
            kind="unavailable",
            start_local="9999-01-01",
            end_local="9999-12-31",
        )
        owner.execute(
            "ALTER TABLE provider_availability ADD CONSTRAINT provider_availability_years_bounded CHECK ("
            "NOT active OR (start_local >= '1971-01-01' AND end_local < '2200-01-01')) NOT VALID"
        )
    change = {"window": types.Window(reason="away"), "update_mask": FieldMask(paths=["reason"])}
    assert await violation_of(directory.call("UpdateWindow", window_id=window_id, **change)) == "window.start"
    reply = await directory.call("DeactivateWindow", window_id=window_id)
    assert not reply.window.active

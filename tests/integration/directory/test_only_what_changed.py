"""A change of the directory lists the visits that it pushes outside, not those that were outside already."""

from __future__ import annotations

from typing import Any

import grpc.aio
import psycopg
import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from medforall.directory.v1 import directory_types_pb2 as types

from tests.integration.directory.conftest import Directory, Suite
from tests.integration.directory.test_displacement import book, listed
from tests.support.booking import reason_of
from tests.support.invariants import invariants, query
from tests.support.practice import Practice, at


def limit_of(practice: Practice, most: int, scope: str = "service") -> types.ServiceRule:
    rule = types.ServiceRule(service_id=practice.service, rule_type="max_daily")
    rule.rule_payload.update({"max_per_day": most, "scope": scope})
    return rule


def gap_of(practice: Practice, minutes: int) -> types.ServiceRule:
    rule = types.ServiceRule(service_id=practice.service, rule_type="min_gap")
    rule.rule_payload.update({"min_gap_minutes": minutes})
    return rule


async def change(directory: Directory, word: str, entry_id: str, entry: Any, *paths: str) -> dict[str, str]:
    """Change fields with `strict`, which refuses when anything is displaced; else the visits listed."""
    field = {"Room": "room", "ServiceRule": "service_rule", "Service": "service"}[word]
    fields = {f"{field}_id": entry_id, field: entry, "update_mask": FieldMask(paths=list(paths))}
    reply = await directory.call(f"Update{word}", **fields)
    if not reply.displaced:
        await directory.call(f"Update{word}", strict=True, **fields)
    return listed(reply)


async def test_an_unrelated_edit_of_a_limit_lists_nobody(directory: Directory, practice: Practice) -> None:
    """Visits over a limit are listed when it is set; its priority may change strictly, a lower limit adds others."""
    visits = [await book(directory, practice, hour) for hour in (9, 10, 11, 12)]
    reply = await directory.call("CreateServiceRule", service_rule=limit_of(practice, 3))
    assert listed(reply) == {visits[3].id: "MAX_DAILY_REACHED"}
    rule_id = reply.service_rule.id
    assert await change(directory, "ServiceRule", rule_id, types.ServiceRule(priority=7), "priority") == {}
    lowered = await change(directory, "ServiceRule", rule_id, limit_of(practice, 2), "rule_payload")
    assert lowered == {visits[2].id: "MAX_DAILY_REACHED"}
    assert await change(directory, "ServiceRule", rule_id, limit_of(practice, 4), "rule_payload") == {}


async def test_another_scope_of_a_limit_moves_the_visits_to_its_quota(
    directory: Directory, practice: Practice, suite: Suite
) -> None:
    """Counted by provider instead of by service, each visit holds one unit of the new quota and none of the old."""
    visit = await book(directory, practice, 9)
    quotas = """SELECT c.resource_id FROM claim c JOIN resource r ON r.id = c.resource_id
                WHERE c.appointment_id = %s AND r.kind = 'quota'"""
    created = await directory.call("CreateServiceRule", service_rule=limit_of(practice, 2))
    [by_service] = query(suite.database.owner_url, quotas, visit.id)
    moved = limit_of(practice, 2, "provider")
    assert await change(directory, "ServiceRule", created.service_rule.id, moved, "rule_payload") == {}
    [by_provider] = query(suite.database.owner_url, quotas, visit.id)
    assert by_provider != by_service
    invariants(suite.database)


async def test_an_unrelated_edit_of_a_gap_lists_nobody(directory: Directory, practice: Practice) -> None:
    """A visit that was too near is not listed again, whether the gap stays or grows; one that gets too near is."""
    await book(directory, practice, 9)
    near = await book(directory, practice, 9, 45)
    later = await book(directory, practice, 11)
    reply = await directory.call("CreateServiceRule", service_rule=gap_of(practice, 30))
    assert listed(reply) == {near.id: "MIN_GAP"}
    rule_id = reply.service_rule.id
    assert await change(directory, "ServiceRule", rule_id, types.ServiceRule(priority=7), "priority") == {}
    longer = await change(directory, "ServiceRule", rule_id, gap_of(practice, 60), "rule_payload")
    assert longer == {later.id: "MIN_GAP"}


async def test_an_unrelated_edit_of_a_room_lists_nobody(
    directory: Directory, practice: Practice, suite: Suite
) -> None:
    """Two visits in a room for one, and a visit too near the next for cleaning, are listed once, by what made it so."""
    room = practice.rooms[0]
    with psycopg.connect(suite.database.owner_url) as owner:
        second = practice.add_provider(owner)
    two_at_once = types.Room(concurrent_visits=2)
    assert await change(directory, "Room", room, two_at_once, "concurrent_visits") == {}
    first = await book(directory, practice, 10)
    beside = await book(directory, practice, 10, provider_id=second, patient_id=practice.patients[5])
    near = await book(directory, practice, 10, 30, patient_id=practice.patients[6])
    smaller = await change(directory, "Room", room, types.Room(concurrent_visits=1), "concurrent_visits")
    assert set(smaller) < {first.id, beside.id}
    assert len(smaller) == 1
    assert await change(directory, "Room", room, types.Room(name="Blue"), "name") == {}
    cleaned = await change(directory, "Room", room, types.Room(turnaround_min=10), "turnaround_min")
    assert set(cleaned.values()) == {"ROOM_ALREADY_BOOKED"}
    assert near.id in cleaned or first.id in cleaned or beside.id in cleaned
    assert await change(directory, "Room", room, types.Room(name="Red"), "name") == {}
    longer = await change(directory, "Room", room, types.Room(turnaround_min=20), "turnaround_min")
    assert not set(longer) & set(cleaned)
    invariants(suite.database)


async def test_a_service_that_comes_to_need_a_room_lists_its_visits_without_one(
    directory: Directory, practice: Practice, suite: Suite
) -> None:
    """Visits booked without a room are listed, those in a room are not, and a strict change is refused."""
    with psycopg.connect(suite.database.owner_url) as owner:
        service = practice.add_service(owner, requires_room=False)
    without = await book(directory, practice, 10, service_id=service)
    await book(directory, practice, 12, service_id=service, room_id=practice.rooms[0])
    wanted = types.Service(requires_room=True)
    fields = {"service_id": service, "service": wanted, "update_mask": FieldMask(paths=["requires_room"])}
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await directory.call("UpdateService", strict=True, **fields)
    assert reason_of(refused.value) == "WOULD_DISPLACE"
    assert listed(await directory.call("UpdateService", **fields)) == {without.id: "ROOM_ALREADY_BOOKED"}
    assert await change(directory, "Service", service, types.Service(name="Talk"), "name") == {}


async def test_a_visit_outside_before_does_not_refuse_a_strict_closure(
    directory: Directory, practice: Practice
) -> None:
    """Two closures over the same visit: the first lists it, the second may be made strictly."""
    visit = await book(directory, practice, 10)
    closure = types.Closure(location_id=practice.location, start=at(9)[:16], end=at(12)[:16])
    assert listed(await directory.call("CreateClosure", closure=closure)) == {visit.id: "OUTSIDE_HOURS"}
    assert listed(await directory.call("CreateClosure", closure=closure, strict=True)) == {}

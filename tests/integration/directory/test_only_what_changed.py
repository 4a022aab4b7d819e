"""A change of the directory lists the visits that it pushes outside for a new reason, not for one they had already."""

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


async def test_a_visit_outside_for_one_reason_is_listed_for_another(
    directory: Directory, practice: Practice
) -> None:
    """A service out of use, a duration not allowed any more or a closure hides no other reason, nor from `strict`."""
    other = await directory.add("Provider", name="Other", location_id=practice.location)
    visit = await book(directory, practice, 10)
    shorter = types.Service(default_duration_min=15, min_duration_min=15, max_duration_min=15)
    paths = ["default_duration_min", "min_duration_min", "max_duration_min"]
    assert await change(directory, "Service", practice.service, shorter, *paths) == {}
    closure = types.Closure(location_id=practice.location, start=at(9)[:16], end=at(12)[:16])
    assert listed(await directory.call("CreateClosure", closure=closure)) == {visit.id: "OUTSIDE_HOURS"}
    reply = await directory.call("DeactivateService", service_id=practice.service)
    assert listed(reply) == {visit.id: "RESOURCE_INACTIVE"}
    rule = types.ServiceRule(service_id=practice.service, rule_type="allowed_provider")
    rule.rule_payload.update({"provider_ids": [other.id]})
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await directory.call("CreateServiceRule", service_rule=rule, strict=True)
    assert reason_of(refused.value) == "WOULD_DISPLACE"
    reply = await directory.call("CreateServiceRule", service_rule=rule)
    assert listed(reply) == {visit.id: "PROVIDER_NOT_ALLOWED"}


async def test_what_an_override_broke_is_not_listed(directory: Directory, practice: Practice) -> None:
    """A visit booked by override on a blacked-out day is listed for a closure, and not for that day again."""
    rule = types.ServiceRule(service_id=practice.service, rule_type="blackout_dates")
    rule.rule_payload.update({"dates": [at(10)[:10]]})
    rule_id = (await directory.call("CreateServiceRule", service_rule=rule)).service_rule.id
    visit = await book(directory, practice, 10, override_reason="an emergency")
    await directory.call("DeactivateServiceRule", service_rule_id=rule_id)
    assert listed(await directory.call("CreateServiceRule", service_rule=rule, strict=True)) == {}
    closure = types.Closure(location_id=practice.location, start=at(9)[:16], end=at(12)[:16])
    assert listed(await directory.call("CreateClosure", closure=closure)) == {visit.id: "OUTSIDE_HOURS"}


async def test_a_room_or_provider_that_moves_away_says_so(directory: Directory, practice: Practice) -> None:
    """A visit whose room moves is listed as out of use there, and then for its provider, who has no hours any more."""
    visit = await book(directory, practice, 10)
    elsewhere = await directory.add("Location", name="Elsewhere")
    moved = types.Room(location_id=elsewhere.id)
    fields = {"room_id": practice.rooms[0], "room": moved, "update_mask": FieldMask(paths=["location_id"])}
    assert listed(await directory.call("UpdateRoom", **fields)) == {visit.id: "RESOURCE_INACTIVE"}
    window = (await directory.call("ListWindows", resource_id=practice.provider)).windows[0]
    reply = await directory.call("DeactivateWindow", window_id=window.id)
    assert listed(reply) == {visit.id: "OUTSIDE_HOURS"}

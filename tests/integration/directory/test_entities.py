"""Every entity of the directory, through gRPC on PostgreSQL."""

from __future__ import annotations

import grpc.aio
import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from medforall.directory.v1 import directory_types_pb2 as types

from chassis.auth.principal import Role
from scheduling import consistency
from tests.integration.directory.conftest import Directory, Suite, token_of
from tests.support.booking import code_of, details_of, reason_of
from tests.support.invariants import query
from tests.support.practice import Practice, new_id, new_practice


async def test_an_entry_is_created_read_changed_and_deactivated(directory: Directory) -> None:
    """Each step answers what was written, raises the ETag, and refuses a stale one."""
    made = await directory.add("Location", name="Quay", timezone="Europe/Berlin", hours=[
        types.OpeningHours(weekday=1, start="09:00", end="17:00"),
        types.OpeningHours(weekday=2, start="20:00", end="02:00"),
    ])  # fmt: skip
    read = (await directory.call("GetLocation", location_id=made.id)).location
    assert read == made
    assert made.active
    assert made.etag == '"1"'
    changed = await directory.call(
        "UpdateLocation",
        location_id=made.id,
        location=types.Location(
            name="Pier", hours=[types.OpeningHours(weekday=3, start="08:00", end="24:00")]
        ),
        update_mask=FieldMask(paths=["name", "hours"]),
        etag=made.etag,
    )
    assert changed.location.name == "Pier"
    assert changed.location.timezone == "Europe/Berlin"
    assert [(day.weekday, day.start, day.end) for day in changed.location.hours] == [(3, "08:00", "24:00")]
    assert changed.location.etag == '"2"'
    with pytest.raises(grpc.aio.AioRpcError) as stale:
        await directory.call("DeactivateLocation", location_id=made.id, etag='"1"')
    assert (code_of(stale.value), reason_of(stale.value)) == ("ABORTED", "STALE_ETAG")
    gone = await directory.call("DeactivateLocation", location_id=made.id, etag='"2"')
    assert not gone.location.active
    listed = await directory.call("ListLocations")
    assert made.id not in [place.id for place in listed.locations]
    listed = await directory.call("ListLocations", include_inactive=True)
    assert made.id in [place.id for place in listed.locations]


async def test_every_kind_of_entry_comes_back_as_it_was_given(
    directory: Directory, practice: Practice
) -> None:
    """Rooms, equipment, services, rules, windows, closures and preferences keep every field."""
    here = practice.location
    room = await directory.add(
        "Room", location_id=here, name="X", capacity=4, room_type="exam", turnaround_min=10
    )
    assert (room.capacity, room.concurrent_visits, room.turnaround_min) == (4, 1, 10)
    item = await directory.add("Equipment", type="ecg", name="ECG", quantity=3)
    assert (item.location_id, item.quantity) == ("", 3)
    service = await directory.add("Service", name="Check", default_duration_min=20, requires_room=True)
    assert (service.min_duration_min, service.max_duration_min, service.slot_step_min) == (20, 20, 15)
    rule = types.ServiceRule(service_id=service.id, rule_type="lead_time")
    rule.rule_payload.update({"min_minutes": 120})
    made = (await directory.call("CreateServiceRule", service_rule=rule)).service_rule
    assert (dict(made.rule_payload), made.priority) == ({"min_minutes": 120}, 100)
    for resource in (practice.provider, room.id, item.id):
        window = await directory.add(
            "Window",
            resource_id=resource,
            start="2027-03-01T09:00",
            end="2027-03-01T17:00",
            recurrence_rule="FREQ=WEEKLY;BYDAY=MO,TU",
            kind=types.WINDOW_KIND_AVAILABLE,
        )
        read = (await directory.call("GetWindow", window_id=window.id)).window
        assert (read.resource_id, read.start, read.recurrence_rule) == (
            resource, "2027-03-01T09:00", "FREQ=WEEKLY;BYDAY=MO,TU",
        )  # fmt: skip
        listed = await directory.call("ListWindows", resource_id=resource)
        assert window.id in [found.id for found in listed.windows]
    closure = await directory.add(
        "Closure", start="2027-12-24T00:00", end="2027-12-27T00:00", reason="holidays"
    )
    assert (closure.location_id, closure.reason) == ("", "holidays")
    liked = await directory.add(
        "Preference",
        provider_id=practice.provider,
        preferred_room_ids=[room.id],
        preferred_time_windows=[types.DaySpan(start="09:00", end="12:00")],
        weight=80,
    )
    assert (list(liked.preferred_room_ids), liked.preferred_time_windows[0].end, liked.weight) == (
        [room.id],
        "12:00",
        80,
    )


@pytest.mark.parametrize(
    ("word", "fields", "violated"),
    [
        ("Location", {"name": "A", "timezone": "Mars/Olympus"}, "location.timezone"),
        ("Closure", {"start": "2027-02-30T09:00", "end": "2027-03-01T09:00"}, "closure.start"),
        ("Closure", {"start": "2027-03-02T09:00", "end": "2027-03-01T09:00"}, "closure.end"),
        (
            "Service",
            {"name": "A", "default_duration_min": 30, "max_duration_min": 20},
            "service.max_duration_min",
        ),
        ("ServiceRule", {"rule_type": "astrology"}, "service_rule.rule_type"),
        ("ServiceRule", {"rule_type": "min_gap"}, "service_rule.rule_payload.min_gap_minutes"),
    ],
)
async def test_what_makes_no_sense_is_refused_by_field(
    directory: Directory, word: str, fields: dict[str, object], violated: str
) -> None:
    """A malformed entry is refused before it is written, and the violation names the field."""
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await directory.add(word, **fields)
    assert code_of(refused.value) == "INVALID_ARGUMENT"
    fields_named = [found.field for found in details_of(refused.value)["BadRequest"].field_violations]
    assert violated in fields_named


@pytest.mark.parametrize(
    "rule", ["FREQ=SECONDLY", "FREQ=DAILY;INTERVAL=0", "FREQ=DAILY;COUNT=1000000000", "EXRULE:FREQ=DAILY"]
)
async def test_a_recurrence_that_would_run_away_is_refused_when_it_is_written(
    directory: Directory, practice: Practice, rule: str
) -> None:
    """RRULE bombs never reach the database."""
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await directory.add(
            "Window",
            resource_id=practice.provider,
            start="2027-03-01T09:00",
            end="2027-03-01T10:00",
            recurrence_rule=rule,
            kind=types.WINDOW_KIND_AVAILABLE,
        )
    assert code_of(refused.value) == "INVALID_ARGUMENT"


async def test_ids_of_another_clinic_look_like_ids_of_nothing(directory: Directory, suite: Suite) -> None:
    """Naming another clinic's location or provider is NOT_FOUND in every way, the same as a random id."""
    other = new_practice(suite.database)
    for place in (other.location, new_id()):
        with pytest.raises(grpc.aio.AioRpcError) as read:
            await directory.call("GetLocation", location_id=place)
        with pytest.raises(grpc.aio.AioRpcError) as written:
            await directory.add("Room", location_id=place, name="Y")
        assert code_of(read.value) == code_of(written.value) == "NOT_FOUND"


async def test_a_page_begins_where_the_last_one_ended(directory: Directory) -> None:
    """Paging through services in twos visits each once, in the order of their names."""
    names = [f"Service {n}" for n in range(5)]
    for name in reversed(names):
        await directory.add("Service", name=name, default_duration_min=10)
    seen, token = [], ""
    for _ in range(5):
        page = await directory.call("ListServices", page_size=2, page_token=token)
        seen += [service.name for service in page.services]
        token = page.next_page_token
        if not token:
            break
    assert seen == sorted(seen)
    assert [name for name in seen if name in names] == names


async def test_a_repeated_create_makes_one_entry(directory: Directory) -> None:
    """The same key and request give the first answer again, marked as a replay."""
    key = new_id()
    service = types.Service(name="Once", default_duration_min=10)
    first = await directory.call("CreateService", service=service, idempotency_key=key)
    again = await directory.call("CreateService", service=service, idempotency_key=key)
    assert (first.service.id, again.replayed) == (again.service.id, True)
    with pytest.raises(grpc.aio.AioRpcError) as reused:
        await directory.call(
            "CreateService", service=types.Service(name="Other", default_duration_min=10), idempotency_key=key
        )
    assert reason_of(reused.value) == "IDEMPOTENCY_KEY_REUSED"


async def test_a_change_leaves_an_event_and_an_audit_row(directory: Directory, suite: Suite) -> None:
    """Outbox and audit hold one row each for every change, in its transaction."""
    service = await directory.add("Service", name="Seen", default_duration_min=10)
    await directory.call(
        "UpdateService",
        service_id=service.id,
        service=types.Service(name="Seen again"),
        update_mask=FieldMask(paths=["name"]),
    )
    events = query(
        suite.database.owner_url,
        "SELECT event_type, aggregate_version FROM outbox_event WHERE aggregate_id = %s ORDER BY id",
        service.id,
    )
    assert events == [("directory.changed", 1), ("directory.changed", 2)]
    audited = await directory.call("ListAuditEvents", entity_id=service.id)
    assert [row.action for row in audited.audit_events] == ["service.update", "service.create"]
    assert '"Seen again"' in audited.audit_events[0].after_json
    assert audited.audit_events[0].source_ip in ("127.0.0.1", "::1")


async def test_a_provider_changes_its_own_windows_only(
    directory: Directory, suite: Suite, practice: Practice
) -> None:
    """A provider's token writes its own working time and nobody else's."""
    other = await directory.add("Provider", name="Dr. Other")
    directory.token = token_of(suite.keys, practice.clinic, Role.PROVIDER, provider_id=practice.provider)
    window = {"start": "2027-03-01T09:00", "end": "2027-03-01T10:00", "kind": types.WINDOW_KIND_UNAVAILABLE}
    await directory.add("Window", resource_id=practice.provider, **window)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await directory.add("Window", resource_id=other.id, **window)
    assert code_of(refused.value) == "PERMISSION_DENIED"


async def test_a_preview_shows_what_the_clock_change_does(directory: Directory, practice: Practice) -> None:
    """A window over the missing hour is shown shorter and marked, and nothing is written."""
    place = await directory.add("Location", name="Berlin", timezone="Europe/Berlin")
    preview = await directory.call(
        "PreviewWindows",
        window=types.Window(
            resource_id=practice.provider,
            start="2027-03-27T01:00",
            end="2027-03-27T05:00",
            recurrence_rule="FREQ=DAILY",
            kind=types.WINDOW_KIND_AVAILABLE,
        ),
        location_id=place.id,
        start_date="2027-03-27",
        end_date="2027-03-28",
    )
    assert [(found.start, found.end, found.shifted) for found in preview.occurrences] == [
        ("2027-03-27T01:00:00+01:00", "2027-03-27T05:00:00+01:00", False),
        ("2027-03-28T01:00:00+01:00", "2027-03-28T05:00:00+02:00", True),
    ]


async def test_a_change_answers_with_a_token_of_the_directory_it_leaves(
    directory: Directory, practice: Practice, suite: Suite
) -> None:
    """The token of an entry's change, of the clinic's own, and of many at once asks for the version in the database."""

    def version() -> int:
        rows = query(
            suite.database.owner_url,
            "SELECT version FROM directory_version WHERE clinic_id = %s",
            practice.clinic,
        )
        return int(rows[0][0])

    made = await directory.call("CreateLocation", location=types.Location(name="Quay"))
    assert consistency.decode(made.consistency_token) == {practice.clinic: version()}
    changed = await directory.call(
        "UpdateClinic", clinic=types.Clinic(name="New"), update_mask=FieldMask(paths=["name"])
    )
    assert consistency.decode(changed.consistency_token) == {practice.clinic: version()}
    assert version() > consistency.decode(made.consistency_token)[practice.clinic]


async def test_a_priority_and_a_weight_may_be_zero(directory: Directory, practice: Practice) -> None:
    """Left out at the start they are 100 and 50; an update that names them sets 0, and another leaves that as it is."""
    rule = types.ServiceRule(service_id=practice.service, rule_type="lead_time")
    rule.rule_payload.update({"min_minutes": 5})
    made = (await directory.call("CreateServiceRule", service_rule=rule)).service_rule
    preference = await directory.add("Preference", provider_id=practice.provider)
    assert (made.priority, preference.weight) == (100, 50)
    for paths, expected in ((["priority"], 0), (["rule_payload"], 0)):
        fields = {
            "service_rule_id": made.id,
            "service_rule": types.ServiceRule(rule_payload=rule.rule_payload),
        }
        reply = await directory.call("UpdateServiceRule", **fields, update_mask=FieldMask(paths=paths))
        assert reply.service_rule.priority == expected
    change = {"preference": types.Preference(), "update_mask": FieldMask(paths=["weight"])}
    changed = await directory.call("UpdatePreference", preference_id=preference.id, **change)
    assert changed.preference.weight == 0

"""Odd values of ordinary requests, by gRPC: each is refused by the field that is wrong, or spelled as it should be."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import grpc.aio
import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.struct_pb2 import Struct
from google.protobuf.timestamp_pb2 import Timestamp
from medforall.directory.v1 import directory_types_pb2 as types

from tests.integration.directory.conftest import Directory, Suite
from tests.integration.directory.test_bounds import violation_of
from tests.integration.directory.test_displacement import listed
from tests.support.booking import code_of
from tests.support.databases import MigratedDatabase
from tests.support.invariants import query
from tests.support.practice import Practice, at, new_id

PERSON = {"name": "Jane Doe", "dob": "1980-04-30"}


def room(practice: Practice, number: float) -> dict[str, Any]:
    features = Struct()
    features.fields["beds"].list_value.values.add().number_value = number
    return {"room": types.Room(location_id=practice.location, name="Odd", features=features)}


def clinic(**fields: Any) -> Callable[[Practice], dict[str, Any]]:
    wanted: dict[str, Any] = {"name": "New", "default_timezone": "UTC"} | fields
    return lambda _: {"clinic": types.Clinic(**wanted)}


def window(practice: Practice, rule: str) -> dict[str, Any]:
    span: dict[str, Any] = {"start": "2026-06-01T09:00", "end": "2026-06-01T17:00"}
    return {
        "window": types.Window(
            resource_id=practice.provider, kind=types.WINDOW_KIND_AVAILABLE, recurrence_rule=rule, **span
        )
    }


ODD: dict[str, tuple[str, Callable[[Practice], dict[str, Any]], str]] = {
    "a number that is none": ("CreateRoom", lambda p: room(p, math.nan), "features.beds[0]"),
    "an endless number": ("CreateRoom", lambda p: room(p, -math.inf), "features.beds[0]"),
    "a number of 300 digits": ("CreateRoom", lambda p: room(p, 1e300), "features.beds[0]"),
    "a number of 22 digits": ("CreateRoom", lambda p: room(p, 2.0**70), "features.beds[0]"),
    "a far end of a rule": ("CreateWindow", lambda p: window(p, "FREQ=DAILY;UNTIL=99991231T235900"), "recurrence_rule"),
    "a blank name": ("CreateService", lambda _: {"service": types.Service(name=" ", default_duration_min=5)}, "name"),
    "a blank clinic": ("CreateClinic", clinic(name=" \t"), "name"),
    "no zone": ("CreateClinic", clinic(default_timezone="Factory"), "default_timezone"),
    "this machine's zone": ("CreateClinic", clinic(default_timezone="localtime"), "default_timezone"),
    "a far instant": ("ListAuditEvents", lambda _: {"from": Timestamp(seconds=10**15)}, "from"),
    "a negative fraction": ("ListAuditEvents", lambda _: {"to": Timestamp(nanos=-5)}, "to"),
    "a path below a text": (
        "UpdateRoom",
        lambda p: {"room_id": p.rooms[0], "room": types.Room(), "update_mask": FieldMask(paths=["name.first"])},
        "update_mask",
    ),
    "a path into a free form": (
        "UpdateRoom",
        lambda p: {"room_id": p.rooms[0], "room": types.Room(), "update_mask": FieldMask(paths=["features.beds"])},
        "update_mask",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", ODD)
async def test_an_odd_value_is_refused_by_its_field(
    suite: Suite, directory: Directory, practice: Practice, kind: str
) -> None:
    """Numbers, instants, names, zones and paths that mean nothing are INVALID_ARGUMENT by field, never INTERNAL."""
    method, fields, field = ODD[kind]
    if method == "CreateClinic":
        directory.token = suite.keys.token("", "platform", scopes=("platform",))
    assert field in await violation_of(directory.call(method, **fields(practice)))


async def test_a_clinic_does_not_become_blank(directory: Directory) -> None:
    """A name of blanks and a zone that is none are refused for a clinic that is there, too."""
    blank, nowhere = types.Clinic(name="  "), types.Clinic(default_timezone="Factory")
    for wanted, field in ((blank, "name"), (nowhere, "default_timezone")):
        change = {"clinic": wanted, "update_mask": FieldMask(paths=[field])}
        assert field in await violation_of(directory.call("UpdateClinic", **change))


async def test_a_path_changes_one_field_of_a_contact(directory: Directory) -> None:
    """`contact.phone` leaves the mail address, `address.city` the street; `contact` alone replaces both."""
    contact = types.Contact(phone="+49 30 1", email="jane@example.org")
    patient = await directory.add("Patient", contact=contact, **PERSON)

    async def change(contact: types.Contact, *paths: str) -> types.Contact:
        fields = {"patient": types.Patient(contact=contact), "update_mask": FieldMask(paths=list(paths))}
        reply = await directory.call("UpdatePatient", patient_id=patient.id, **fields)
        return reply.patient.contact  # type: ignore[no-any-return]

    changed = await change(types.Contact(phone="+49 30 2"), "contact.phone")
    assert (changed.phone, changed.email) == ("+49 30 2", "jane@example.org")
    changed = await change(types.Contact(phone="+49 30 3"), "contact.preferredMethod", "contact")
    assert (changed.phone, changed.email) == ("+49 30 3", "")
    place = await directory.add("Location", name="Pier", address=types.Address(street="Quay 1", city="Kiel"))
    moved = types.Location(address=types.Address(city="Bremen"))
    fields = {"location_id": place.id, "location": moved, "update_mask": FieldMask(paths=["address.city"])}
    reply = await directory.call("UpdateLocation", **fields)
    assert (reply.location.address.street, reply.location.address.city) == ("Quay 1", "Bremen")


async def test_ids_are_stored_in_lower_case_however_they_are_spelled(
    suite: Suite, directory: Directory, practice: Practice
) -> None:
    """An id in capitals names the same thing: in events, in a window that is changed, in filters and for a clinic."""
    closure = types.Closure(location_id=practice.location.upper(), start=at(9)[:16], end=at(12)[:16])
    made = (await directory.call("CreateClosure", closure=closure)).closure
    assert made.location_id == practice.location
    assert _names_only_lower_case(suite.database, practice)
    shift = types.Window(
        resource_id=practice.provider, kind=types.WINDOW_KIND_AVAILABLE, start=at(9)[:16], end=at(12)[:16]
    )
    window_id = (await directory.call("CreateWindow", window=shift)).window.id
    shift.resource_id = practice.provider.upper()
    mask = FieldMask(paths=["resource_id", "end"])
    reply = await directory.call("UpdateWindow", window_id=window_id.upper(), window=shift, update_mask=mask)
    assert reply.window.resource_id == practice.provider
    page = await directory.call("ListWindows", resource_id=practice.provider.upper())
    assert window_id in [found.id for found in page.windows]
    directory.clinic = practice.clinic.upper()
    assert (await directory.call("GetClinic")).clinic.id == practice.clinic


def _names_only_lower_case(database: MigratedDatabase, practice: Practice) -> bool:
    """Whether no event of the clinic carries the location's id in capitals."""
    found = query(
        database.owner_url,
        "SELECT count(*) FROM outbox_event WHERE clinic_id = %s AND position(%s::bytea IN payload) > 0",
        practice.clinic,
        practice.location.upper().encode(),
    )
    return found == [(0,)]


@pytest.mark.parametrize("spelling", ["urn:uuid:{}", "{{{}}}"])
async def test_a_rules_providers_are_stored_as_they_are_known(
    directory: Directory, practice: Practice, spelling: str
) -> None:
    """Providers of a rule are kept as plain ids, each once; their visits stay where they are."""
    rule = types.ServiceRule(service_id=practice.service, rule_type="allowed_provider")
    words = [practice.provider.upper(), spelling.format(practice.provider), practice.provider]
    rule.rule_payload.update({"provider_ids": words})
    reply = await directory.call("CreateServiceRule", service_rule=rule, strict=True)
    assert list(reply.service_rule.rule_payload["provider_ids"]) == [practice.provider]
    assert listed(reply) == {}


async def test_a_window_id_is_taken_once_for_all_kinds_of_resources(
    directory: Directory, practice: Practice
) -> None:
    """A window's id leads to one window: a room's window cannot have the id of a provider's."""
    span: dict[str, Any] = {"id": new_id(), "kind": 2, "start": at(9)[:16], "end": at(12)[:16]}
    await directory.call("CreateWindow", window=types.Window(resource_id=practice.provider, **span))
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await directory.call("CreateWindow", window=types.Window(resource_id=practice.rooms[0], **span))
    assert code_of(refused.value) == "ALREADY_EXISTS"

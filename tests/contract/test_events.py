"""The AsyncAPI document says what realtime_svc and the gateway really say.

What a running gateway answers its clients is held against it by every realtime test: see tests/support/realtime.py.
"""

from __future__ import annotations

from datetime import timedelta

import orjson
import pytest
from medforall.events.v1 import events_pb2 as events

from booking_svc.model import EventType
from gateway.asyncapi import build_document
from gateway.realtime.protocol import CLIENT_ID_CHARS_MAX, CLIENT_TYPES, parse_message
from realtime_svc.messages import View, outgoing_of
from scheduling.errors import Invalid
from scheduling.positions import Position, Source
from tests.support.directory_events import directory_event
from tests.support.event_contract import DOCUMENT, check_told, faults_of, operation_messages
from tests.support.realtime import Clinic, Visit

KINDS = DOCUMENT["components"]["schemas"]["Directory"]["properties"]["kind"]["enum"]


def forms(event: events.Event, source: Source) -> list[View]:
    """Every form of every message that the event makes."""
    made = outgoing_of(event, source, 7, Position(6, 6))
    return [view for outgoing in made for view in (outgoing.whole, outgoing.reduced) if view is not None]


@pytest.mark.parametrize("type_", [str(type_) for type_ in EventType])
def test_every_event_of_the_booking_service_is_told_as_described(type_: str) -> None:
    """First of its visit, after a change, and after a move: whole and reduced, over WebSocket and SSE alike."""
    visit = Visit(Clinic())
    told = [
        visit.event(type_),
        visit.event(type_, status="confirmed"),
        visit.event(type_, start=visit.start + timedelta(hours=1), provider=1),
    ]
    told[0].resources[0].claims[0].expires_at_s = 1_771_600_000
    seen = [view for event in told for view in forms(event, Source.APPOINTMENTS)]
    assert {view.type for view in seen} == {type_, "availability.invalidated"}
    for view in seen:
        check_told(orjson.loads(view.json), "websocket")
        check_told(orjson.loads(view.json), "sse")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("change", ["created", "updated", "deactivated"])
def test_every_change_of_a_directory_is_told_as_described(kind: str, change: str) -> None:
    """With and without places and times that it touches; a patient also to those who may not know which one."""
    clinic = Clinic()
    plain = directory_event(clinic, kind)
    narrow = directory_event(clinic, kind, location_ids=[clinic.location_id])
    narrow.directory.affects_from.FromJsonString("2026-02-20T14:00:00Z")
    narrow.directory.affects_to.FromJsonString("2026-02-20T18:00:00.250Z")
    for event in (plain, narrow):
        event.directory.change = change
        seen = forms(event, Source.DIRECTORY)
        assert {"directory.changed"} <= {view.type for view in seen}
        for view in seen:
            check_told(orjson.loads(view.json), "websocket")


def test_nothing_else_is_described() -> None:
    """The document has no event that no service makes, and no request that the gateway does not know."""
    answers = {"authenticated", "subscribed", "unsubscribed", "pong", "error"}
    told = {str(type_) for type_ in EventType} | {"availability.invalidated", "directory.changed", "resync"}
    assert operation_messages("receive") == told | answers
    assert operation_messages("listen") == told | {"subscribed", "closed"}
    assert operation_messages("send") == CLIENT_TYPES
    assert build_document(version=DOCUMENT["info"]["version"]) == DOCUMENT


@pytest.mark.parametrize(
    "body",
    [
        {"type": "authenticate", "token": "x"},
        {"type": "authenticate", "token": "x", "id": "y" * CLIENT_ID_CHARS_MAX},
        {"type": "subscribe", "channels": ["clinic:x"], "resumeFrom": "1-2", "id": "1"},
        {"type": "unsubscribe", "channels": ["clinic:x"]},
        {"type": "ping"},
    ],
)
def test_what_the_document_lets_clients_say_is_understood(body: dict[str, object]) -> None:
    """A message that fits the document is read; with a number as its id it fits neither document nor gateway."""
    assert not list(faults_of(body))
    assert parse_message(orjson.dumps(body).decode()).type == body["type"]
    wrong = body | {"id": 7}
    assert list(faults_of(wrong))
    with pytest.raises(Invalid):
        parse_message(orjson.dumps(wrong).decode())

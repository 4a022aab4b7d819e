"""The hub: who hears what, in which local time, once; and what memory can tell again."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime

import pytest
from medforall.events.v1 import events_pb2 as events

from chassis.metrics import Metrics
from realtime_svc.hub import Hub
from realtime_svc.instruments import Instruments
from realtime_svc.messages import Outgoing
from realtime_svc.versions import Versions
from scheduling.positions import Position, Source
from tests.support.directory_events import directory_event
from tests.support.realtime import Clinic, Visit


class Reader:
    """Remembers what it is offered."""

    def __init__(self) -> None:
        self.offered: list[tuple[Outgoing, list[str]]] = []
        self.resets: list[Position] = []

    def offer(self, message: Outgoing, channels: Sequence[str]) -> None:
        self.offered.append((message, sorted(channels)))

    def reset(self, position: Position) -> None:
        self.resets.append(position)


@pytest.fixture
def hub() -> Hub:
    made = Hub(Instruments(Metrics()), recent_max=5)
    made.begin(Position(0, 0, 0, "e1"))
    return made


def accept(hub: Hub, event: events.Event, sequence: int, source: Source = Source.APPOINTMENTS) -> None:
    hub.accept(source, sequence, event.SerializeToString())


def test_a_message_is_offered_once_with_all_its_joined_channels(hub: Hub) -> None:
    """A reader of several of a visit's channels gets one message that names them."""
    clinic, reader = Clinic(), Reader()
    day = f"location:{clinic.location_id}:2026-02-20"
    hub.join(reader, clinic.id, [f"clinic:{clinic.id}", day, "provider:unknown"])
    accept(hub, Visit(clinic).event(), 1)
    (message, channels), *more = reader.offered
    assert channels == [f"clinic:{clinic.id}", day]
    assert more == []
    assert message.position == Position(1, 0, 0, "e1")


def test_a_visit_over_midnight_is_heard_on_both_local_days(hub: Hub) -> None:
    """Days are the location's, not UTC's: 04:45Z on the 21st is 23:45 on the 20th in New York."""
    clinic, reader = Clinic(), Reader()
    days = [f"location:{clinic.location_id}:2026-02-{day}" for day in (20, 21)]
    hub.join(reader, clinic.id, days)
    accept(hub, Visit(clinic, start=datetime(2026, 2, 21, 4, 45, tzinfo=UTC)).event(), 1)
    accept(hub, Visit(clinic, start=datetime(2026, 2, 21, 4, 15, tzinfo=UTC)).event(), 2)
    assert [channels for _, channels in reader.offered] == [days, days[:1]]


def test_local_times_follow_the_clock_change(hub: Hub) -> None:
    """Starts after the change have its offset."""
    clinic, reader = Clinic(), Reader()
    hub.join(reader, clinic.id, [f"clinic:{clinic.id}"])
    for sequence, day in enumerate((7, 8), 1):
        accept(hub, Visit(clinic, start=datetime(2026, 3, day, 15, 0, tzinfo=UTC)).event(), sequence)
    starts = [json.loads(message.whole.json)["payload"]["start"] for message, _ in reader.offered]
    assert starts == ["2026-03-07T10:00:00-05:00", "2026-03-08T11:00:00-04:00"]


def test_copies_old_versions_and_nonsense_are_dropped_and_counted_past(hub: Hub) -> None:
    """What was passed is not told again, what cannot be read stops nobody, the position goes on."""
    clinic, reader, visit = Clinic(), Reader(), Visit(Clinic())
    hub.join(reader, visit.clinic.id, [f"clinic:{visit.clinic.id}"])
    first, second = visit.event(), visit.event("confirmed", status="confirmed")
    accept(hub, first, 1)
    accept(hub, second, 2)
    accept(hub, first, 3)
    accept(hub, second, 4)
    hub.accept(Source.APPOINTMENTS, 5, b"\xff\xff")
    hub.accept(Source.APPOINTMENTS, 2, second.SerializeToString())
    assert [message.whole.type for message, _ in reader.offered] == [
        "appointment.created",
        "appointment.confirmed",
    ]
    assert hub.position == Position(5, 0, 0, "e1")
    assert clinic.id != visit.clinic.id


def test_nothing_tells_of_the_patient(hub: Hub) -> None:
    """Neither form of a message holds the patient's id."""
    clinic, reader = Clinic(), Reader()
    hub.join(reader, clinic.id, [f"clinic:{clinic.id}"])
    accept(hub, Visit(clinic).event(), 1)
    message, _ = reader.offered[0]
    assert message.reduced is not None
    for form in (message.whole, message.reduced):
        assert clinic.patient_ids[0].encode() not in form.json


def test_a_patient_that_changed_is_named_to_those_who_may_know(hub: Hub) -> None:
    """Providers hear that patients changed, not which one; availability is not concerned."""
    clinic, reader = Clinic(), Reader()
    hub.join(reader, clinic.id, [f"clinic:{clinic.id}"])
    event = directory_event(clinic, "patient")
    accept(hub, event, 1, Source.DIRECTORY)
    ((message, _),) = reader.offered
    assert message.reduced is not None
    assert event.directory.id.encode() in message.whole.json
    assert event.directory.id.encode() not in message.reduced.json


def test_memory_tells_what_came_after_a_position_and_knows_what_it_forgot(hub: Hub) -> None:
    """Within what is kept, `since` gives exactly the clinic's messages after a position; before it, nothing."""
    clinic = Clinic()
    for sequence in range(1, 11):
        accept(hub, Visit(clinic if sequence % 2 else Clinic()).event(), sequence)
    told = hub.recent.since(Position(6, 0, 0, "e1"), clinic.id)
    assert told is not None
    assert [message.position.appointments for message in told] == [7, 9]
    assert hub.recent.since(Position(4, 0, 0, "e1"), clinic.id) is None
    assert hub.recent.since(Position(8, 0, 0, "e2"), clinic.id) is None


def test_streams_made_anew_reset_everybody(hub: Hub) -> None:
    """Readers hear of the new beginning, and versions are forgotten."""
    clinic, reader, visit = Clinic(), Reader(), Visit(Clinic())
    hub.join(reader, visit.clinic.id, [f"clinic:{visit.clinic.id}"])
    event = visit.event()
    accept(hub, event, 7)
    hub.begin(Position(0, 0, 0, "e2"))
    accept(hub, event, 1)
    assert reader.resets == [Position(0, 0, 0, "e2")]
    assert len(reader.offered) == 2
    assert clinic.id != visit.clinic.id


def test_a_reader_that_goes_leaves_nothing_behind(hub: Hub) -> None:
    """Leaving and dropping free every channel."""
    clinic, reader = Clinic(), Reader()
    hub.join(reader, clinic.id, ["clinic:x", "provider:y"])
    hub.leave(reader, clinic.id, ["clinic:x", "clinic:never-joined"])
    assert hub.channel_count == 1
    hub.drop(reader)
    assert hub.channel_count == 0


def test_versions_are_bounded() -> None:
    """The aggregates that changed longest ago are forgotten first."""
    versions = Versions(aggregates_max=2)
    assert versions.is_new("a", 1)
    assert versions.is_new("b", 1)
    assert not versions.is_new("a", 1)
    assert versions.is_new("c", 1)
    assert not versions.is_new("b", 1)
    assert versions.is_new("a", 1)

"""Events as clients see them: ids, local times, and a reduced form for those who may know only free or busy."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, Final
from zoneinfo import ZoneInfo

import orjson
from google.protobuf.timestamp_pb2 import Timestamp
from medforall.events.v1 import events_pb2 as events
from medforall.realtime.v1 import realtime_pb2 as wire

from realtime_svc.audience import Audience, appointment_audience, availability_audience, directory_audience
from scheduling.errors import Invalid
from scheduling.localtime import zone_of
from scheduling.positions import Position, Source

_UTC: Final = ZoneInfo("UTC")
_SCARCE: Final = frozenset({"provider", "room", "equipment"})
_NOT_BOOKABLE: Final = frozenset({"patient", "preference"})


class View:
    """One form of a message: typed for gRPC, JSON for browsers; each is made once, when first asked for."""

    __slots__ = ("__dict__", "_message", "position", "type")

    def __init__(self, message: wire.Message) -> None:
        self._message = message
        self.type = message.type

    def typed(self, position: Position) -> wire.Message:
        """The message as a reader at `position` gets it."""
        copy = wire.Message()
        copy.CopyFrom(self._message)
        copy.id = str(position)
        return copy

    @cached_property
    def json(self) -> bytes:
        """The message in the format of the WebSocket, ending in `"sequence":"<id>"}}`."""
        message = self._message
        return orjson.dumps(
            {
                "type": message.type,
                "payload": _payload_json(message),
                "metadata": {
                    "eventId": message.event_id,
                    "timestamp": _utc_text(message.timestamp),
                    "sequence": message.id,
                },
            }
        )


class Outgoing:
    """A message on its way: who hears it, and in which form.

    With `provider_ids` None everybody sees `whole`; otherwise those who may not see these calendars whole get
    `reduced`, or nothing when it is None. `position` is where a reader stands after it.
    """

    __slots__ = ("audience", "clinic_id", "position", "provider_ids", "reduced", "source", "whole")

    def __init__(
        self,
        source: Source,
        position: Position,
        clinic_id: str,
        audience: Audience,
        whole: View,
        *,
        provider_ids: tuple[str, ...] | None = None,
        reduced: View | None = None,
    ) -> None:
        self.source = source
        self.position = position
        self.clinic_id = clinic_id
        self.audience = audience
        self.whole = whole
        self.provider_ids = provider_ids
        self.reduced = reduced


def outgoing_of(event: events.Event, source: Source, sequence: int, before: Position) -> list[Outgoing]:
    """The messages that `event`, sequence `sequence` of `source`, makes for a reader who stands at `before`."""
    after = before.after(source, sequence)
    if event.HasField("appointment"):
        return [_of_appointment(event, source, after)]
    if event.HasField("directory"):
        return _of_directory(event, source, sequence, after)
    return []


def _of_appointment(event: events.Event, source: Source, position: Position) -> Outgoing:
    changed = event.appointment
    snapshots = [snapshot for snapshot in _snapshots(changed) if snapshot.appointment_id]
    whole = _message(event, event.type, position)
    whole.appointment.CopyFrom(_appointment_payload(event))
    provider_ids = tuple(sorted({snapshot.provider_id for snapshot in snapshots}))
    return Outgoing(
        source,
        position,
        event.clinic_id,
        appointment_audience(event.clinic_id, snapshots),
        View(whole),
        provider_ids=provider_ids,
        reduced=_reduced(event, position, snapshots, provider_ids),
    )


def _snapshots(changed: events.AppointmentChanged) -> list[events.AppointmentSnapshot]:
    return [changed.after, changed.before] if changed.HasField("before") else [changed.after]


def _appointment_payload(event: events.Event) -> wire.AppointmentPayload:
    after = event.appointment.after
    zone = _zone(after.timezone)
    payload = wire.AppointmentPayload(
        appointment_id=after.appointment_id,
        clinic_id=event.clinic_id,
        location_id=after.location_id,
        provider_id=after.provider_id,
        room_id=after.room_id,
        service_id=after.service_id,
        start=_local_text(after.start_utc, zone),
        end=_local_text(after.end_utc, zone),
        status=after.status,
        version=after.version,
    )
    if event.appointment.HasField("before") and _place(event.appointment.before) != _place(after):
        payload.previous.CopyFrom(_previous(event.appointment.before))
    expires_at_s = _hold_expiry_s(event.resources)
    if expires_at_s:
        payload.expires_at.FromSeconds(expires_at_s)
    return payload


def _place(snapshot: events.AppointmentSnapshot) -> tuple[Any, ...]:
    times = (snapshot.start_utc.seconds, snapshot.end_utc.seconds)
    return (snapshot.location_id, snapshot.provider_id, snapshot.room_id, *times)


def _previous(before: events.AppointmentSnapshot) -> wire.AppointmentPlace:
    zone = _zone(before.timezone)
    return wire.AppointmentPlace(
        location_id=before.location_id,
        provider_id=before.provider_id,
        room_id=before.room_id,
        start=_local_text(before.start_utc, zone),
        end=_local_text(before.end_utc, zone),
    )


def _hold_expiry_s(resources: Iterable[events.ResourceChange]) -> int:
    return max((claim.expires_at_s for change in resources for claim in change.claims), default=0)


def _reduced(
    event: events.Event,
    position: Position,
    snapshots: Sequence[events.AppointmentSnapshot],
    provider_ids: Sequence[str],
) -> View | None:
    """What a colleague hears: when these calendars changed; nothing when no claim did."""
    span = _changed_minutes(event.resources)
    if span is None:
        return None
    message = _message(event, "availability.invalidated", position)
    invalidated = message.availability
    invalidated.clinic_id = event.clinic_id
    invalidated.location_ids.extend(sorted({snapshot.location_id for snapshot in snapshots}))
    invalidated.provider_ids.extend(provider_ids)
    invalidated.time_range.start.FromSeconds(span[0] * 60)
    invalidated.time_range.end.FromSeconds(span[1] * 60)
    return View(message)


def _changed_minutes(resources: Iterable[events.ResourceChange]) -> tuple[int, int] | None:
    """The earliest and the latest minute that a scarce thing's claims gained or lost."""
    edges: list[tuple[int, int]] = []
    for change in resources:
        if change.kind in _SCARCE:
            now = {(claim.start_min, claim.end_min, claim.unit) for claim in change.claims}
            past = {(claim.start_min, claim.end_min, claim.unit) for claim in change.claims_before}
            edges += [(start, end) for start, end, _ in now ^ past]
    if not edges:
        return None
    return min(start for start, _ in edges), max(end for _, end in edges)


def _of_directory(event: events.Event, source: Source, sequence: int, after: Position) -> list[Outgoing]:
    """`directory.changed`, and `availability.invalidated` when what can be booked may differ."""
    change = event.directory
    bookable = change.kind not in _NOT_BOOKABLE
    first_position = after.within(sequence, 1) if bookable else after
    messages = [_changed(event, source, first_position)]
    if bookable:
        messages.append(_invalidated(event, source, after))
    return messages


def _changed(event: events.Event, source: Source, position: Position) -> Outgoing:
    change = event.directory
    audience = directory_audience(event.clinic_id, change)
    whole = _directory_view(event, position, change.id)
    if change.kind != "patient":
        return Outgoing(source, position, event.clinic_id, audience, whole)
    # A provider, and who may not know of patients, hears that patients changed, not which one.
    reduced = _directory_view(event, position, "")
    return Outgoing(source, position, event.clinic_id, audience, whole, provider_ids=(), reduced=reduced)


def _directory_view(event: events.Event, position: Position, id_: str) -> View:
    message = _message(event, "directory.changed", position)
    change = event.directory
    message.directory.CopyFrom(
        wire.DirectoryChange(clinic_id=event.clinic_id, kind=change.kind, id=id_, change=change.change)
    )
    return View(message)


def _invalidated(event: events.Event, source: Source, position: Position) -> Outgoing:
    change = event.directory
    message = _message(event, "availability.invalidated", position)
    message.availability.clinic_id = event.clinic_id
    message.availability.location_ids.extend(change.location_ids)
    if change.provider_id:
        message.availability.provider_ids.append(change.provider_id)
    if change.HasField("affects_from"):
        message.availability.time_range.start.CopyFrom(change.affects_from)
    if change.HasField("affects_to"):
        message.availability.time_range.end.CopyFrom(change.affects_to)
    audience = availability_audience(event.clinic_id, change)
    return Outgoing(source, position, event.clinic_id, audience, View(message))


def _message(event: events.Event, type_: str, position: Position) -> wire.Message:
    return wire.Message(id=str(position), type=type_, event_id=event.event_id, timestamp=event.occurred_at)


def _payload_json(message: wire.Message) -> dict[str, Any]:
    if message.HasField("appointment"):
        return _appointment_json(message.appointment)
    if message.HasField("availability"):
        return _availability_json(message.availability)
    change = message.directory
    return {"clinicId": change.clinic_id, "kind": change.kind, "id": change.id, "change": change.change}


def _appointment_json(payload: wire.AppointmentPayload) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "appointmentId": payload.appointment_id,
        "clinicId": payload.clinic_id,
        "locationId": payload.location_id,
        "providerId": payload.provider_id,
        "roomId": payload.room_id,
        "start": payload.start,
        "end": payload.end,
        "serviceId": payload.service_id,
        "status": payload.status,
        "version": payload.version,
    }
    if payload.HasField("previous"):
        previous = payload.previous
        shown["previous"] = {
            "locationId": previous.location_id,
            "providerId": previous.provider_id,
            "roomId": previous.room_id,
            "start": previous.start,
            "end": previous.end,
        }
    if payload.HasField("expires_at"):
        shown["expiresAt"] = _utc_text(payload.expires_at)
    return shown


def _availability_json(payload: wire.AvailabilityInvalidated) -> dict[str, Any]:
    span = payload.time_range
    return {
        "clinicId": payload.clinic_id,
        "locationIds": list(payload.location_ids),
        "providerIds": list(payload.provider_ids),
        "timeRange": {
            "start": _utc_text(span.start) if span.HasField("start") else None,
            "end": _utc_text(span.end) if span.HasField("end") else None,
        },
    }


def _zone(name: str) -> ZoneInfo:
    try:
        return zone_of(name)
    except Invalid:
        # An event is told in UTC rather than not at all.
        return _UTC


def _local_text(instant: Timestamp, zone: ZoneInfo) -> str:
    return datetime.fromtimestamp(instant.seconds, zone).isoformat(timespec="seconds")


def _utc_text(instant: Timestamp) -> str:
    when = datetime.fromtimestamp(instant.seconds, UTC)
    millis = instant.nanos // 1_000_000
    return f"{when:%Y-%m-%dT%H:%M:%S}" + (f".{millis:03d}Z" if millis else "Z")

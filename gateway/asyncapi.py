"""The AsyncAPI 3.0 document of the events that clients receive, over WebSocket and SSE alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Schema = dict[str, Any]

_UUID: Schema = {"type": "string", "format": "uuid"}
_TEXT: Schema = {"type": "string"}
_INSTANT: Schema = {"type": "string", "format": "date-time"}
_LOCAL: Schema = {"type": "string", "description": "Local time of the location with its offset."}
_CHANNEL: Schema = {
    "type": "string",
    "description": "`clinic:<id>`, `provider:<id>`, `location:<id>:<YYYY-MM-DD>` (its local day), `patient:<id>`.",
}

_APPOINTMENT_TYPES: Mapping[str, str] = {
    "appointment.created": "A visit was booked.",
    "appointment.updated": "A visit changed, but not its time: notes, or a status.",
    "appointment.rescheduled": "A visit moved; `previous` says from where.",
    "appointment.canceled": "A visit was canceled: its time is free.",
    "appointment.confirmed": "The patient said it will come.",
    "appointment.checked_in": "The patient has arrived.",
    "appointment.started": "The visit began.",
    "appointment.completed": "The visit is over.",
    "appointment.no_show": "The patient did not come.",
    "hold.created": "A slot is held for a while.",
    "hold.renewed": "A hold lasts longer.",
    "hold.confirmed": "A hold became a visit.",
    "hold.released": "A hold was given back.",
    "hold.expired": "A hold ended by itself.",
}


def build_document(*, version: str) -> dict[str, Any]:
    """The document."""
    messages = {**_events(), **_answers(), **_requests()}
    references = {name: {"$ref": f"#/components/messages/{name}"} for name in messages}
    received = [name for name in messages if name not in _requests()]
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "medforall events",
            "version": version,
            "description": (
                "What happens in a clinic, as it happens: ids and times only, never a patient's data. Every message "
                "has a position in `metadata.sequence`: come back with it, miss nothing and hear nothing twice."
            ),
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "channels": {
            "websocket": {
                "address": "/v1/realtime/ws",
                "description": "Send `authenticate` within 5 s, then `subscribe`.",
                "messages": references,
            },
            "sse": {
                "address": "/v1/realtime/sse",
                "description": "The same events; `Last-Event-ID` resumes. A token in the URL is refused.",
                "messages": {name: references[name] for name in _events()},
            },
        },
        "operations": {
            "receive": _operation("receive", "websocket", received),
            "send": _operation("send", "websocket", list(_requests())),
            "listen": _operation("receive", "sse", list(_events())),
        },
        "components": {"messages": messages, "schemas": _schemas()},
    }


def _operation(action: str, channel: str, messages: list[str]) -> Schema:
    return {
        "action": action,
        "channel": {"$ref": f"#/channels/{channel}"},
        "messages": [{"$ref": f"#/channels/{channel}/messages/{name}"} for name in messages],
    }


def _message(title: str, schema: Schema) -> Schema:
    return {"title": title, "payload": schema}


def _object(properties: Mapping[str, Schema], *optional: str) -> Schema:
    required = [name for name in properties if name not in optional]
    return {"type": "object", "properties": dict(properties), "required": required}


def _event(type_name: str, title: str, payload: str) -> Schema:
    return _message(
        title,
        _object(
            {
                "type": {"const": type_name},
                "payload": {"$ref": f"#/components/schemas/{payload}"},
                "metadata": {"$ref": "#/components/schemas/Metadata"},
            }
        ),
    )


def _events() -> dict[str, Schema]:
    events = {name: _event(name, title, "Appointment") for name, title in _APPOINTMENT_TYPES.items()}
    events["availability.invalidated"] = _event(
        "availability.invalidated", "Slots in this time may differ: search again.", "Availability"
    )
    events["directory.changed"] = _event(
        "directory.changed", "Something that the clinic sets up changed.", "Directory"
    )
    events["resync"] = _message(
        "The position is older than what is kept: read everything again.",
        _object({"type": {"const": "resync"}}),
    )
    return events


def _answers() -> dict[str, Schema]:
    return {
        "acknowledgement": _message(
            "The answer to a client's message.",
            _object(
                {"type": {"enum": ["authenticated", "subscribed", "unsubscribed", "pong"]}, "id": _TEXT}, "id"
            ),
        ),
        "error": _message(
            "A client's message was refused.",
            _object({"type": {"const": "error"}, "error": _TEXT, "message": _TEXT, "id": _TEXT}, "id"),
        ),
    }


def _requests() -> dict[str, Schema]:
    channels: Schema = {"type": "array", "items": _CHANNEL, "minItems": 1}
    named = {"id": {"type": "string", "maxLength": 64, "description": "Comes back in the answer."}}
    return {
        "authenticate": _message(
            "Says who listens; send it again to renew the token.",
            _object({"type": {"const": "authenticate"}, "token": _TEXT, **named}, "id"),
        ),
        "subscribe": _message(
            "Joins channels; `resumeFrom` is the last position that was seen.",
            _object(
                {"type": {"const": "subscribe"}, "channels": channels, "resumeFrom": _TEXT, **named},
                "id",
                "resumeFrom",
            ),
        ),
        "unsubscribe": _message(
            "Leaves channels.",
            _object({"type": {"const": "unsubscribe"}, "channels": channels, **named}, "id"),
        ),
        "ping": _message("Asks for a sign of life.", _object({"type": {"const": "ping"}, **named}, "id")),
    }


def _schemas() -> dict[str, Schema]:
    place = {"locationId": _UUID, "providerId": _UUID, "roomId": _TEXT, "start": _LOCAL, "end": _LOCAL}
    span = _object({"start": {"type": ["string", "null"]}, "end": {"type": ["string", "null"]}})
    ids: Schema = {"type": "array", "items": _UUID}
    return {
        "Metadata": _object({"eventId": _UUID, "timestamp": _INSTANT, "sequence": _TEXT}),
        "Appointment": _object(
            {
                "appointmentId": _UUID,
                "clinicId": _UUID,
                **place,
                "serviceId": _UUID,
                "status": _TEXT,
                "version": {"type": "integer"},
                "previous": _object(place),
                "expiresAt": _INSTANT,
            },
            "previous",
            "expiresAt",
        ),
        "Availability": _object(
            {"clinicId": _UUID, "locationIds": ids, "providerIds": ids, "timeRange": span}
        ),
        "Directory": _object({"clinicId": _UUID, "kind": _TEXT, "id": _UUID, "change": _TEXT}),
    }

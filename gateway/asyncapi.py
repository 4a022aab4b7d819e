"""The AsyncAPI 3.0 document of the events that clients receive, over WebSocket and SSE alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.realtime.protocol import CLIENT_ID_CHARS_MAX, REASONS
from scheduling.channels import CHANNELS_MAX

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
    "hold.rescheduled": "A hold moved; `previous` says from where.",
    "hold.renewed": "A hold lasts longer.",
    "hold.confirmed": "A hold became a visit.",
    "hold.released": "A hold was given back.",
    "hold.expired": "A hold ended by itself.",
}


_DIRECTORY_KINDS = (
    "clinic",
    "location",
    "closure",
    "provider",
    "room",
    "equipment",
    "service",
    "service_rule",
    "window",
    "preference",
    "patient",
)


def build_document(*, version: str) -> dict[str, Any]:
    """The document."""
    events, answers, requests = _events(), _answers(), _requests()
    closed = {"closed": _closed()}
    messages = {**events, **answers, **closed, **requests}
    references = {name: {"$ref": f"#/components/messages/{name}"} for name in messages}
    websocket, sse = {**events, **answers}, {**events, "subscribed": answers["subscribed"], **closed}
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "medforall events",
            "version": version,
            "description": (
                "What happens in a clinic, as it happens: ids and times only, never a patient's data. Every event has "
                "a position in `metadata.sequence`: come back with it, miss nothing and hear nothing twice. Take "
                "unknown types and fields for things to ignore: there may be more of them."
            ),
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "channels": {
            "websocket": {
                "address": "/v1/realtime/ws",
                "description": _websocket_description(),
                "messages": {name: references[name] for name in {**websocket, **requests}},
            },
            "sse": {
                "address": "/v1/realtime/sse",
                "description": (
                    "The same events, each with its position as `id`; `Last-Event-ID` resumes. The parameters are in "
                    "`/openapi.json`. A token in the URL is refused: a browser gets a ticket first."
                ),
                "messages": {name: references[name] for name in sse},
            },
        },
        "operations": {
            "receive": _operation("receive", "websocket", list(websocket)),
            "send": _operation("send", "websocket", list(requests)),
            "listen": _operation("receive", "sse", list(sse)),
        },
        "components": {"messages": messages, "schemas": _schemas()},
    }


def _websocket_description() -> str:
    codes = ", ".join(f"{int(code)} {reason}" for code, reason in REASONS.items())
    return f"Send `authenticate` within 5 s, then `subscribe`. Closed with one of these codes: {codes}."


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


def _told(
    type_: str, title: str, payload: Schema, *, metadata: str, optional: tuple[str, ...] = ()
) -> Schema:
    """A message of the server; `metadata` names its schema."""
    properties = {
        "type": {"const": type_},
        "payload": payload,
        "metadata": {"$ref": f"#/components/schemas/{metadata}"},
    }
    return _message(title, _object(properties, *optional))


def _event(type_: str, title: str, payload: str) -> Schema:
    return _told(type_, title, {"$ref": f"#/components/schemas/{payload}"}, metadata="Metadata")


def _events() -> dict[str, Schema]:
    events = {name: _event(name, title, "Appointment") for name, title in _APPOINTMENT_TYPES.items()}
    events["availability.invalidated"] = _event(
        "availability.invalidated", "Slots in this time may differ: search again.", "Availability"
    )
    events["directory.changed"] = _event(
        "directory.changed", "Something that the clinic sets up changed.", "Directory"
    )
    reasons: Schema = {"enum": ["position_expired", "too_much_missed", "streams_reset"]}
    events["resync"] = _told(
        "resync",
        "Something was missed that is not sent again: read everything anew, then go on from here.",
        _object({"reason": reasons}),
        metadata="Position",
    )
    return events


def _answers() -> dict[str, Schema]:
    channels: Schema = {"type": "array", "items": _CHANNEL}
    refused = _object({"channel": _TEXT, "reason": _TEXT})
    caller = {"userId": _TEXT, "clinicId": _UUID, "role": _TEXT, "expiresAt": _INSTANT}
    lost = {**channels, "description": "Channels that the renewed token does not allow any more."}
    return {
        "authenticated": _answer(
            "authenticated",
            "The token is accepted, until `expiresAt`.",
            _object({**caller, "lostChannels": lost}, "lostChannels"),
        ),
        "subscribed": _answer(
            "subscribed",
            "The channels are joined, but for those `refused`. Its position may be resumed from.",
            _object({"channels": channels, "refused": {"type": "array", "items": refused}}, "refused"),
        ),
        "unsubscribed": _answer("unsubscribed", "The channels are left.", _object({"channels": channels})),
        "pong": _answer("pong", "A sign of life.", {"type": "object"}),
        "error": _answer(
            "error",
            "A client's message was refused; the connection goes on unless it is closed with a code.",
            _object(
                {
                    "error": {**_TEXT, "description": "Machine-readable reason, as in REST."},
                    "message": _TEXT,
                    "inReplyTo": {**_TEXT, "description": "Type of the message, when it could be read."},
                },
                "inReplyTo",
            ),
        ),
    }


def _answer(type_: str, title: str, payload: Schema) -> Schema:
    answer = _told(type_, title, payload, metadata="Position", optional=("metadata",))
    answer["payload"]["properties"]["id"] = {**_TEXT, "description": "That of the client's message."}
    return answer


def _closed() -> Schema:
    payload = _object({"code": {"enum": [int(code) for code in REASONS]}, "reason": _TEXT})
    return _message(
        "The last message of a stream that the server ends.",
        _object({"type": {"const": "closed"}, "payload": payload}),
    )


def _requests() -> dict[str, Schema]:
    channels: Schema = {"type": "array", "items": _CHANNEL, "minItems": 1, "maxItems": CHANNELS_MAX}
    named = {
        "id": {"type": "string", "maxLength": CLIENT_ID_CHARS_MAX, "description": "Comes back in the answer."}
    }
    return {
        "authenticate": _message(
            "Says who listens; send it again to renew the token.",
            _object({"type": {"const": "authenticate"}, "token": _TEXT, **named}, "id"),
        ),
        "subscribe": _message(
            "Joins channels; `resumeFrom`, in the first one of a connection, is the last position that was seen.",
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
    room: Schema = {**_TEXT, "description": "Empty when no room is used."}
    place = {"locationId": _UUID, "providerId": _UUID, "roomId": room, "start": _LOCAL, "end": _LOCAL}
    edge: Schema = {"type": ["string", "null"], "format": "date-time", "description": "Null: any time."}
    span = _object({"start": edge, "end": edge})
    sequence: Schema = {**_TEXT, "description": "The position after this message; opaque."}
    ids: Schema = {"type": "array", "items": _UUID}
    return {
        "Metadata": _object({"eventId": _UUID, "timestamp": _INSTANT, "sequence": sequence}),
        "Position": _object({"sequence": sequence}),
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
        "Directory": _object(
            {
                "clinicId": _UUID,
                "kind": {"enum": list(_DIRECTORY_KINDS)},
                "id": {**_TEXT, "description": "Empty when it is not for the listener to know which."},
                "change": {"enum": ["created", "updated", "deactivated"]},
            }
        ),
    }

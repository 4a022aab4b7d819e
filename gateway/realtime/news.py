"""Messages on their way to clients; what goes over the wire is made once for all of them."""

from __future__ import annotations

from functools import cached_property
from typing import Any, Final

import orjson
from medforall.realtime.v1 import realtime_pb2 as wire

from scheduling.channels import Viewer, sees_whole
from scheduling.positions import Position, Source, parse_position

_SOURCES = {
    wire.EVENT_SOURCE_APPOINTMENTS: Source.APPOINTMENTS,
    wire.EVENT_SOURCE_DIRECTORY: Source.DIRECTORY,
}
_TAIL: Final = b'"}}'
_TEXT_FRAME: Final = 0x81


class Form:
    """A message as some clients see it: JSON that ends in `"sequence":"<position>"}}`."""

    def __init__(self, type_: str, json: bytes, position: Position) -> None:
        self.type = type_
        self.json = json
        self.position = position
        self._sequence = str(position)

    @cached_property
    def frame(self) -> bytes:
        """The WebSocket frame for a client that stands at the message's own position."""
        return text_frame(self.json)

    @cached_property
    def event(self) -> bytes:
        """The server-sent event for such a client."""
        return sse_event(self.type, self.json, self._sequence)

    def frame_at(self, position: Position) -> bytes:
        """The WebSocket frame for a client that stands at `position` after it."""
        return self.frame if position is self.position else text_frame(self.json_at(position))

    def event_at(self, position: Position) -> bytes:
        """The server-sent event for a client that stands at `position` after it."""
        if position is self.position:
            return self.event
        return sse_event(self.type, self.json_at(position), str(position))

    def json_at(self, position: Position) -> bytes:
        """The message's JSON for a client that stands at `position` after it."""
        if position == self.position:
            return self.json
        head = self.json[: len(self.json) - len(_TAIL) - len(self._sequence)]
        return head + str(position).encode() + _TAIL


class News:
    """A delivery of realtime_svc, read once."""

    __slots__ = ("_provider_ids", "_reduced", "_whole", "channels", "clinic_id", "position", "source")

    def __init__(self, delivery: wire.Delivery) -> None:
        self.clinic_id = delivery.clinic_id
        self.channels = tuple(delivery.channels)
        self.position = parse_position(delivery.position)
        self.source = _SOURCES[delivery.source]
        self._whole = Form(delivery.type, delivery.json, self.position)
        self._provider_ids = frozenset(delivery.provider_ids) if delivery.restricted else None
        self._reduced = (
            Form(delivery.reduced_type, delivery.reduced_json, self.position)
            if delivery.reduced_json
            else None
        )

    def form_for(self, viewer: Viewer) -> Form | None:
        """What `viewer` may see of it, or None."""
        if self._provider_ids is None or sees_whole(viewer, self._provider_ids):
            return self._whole
        return self._reduced


def notice(type_: str, payload: dict[str, Any], *, sequence: str = "", reply_to: str | None = None) -> bytes:
    """A message of the gateway itself, as JSON."""
    shown: dict[str, Any] = {"type": type_, "payload": payload}
    if reply_to is not None:
        shown["id"] = reply_to
    if sequence:
        shown["metadata"] = {"sequence": sequence}
    return orjson.dumps(shown)


def text_frame(text: bytes) -> bytes:
    """An unfragmented, unmasked WebSocket text frame (RFC 6455, section 5.2)."""
    size = len(text)
    if size < 126:
        return bytes((_TEXT_FRAME, size)) + text
    if size < 65_536:
        return bytes((_TEXT_FRAME, 126)) + size.to_bytes(2, "big") + text
    return bytes((_TEXT_FRAME, 127)) + size.to_bytes(8, "big") + text


def sse_event(type_: str, json: bytes, id_: str) -> bytes:
    """A server-sent event; JSON has no line break in it."""
    return f"id: {id_}\nevent: {type_}\ndata: ".encode() + json + b"\n\n"

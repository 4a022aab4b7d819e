"""Replies as JSON, by a function written and compiled once per message type.

Protobuf's own `json_format` walks descriptors for every message: 0.4–0.9 ms for a page of fifty slots. Here
each message type gets a function with one line per field, which leaves attribute reads and dictionary stores.
The result equals `json_format.MessageToDict(always_print_fields_with_no_presence=True)` but for the names of
enum values, which REST spells in lower case (`names.enum_names`); tests hold it to that for every message of
the contract. 64-bit integers are strings, as ProtoJSON has them: JavaScript would round large ones.
"""

from __future__ import annotations

import keyword
import math
from base64 import b64encode
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from gateway.transcoding.names import descriptor_of, enum_names, enum_type, is_map, message_type

Encode = Callable[[Any], Any]

_INT64_TYPES = frozenset(
    (
        FieldDescriptor.TYPE_INT64,
        FieldDescriptor.TYPE_UINT64,
        FieldDescriptor.TYPE_SINT64,
        FieldDescriptor.TYPE_FIXED64,
        FieldDescriptor.TYPE_SFIXED64,
    )
)
_TIMESTAMP = "google.protobuf.Timestamp"
_WELL_KNOWN = "google.protobuf."


class Encoder:
    """Makes JSON values of messages; compiles a message type when it first meets it."""

    def __init__(self) -> None:
        self._encoders: dict[str, Encode] = {}

    def encode(self, message: Message) -> Any:
        """The JSON value of `message`: a dictionary, or what its well-known type is in JSON."""
        return self.encoder(descriptor_of(message))(message)

    def encoder(self, descriptor: Descriptor) -> Encode:
        """The compiled function for messages of this type."""
        found = self._encoders.get(descriptor.full_name)
        return found if found is not None else self._make(descriptor)

    def _make(self, descriptor: Descriptor) -> Encode:
        if descriptor.full_name == _TIMESTAMP:
            made: Encode = _timestamp
        elif descriptor.full_name.startswith(_WELL_KNOWN):
            made = json_format.MessageToDict
        else:
            made = self._compile(descriptor)
        self._encoders[descriptor.full_name] = made
        return made

    def _compile(self, descriptor: Descriptor) -> Encode:
        """Write the function's source, one line per field, and compile it.

        Only names out of the contract's own descriptors enter the source: identifiers, by protobuf's grammar.
        """
        scope: dict[str, Any] = {}
        lines = ["def encode(m):", "    out = {}"]
        for field in descriptor.fields:
            lines += self._field_lines(field, scope)
        lines.append("    return out")
        exec(compile("\n".join(lines), f"<json of {descriptor.full_name}>", "exec"), scope)  # noqa: S102 - see above
        encode: Encode = scope["encode"]
        return encode

    def _field_lines(self, field: FieldDescriptor, scope: dict[str, Any]) -> list[str]:
        target = f"    out[{field.json_name!r}]"
        value = f"getattr(m, {field.name!r})" if keyword.iskeyword(field.name) else f"m.{field.name}"
        if is_map(field):
            item = self._expression(message_type(field).fields_by_name["value"], "v", scope)
            scope["_map_key"] = _map_key
            return [f"{target} = {{_map_key(k): {item} for k, v in {value}.items()}}"]
        if field.is_repeated:
            item = self._expression(field, "v", scope)
            return [f"{target} = [{item} for v in {value}]" if item != "v" else f"{target} = list({value})"]
        expression = self._expression(field, value, scope)
        if field.has_presence:
            return [f"    if m.HasField({field.name!r}):", f"    {target} = {expression}"]
        return [f"{target} = {expression}"]

    def _expression(self, field: FieldDescriptor, value: str, scope: dict[str, Any]) -> str:
        """Source that turns `value` of the field's type into JSON; what it calls is put into `scope`."""
        name = f"_{field.name}"
        if field.type == FieldDescriptor.TYPE_MESSAGE:
            scope[name] = self._lazy(message_type(field))
        elif field.type == FieldDescriptor.TYPE_ENUM:
            # A number that this build does not know is printed as it is.
            scope[name] = enum_names(enum_type(field)).get
            return f"{name}({value}, {value})"
        elif field.type in _INT64_TYPES:
            return f"str({value})"
        elif field.type == FieldDescriptor.TYPE_BYTES:
            scope[name] = _base64
        elif field.type == FieldDescriptor.TYPE_DOUBLE:
            scope[name] = _double
        elif field.type == FieldDescriptor.TYPE_FLOAT:
            scope[name] = _float
        else:
            return value
        return f"{name}({value})"

    def _lazy(self, descriptor: Descriptor) -> Encode:
        """The encoder of `descriptor`; one that may contain itself is looked up later, when it is met."""
        if descriptor.full_name in self._encoders:
            return self._encoders[descriptor.full_name]
        if _contains_itself(descriptor):
            return self.encode
        return self._make(descriptor)


def _contains_itself(descriptor: Descriptor) -> bool:
    seen: set[str] = set()
    waiting = [descriptor]
    while waiting:
        for field in waiting.pop().fields:
            inner = field.message_type
            if inner is None or inner.full_name in seen:
                continue
            if inner.full_name == descriptor.full_name:
                return True
            seen.add(inner.full_name)
            waiting.append(inner)
    return False


def _timestamp(value: Any) -> str:
    nanos = value.nanos
    return (
        _whole_second(value.seconds) + "Z"
        if not nanos
        else f"{_whole_second(value.seconds)}.{_fraction(nanos)}Z"
    )


@lru_cache(maxsize=4_096)
def _whole_second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None).isoformat()


def _fraction(nanos: int) -> str:
    """Three, six or nine digits, as few as say it."""
    digits = f"{nanos:09d}"
    if digits.endswith("000000"):
        return digits[:3]
    return digits[:6] if digits.endswith("000") else digits


def _double(value: float) -> float | str:
    if math.isfinite(value):
        return value
    if math.isnan(value):
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"


def _float(value: float) -> float | str:
    """The shortest decimal that is the same 32-bit number."""
    if not math.isfinite(value):
        return _double(value)
    return next(
        (short for digits in (6, 7, 8) if _to_float32(short := float(f"{value:.{digits}g}")) == value), value
    )


def _to_float32(value: float) -> float:
    from struct import error, pack, unpack  # noqa: PLC0415 - no contract of ours has a float yet

    try:
        (narrow,) = unpack("<f", pack("<f", value))
    except (OverflowError, error):
        return math.inf
    return float(narrow)


def _base64(value: bytes) -> str:
    return b64encode(value).decode()


def _map_key(key: Any) -> str:
    return ("false", "true")[key] if isinstance(key, bool) else str(key)

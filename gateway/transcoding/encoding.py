"""Replies as JSON, straight from their bytes, by a function written and compiled once per message type.

Protobuf's own `json_format` walks descriptors for every message: 0.4–0.9 ms for a page of fifty slots, and reading
the fields one by one through protobuf's objects still takes 0.6 ms. Here each message type gets a function with one
line per field that reads a flat message (`flat`); messages that come again and again (a provider, a room, an instant,
a free slot) are looked up by their bytes. The result equals `MessageToDict(always_print_fields_with_no_presence=True)`
but for the names of enum values, which REST spells in lower case (`names.enum_names`); tests hold it to that for
every message of the contract. 64-bit integers are strings, as ProtoJSON has them: JavaScript would round large ones.
"""

from __future__ import annotations

import math
from base64 import b64encode
from collections.abc import Callable
from datetime import date
from functools import lru_cache
from typing import Any

import orjson
from google.protobuf import json_format, message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from medforall.options.v1 import options_pb2

from gateway.transcoding.flat import FlatTypes, flat_name
from gateway.transcoding.names import descriptor_of, enum_names, enum_type, is_map, message_type

# From the bytes of a message to its JSON value, for orjson: what is inside of it may be written JSON already
# (`orjson.Fragment`), which is remembered.
Encode = Callable[[bytes], Any]

_REMEMBERED_MAX = 4_096

# Every five minutes of the ninety days that can be booked, and those of created and changed things: slots of all
# clinics share them.
_INSTANTS_MAX = 32_768

# The same free slot is shown to everybody who looks at its day, until it is taken: remembered as written JSON.
_SHOWN_AGAIN = frozenset(("medforall.type.v1.Slot",))
_SHOWN_AGAIN_MAX = 8_192
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
_DAY_S = 86_400
_EPOCH = date(1970, 1, 1)
_WELL_KNOWN = "google.protobuf."


class Encoder:
    """Makes JSON values of messages; compiles a message type when it first meets it."""

    def __init__(self) -> None:
        self._encoders: dict[str, Encode] = {}
        self._written: dict[str, Encode] = {}
        self._flat = FlatTypes()

    def encode(self, message: Message) -> Any:
        """The JSON value of `message`, for orjson: a dictionary, or what its well-known type is in JSON."""
        return self.encoder(descriptor_of(message))(message.SerializeToString())

    def encoder(self, descriptor: Descriptor) -> Encode:
        """The compiled function for the bytes of messages of this type."""
        found = self._encoders.get(descriptor.full_name)
        if found is None:
            found = self._encoders[descriptor.full_name] = self._make(descriptor)
        return found

    def _make(self, descriptor: Descriptor) -> Encode:
        if descriptor.full_name == _TIMESTAMP:
            return _timestamp
        if descriptor.full_name.startswith(_WELL_KNOWN):
            return _well_known(descriptor)
        return self._compile(descriptor)

    def _compile(self, descriptor: Descriptor) -> Encode:
        """Write the function's source, one line or two per field, and compile it.

        Only names out of the contract's own descriptors enter the source, as string literals.
        """
        scope: dict[str, Any] = {"parse": self._flat.parser(descriptor), "map_key": _map_key}
        lines = ["def encode(raw):", "    m = parse(raw)", "    out = {}"]
        for field in descriptor.fields:
            lines += [f"    {line}" for line in self._field_lines(field, scope)]
        lines.append("    return out")
        exec(compile("\n".join(lines), f"<json of {descriptor.full_name}>", "exec"), scope)  # noqa: S102 - see above
        encode: Encode = scope["encode"]
        return encode

    def _field_lines(self, field: FieldDescriptor, scope: dict[str, Any]) -> list[str]:
        name, target = flat_name(field), f"out[{field.json_name!r}]"
        if is_map(field):
            entry = message_type(field)
            scope[f"entry_{name}"] = self._flat.parser(entry)
            item = self._expression(entry.fields_by_name["value"], "e.f2", f"value_{name}", scope)
            return [f"{target} = {{map_key(e.f1): {item} for e in map(entry_{name}, m.{name})}}"]
        if field.is_repeated:
            item = self._expression(field, "v", name, scope)
            return [f"{target} = [{item} for v in m.{name}]" if item != "v" else f"{target} = list(m.{name})"]
        if not field.has_presence:
            return [f"{target} = {self._expression(field, f'm.{name}', name, scope)}"]
        # To ask whether a field is there costs more than to read it: what is not empty is there.
        expression = self._expression(field, "v", name, scope)
        return [f"v = m.{name}", f"if v or m.HasField({name!r}): {target} = {expression}"]

    def _expression(self, field: FieldDescriptor, value: str, name: str, scope: dict[str, Any]) -> str:
        """Source that turns `value` of the field's type into JSON; what it calls is put into `scope`."""
        if field.type == FieldDescriptor.TYPE_ENUM:
            # A number that this build does not know is printed as it is.
            scope[f"enum_{name}"] = enum_names(enum_type(field)).get
            return f"enum_{name}({value}, {value})"
        if field.type in _INT64_TYPES:
            return f"str({value})"
        function = self._function(field)
        if function is None:
            return value
        scope[f"encode_{name}"] = function
        return f"encode_{name}({value})"

    def _function(self, field: FieldDescriptor) -> Callable[[Any], Any] | None:
        """What makes JSON of the field's value; None when the value is JSON already."""
        match field.type:
            case FieldDescriptor.TYPE_MESSAGE:
                return self._inner(message_type(field))
            case FieldDescriptor.TYPE_BYTES:
                return _base64
            case FieldDescriptor.TYPE_DOUBLE:
                return _double
            case FieldDescriptor.TYPE_FLOAT:
                return _float
        return None

    def _inner(self, descriptor: Descriptor) -> Encode:
        """The encoder of an inner message: of one that comes again, as written JSON that is only copied the next time.

        One that may contain itself is looked up when it is met.
        """
        if _contains(descriptor, descriptor.full_name):
            return lambda raw: self.encoder(descriptor)(raw)  # noqa: PLW0108 - it is not there yet
        found = self._written.get(descriptor.full_name)
        if found is None:
            found = self._written[descriptor.full_name] = _remembering(descriptor, self.encoder(descriptor))
        return found


def _remembering(descriptor: Descriptor, encode: Encode) -> Encode:
    """`encode` with a memory, if messages of this type say the same again and again."""
    if descriptor.full_name in _SHOWN_AGAIN:
        size_max = _SHOWN_AGAIN_MAX
    elif _is_worth_remembering(descriptor):
        size_max = _REMEMBERED_MAX
    else:
        return encode
    return lru_cache(maxsize=size_max)(lambda raw: orjson.Fragment(orjson.dumps(encode(raw))))


def _is_worth_remembering(descriptor: Descriptor) -> bool:
    """Whether a message is small and says the same again and again: no messages inside, no patient's data."""
    return not any(
        field.message_type is not None
        or field.is_repeated
        or field.type in _INT64_TYPES
        or field.GetOptions().Extensions[options_pb2.phi]
        for field in descriptor.fields
    )


def _contains(descriptor: Descriptor, full_name: str) -> bool:
    seen: set[str] = set()
    waiting = [descriptor]
    while waiting:
        for field in waiting.pop().fields:
            inner = field.message_type
            if inner is None or inner.full_name in seen:
                continue
            if inner.full_name == full_name:
                return True
            seen.add(inner.full_name)
            waiting.append(inner)
    return False


def _well_known(descriptor: Descriptor) -> Encode:
    parse = message_factory.GetMessageClass(descriptor).FromString
    return lambda raw: json_format.MessageToDict(parse(raw))


@lru_cache(maxsize=_INSTANTS_MAX)
def _timestamp(raw: bytes) -> str:
    value = Timestamp.FromString(raw)
    nanos = value.nanos
    # Days and times of day come again more often than each instant: a third of the time that datetime takes.
    day, second = divmod(value.seconds, _DAY_S)
    whole = _date(day) + _time_of_day(second)
    return f"{whole}.{_fraction(nanos)}Z" if nanos else whole + "Z"


@lru_cache(maxsize=_REMEMBERED_MAX)
def _date(day: int) -> str:
    """The date that is `day` days after 1970-01-01. Raises ValueError beyond the years 1 to 9999."""
    return date.fromordinal(_EPOCH.toordinal() + day).isoformat()


@lru_cache(maxsize=_REMEMBERED_MAX)
def _time_of_day(second: int) -> str:
    return f"T{second // 3_600:02d}:{second // 60 % 60:02d}:{second % 60:02d}"


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

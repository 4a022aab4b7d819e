"""Request bodies and parameters into messages, strictly, with every fault named.

Stricter than ProtoJSON on purpose: a field that the contract does not have is refused by name, a field has
one spelling (its JSON name), and faults are collected, not thrown one at a time. `null` means that a field is
not given. Enum values are accepted as REST spells them (`no_show`) and by their full name in the contract.
"""

from __future__ import annotations

import base64
import binascii
import math
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.message import Message

from gateway.transcoding.names import descriptor_of, enum_names, enum_numbers, enum_type, is_map, message_type
from scheduling.errors import FieldViolation

_TEXT_CHARS_SHOWN = 40
_VIOLATIONS_MAX = 50
_WELL_KNOWN = "google.protobuf."
_TIMESTAMP = "google.protobuf.Timestamp"
_WHOLE_NUMBER = re.compile(r"-?[0-9]{1,20}")
_STRUCT_DEPTH_MAX = 20

_RANGES: Mapping[int, tuple[int, int]] = {
    FieldDescriptor.TYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.TYPE_SINT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.TYPE_SFIXED32: (-(2**31), 2**31 - 1),
    FieldDescriptor.TYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.TYPE_FIXED32: (0, 2**32 - 1),
    FieldDescriptor.TYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.TYPE_SINT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.TYPE_SFIXED64: (-(2**63), 2**63 - 1),
    FieldDescriptor.TYPE_UINT64: (0, 2**64 - 1),
    FieldDescriptor.TYPE_FIXED64: (0, 2**64 - 1),
}

Scalar = Callable[[Any], Any]


class Wrong(Exception):
    """A value does not fit its field; the text completes "<field>: …"."""


class Violations:
    """The faults of one request, in the order in which they were met, at most fifty."""

    def __init__(self) -> None:
        self._found: list[FieldViolation] = []

    def add(self, field: str, description: str) -> None:
        """Note that `field` (a JSON path) is wrong."""
        if len(self._found) < _VIOLATIONS_MAX:
            self._found.append(FieldViolation(field, description))

    @property
    def found(self) -> Sequence[FieldViolation]:
        """What was noted."""
        return tuple(self._found)


class Decoder:
    """Fills messages from JSON values."""

    def __init__(self) -> None:
        self._fields: dict[str, Mapping[str, FieldDescriptor]] = {}

    def decode(self, value: Any, message: Message, violations: Violations, *, path: str = "") -> None:
        """Fill `message` from a JSON object; every fault goes to `violations` under its JSON path."""
        if not isinstance(value, dict):
            violations.add(path or "body", "must be a JSON object")
            return
        fields = self._by_json_name(descriptor_of(message))
        for name, item in value.items():
            field = fields.get(name)
            if field is None:
                violations.add(_join(path, name), "is not a field of this request")
            elif item is not None or _takes_null(field):
                self._set(field, item, message, violations, _join(path, name))

    def decode_field(
        self, field: FieldDescriptor, value: Any, message: Message, violations: Violations, path: str
    ) -> None:
        """Fill one field of `message` from its JSON value."""
        if value is not None or _takes_null(field):
            self._set(field, value, message, violations, path)

    def _by_json_name(self, descriptor: Descriptor) -> Mapping[str, FieldDescriptor]:
        found = self._fields.get(descriptor.full_name)
        if found is None:
            found = {field.json_name: field for field in descriptor.fields}
            self._fields[descriptor.full_name] = found
        return found

    def _set(
        self, field: FieldDescriptor, value: Any, message: Message, violations: Violations, path: str
    ) -> None:
        if is_map(field):
            self._set_map(field, value, message, violations, path)
        elif field.is_repeated:
            self._set_list(field, value, message, violations, path)
        elif field.type == FieldDescriptor.TYPE_MESSAGE:
            inner = getattr(message, field.name)
            inner.SetInParent()
            self._fill(message_type(field), value, inner, violations, path)
        else:
            self._guard(path, violations, lambda: setattr(message, field.name, scalar(field, value)))

    def _fill(
        self, descriptor: Descriptor, value: Any, message: Message, violations: Violations, path: str
    ) -> None:
        if descriptor.full_name.startswith(_WELL_KNOWN):
            self._guard(path, violations, lambda: _well_known(value, message))
        else:
            self.decode(value, message, violations, path=path)

    def _set_list(
        self, field: FieldDescriptor, value: Any, message: Message, violations: Violations, path: str
    ) -> None:
        if not isinstance(value, list):
            violations.add(path, "must be a list")
            return
        container = getattr(message, field.name)
        for index, item in enumerate(value):
            where = f"{path}[{index}]"
            if field.type == FieldDescriptor.TYPE_MESSAGE:
                self._fill(message_type(field), item, container.add(), violations, where)
            else:
                self._guard(where, violations, lambda item=item: container.append(scalar(field, item)))  # type: ignore[misc]

    def _set_map(
        self, field: FieldDescriptor, value: Any, message: Message, violations: Violations, path: str
    ) -> None:
        if not isinstance(value, dict):
            violations.add(path, "must be a JSON object")
            return
        container = getattr(message, field.name)
        keys, values = (message_type(field).fields_by_name[part] for part in ("key", "value"))
        for name, item in value.items():
            where = _join(path, name)
            try:
                key = scalar(keys, parse_text(keys, name))
            except Wrong as wrong:
                violations.add(where, str(wrong))
                continue
            if values.type == FieldDescriptor.TYPE_MESSAGE:
                self._fill(message_type(values), item, container[key], violations, where)
            else:
                self._guard(where, violations, partial(_put, container, key, values, item))

    @staticmethod
    def _guard(path: str, violations: Violations, fill: Callable[[], None]) -> None:
        try:
            fill()
        except Wrong as wrong:
            violations.add(path, str(wrong))


def _put(container: Any, key: Any, field: FieldDescriptor, value: Any) -> None:
    container[key] = scalar(field, value)


def _join(path: str, name: str) -> str:
    shown = name if len(name) <= _TEXT_CHARS_SHOWN else name[:_TEXT_CHARS_SHOWN] + "…"
    return f"{path}.{shown}" if path else shown


def _takes_null(field: FieldDescriptor) -> bool:
    return field.message_type is not None and message_type(field).full_name == "google.protobuf.Value"


def scalar(field: FieldDescriptor, value: Any) -> Any:
    """A JSON value as a Python value of the field's scalar type. Raises Wrong."""
    if field.type == FieldDescriptor.TYPE_ENUM:
        return _enum(enum_type(field), value)
    if field.type in _RANGES:
        return _integer(field.type, value)
    return _SCALARS[field.type](value)


def parse_text(field: FieldDescriptor, text: str) -> Any:
    """The JSON value that `text` of a path, a query or a map key stands for. Raises Wrong."""
    if field.type == FieldDescriptor.TYPE_BOOL:
        if text not in ("true", "false"):
            raise Wrong("must be true or false")
        return text == "true"
    if field.type in (FieldDescriptor.TYPE_DOUBLE, FieldDescriptor.TYPE_FLOAT):
        try:
            return float(text)
        except ValueError:
            raise Wrong("must be a number") from None
    if field.type == FieldDescriptor.TYPE_ENUM and enum_numbers(enum_type(field)).get(text) == 0:
        # In a body it says that a field is not given, as in every answer; a parameter is left out instead.
        raise _unknown_value(enum_type(field))
    return text


def _enum(enum: EnumDescriptor, value: Any) -> int:
    numbers = enum_numbers(enum)
    if isinstance(value, str) and value in numbers:
        return numbers[value]
    raise _unknown_value(enum)


def _unknown_value(enum: EnumDescriptor) -> Wrong:
    known = ", ".join(sorted(name for number, name in enum_names(enum).items() if number))
    return Wrong(f"must be one of {known}")


def _integer(kind: int, value: Any) -> int:
    number = _whole(value)
    if number is None:
        raise Wrong("must be a whole number")
    low, high = _RANGES[kind]
    if not low <= number <= high:
        raise Wrong(f"must be between {low} and {high}")
    return number


def _whole(value: Any) -> int | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        return int(value) if _WHOLE_NUMBER.fullmatch(value) else None
    if isinstance(value, float):
        return int(value) if value.is_integer() else None
    return value if isinstance(value, int) else None


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise Wrong("must be a string")
    if "\x00" in value:
        raise Wrong("must not contain U+0000")
    return value


def _boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise Wrong("must be true or false")
    return value


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Wrong("must be a number")
    number = float(value)
    if not math.isfinite(number):
        raise Wrong("must be a finite number")
    return number


def _bytes(value: Any) -> bytes:
    try:
        return base64.b64decode(_text(value), validate=True)
    except (binascii.Error, ValueError):
        raise Wrong("must be base64") from None


_SCALARS: Mapping[int, Scalar] = {
    FieldDescriptor.TYPE_STRING: _text,
    FieldDescriptor.TYPE_BOOL: _boolean,
    FieldDescriptor.TYPE_DOUBLE: _number,
    FieldDescriptor.TYPE_FLOAT: _number,
    FieldDescriptor.TYPE_BYTES: _bytes,
}


def _well_known(value: Any, message: Message) -> None:
    """Fill a message of google.protobuf as ProtoJSON says."""
    try:
        json_format.ParseDict(value, message, max_recursion_depth=_STRUCT_DEPTH_MAX)
    except (json_format.ParseError, ValueError, TypeError, RecursionError, AttributeError) as error:
        raise Wrong(_expectation(message)) from error
    _refuse_nul(value)


def _refuse_nul(value: Any) -> None:
    """PostgreSQL stores no U+0000, neither in text nor in JSON."""
    if isinstance(value, str):
        _text(value)
    elif isinstance(value, dict):
        for name, item in value.items():
            _text(name)
            _refuse_nul(item)
    elif isinstance(value, list):
        for item in value:
            _refuse_nul(item)


def _expectation(message: Message) -> str:
    match message.DESCRIPTOR.full_name:
        case "google.protobuf.Timestamp":
            return "must be an RFC 3339 instant such as 2026-02-20T14:00:00Z"
        case "google.protobuf.Duration":
            return "must be a duration in seconds such as 1.5s"
        case "google.protobuf.FieldMask":
            return "must be field names, comma-separated"
        case _:
            return f"must be a JSON object nested at most {_STRUCT_DEPTH_MAX} deep"

"""How names of the contract are spelled in REST."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.message import Message

_REASONS = "medforall.type.v1.ErrorReason"
_WORD_STARTS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


@lru_cache(maxsize=1_024)
def enum_names(enum: EnumDescriptor) -> Mapping[int, str]:
    """REST name by number: lower case, no type prefix (`APPOINTMENT_STATUS_NO_SHOW`: `no_show`).

    Reasons are spelled as the `error` of an error body is, in capitals; no reason is the empty text.
    """
    prefix = _WORD_STARTS.sub("_", enum.name).upper() + "_"
    if enum.full_name == _REASONS:
        named = {value.number: value.name.removeprefix(prefix) for value in enum.values}
        return named | {0: ""}
    # With allow_alias several names share a number; the first one declared speaks.
    return {value.number: value.name.removeprefix(prefix).lower() for value in reversed(enum.values)}


@lru_cache(maxsize=1_024)
def enum_numbers(enum: EnumDescriptor) -> Mapping[str, int]:
    """Number by every accepted spelling: the REST name and the contract's full name."""
    numbers = {value.name: value.number for value in enum.values}
    return numbers | {name: number for number, name in enum_names(enum).items()}


def json_path(message: Descriptor, proto_path: str) -> str:
    """`location.default_timezone` as JSON names of `message`; unknown parts stay as they are."""
    names: list[str] = []
    current: Descriptor | None = message
    for part in proto_path.split("."):
        field: FieldDescriptor | None = current.fields_by_name.get(part) if current else None
        names.append(field.json_name if field else part)
        current = field.message_type if field else None
    return ".".join(names)


class RestNames:
    """How REST spells what services say of one route's request: they know the contract's names alone.

    `body` is the field that REST has as the whole body, empty when it has none: its fields are named without it.
    """

    def __init__(self, request: Descriptor, body: str) -> None:
        self._request = request
        field = request.fields_by_name.get(body)
        self._body = field
        self._spelled = _spelled(request)

    def path(self, path: str) -> str:
        """The JSON path of `location.default_timezone`; what is below free JSON stays as its sender wrote it."""
        parts = _PARTS.findall(path)
        current: Descriptor | None = self._request
        if self._body is not None:
            if len(parts) > 1 and parts[0][0] in (self._body.name, self._body.json_name):
                parts = parts[1:]
                current = self._body.message_type
            elif parts and _field(self._request, parts[0][0]) is None:
                current = self._body.message_type
        names: list[str] = []
        for name, subscript in parts:
            field = _field(current, name)
            is_unknown_here = field is None and not names
            names.append(
                (field.json_name if field else _camel(name) if is_unknown_here else name) + subscript
            )
            current = field.message_type if field else None
        return ".".join(names) or path

    def text(self, text: str) -> str:
        """A sentence with the JSON names of the fields that it names."""
        return _WORDS.sub(lambda word: self._spelled.get(word[0], word[0]), text)


_PARTS = re.compile(r"([^.\[\]]+)((?:\[[^\]]*\])*)")
_WORDS = re.compile(r"\b[a-z0-9]+(?:_[a-z0-9]+)+\b")


def _field(message: Descriptor | None, name: str) -> FieldDescriptor | None:
    if message is None or message.full_name.startswith("google.protobuf."):
        return None
    named = message.fields_by_name.get(name)
    return named or next((field for field in message.fields if field.json_name == name), None)


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(word.title() for word in others)


def _spelled(request: Descriptor) -> Mapping[str, str]:
    """The JSON name of every field in a request and below, by the contract's."""
    names: dict[str, str] = {}
    seen, waiting = {request.full_name}, [request]
    while waiting:
        for field in waiting.pop().fields:
            names[field.name] = field.json_name
            inner = field.message_type
            if inner is not None and inner.full_name not in seen:
                seen.add(inner.full_name)
                waiting.append(inner)
    return names


def descriptor_of(message: Message) -> Descriptor:
    """The type of a message; the stubs name two classes for it, which behave alike."""
    return message.DESCRIPTOR  # type: ignore[return-value]


def message_type(field: FieldDescriptor) -> Descriptor:
    """The message type of a field that has one. Raises TypeError."""
    if field.message_type is None:
        raise TypeError(f"{field.full_name} is not a message")
    return field.message_type


def enum_type(field: FieldDescriptor) -> EnumDescriptor:
    """The enum of a field that has one. Raises TypeError."""
    if field.enum_type is None:
        raise TypeError(f"{field.full_name} is not an enum")
    return field.enum_type


def is_map(field: FieldDescriptor) -> bool:
    """Whether a repeated field is a `map<…>`."""
    if field.type != FieldDescriptor.TYPE_MESSAGE:
        return False
    inner = message_type(field)
    return bool(inner.has_options and inner.GetOptions().map_entry)

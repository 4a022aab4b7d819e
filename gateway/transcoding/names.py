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

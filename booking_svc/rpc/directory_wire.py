"""The directory's messages as records, and entries as messages: driven by the messages' descriptors.

A record holds plain values by the contract's field names; enums are their lower-case words without the type's prefix.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final, TypeVar

from google.protobuf import json_format
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message
from google.protobuf.struct_pb2 import ListValue, Struct
from medforall.directory.v1.directory_types_pb2 import Window
from medforall.options.v1 import options_pb2

from booking_svc.directory.changing import Part
from booking_svc.directory.entities import Entry, Record
from chassis.auth.principal import Principal, Role
from scheduling.errors import FieldViolation, Invalid

MessageT = TypeVar("MessageT", bound=Message)

READ_ONLY: Final = frozenset({"id", "clinic_id", "active", "created_at", "updated_at", "etag", "status"})
"""Fields that only the service sets; a create may choose its `id`."""


COUNTED_MAX: Final = 2**53
"""Beyond it a protobuf Struct, whose numbers are floats, leaves whole numbers out."""
_NUMBERS: Final = f"must be a number from -{COUNTED_MAX} to {COUNTED_MAX}; write a longer one as a text"


PUBLIC_FIELDS: Final = {
    "Clinic": frozenset({"id", "name", "default_timezone", "status"}),
    "Location": frozenset({"id", "clinic_id", "name", "address", "timezone", "active"}),
    "Provider": frozenset({"id", "clinic_id", "name", "specialty", "active"}),
    "Service": frozenset({"id", "clinic_id", "name", "description", "default_duration_min", "active"}),
}
"""What a patient may know of a clinic's directory."""


PERSONAL_FIELDS: Final = ("name", "dob", "contact", "notes")
"""What a Patient says of a person."""


def record_of(message: Message) -> Record:
    """Everything that a caller may set, with zero values where nothing was said; ids are in lower case.

    Raises Invalid for a number of a free form that is none, or that another reader would round.
    """
    wrong = [FieldViolation(path, _NUMBERS) for path in _odd_numbers(message)]
    if wrong:
        raise Invalid("A number cannot be stored as it is.", violations=wrong)
    shown = json_format.MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    return {
        field.name: _plain(field, shown.get(field.name))
        for field in message.DESCRIPTOR.fields
        if field.name not in READ_ONLY
    }


def changes_of(message: Message, mask: FieldMask) -> Record:
    """The fields that the mask names by their contract name or camelCase; of a nested message, those named by path.

    Raises Invalid for an empty mask, and for one that names unknown or read-only fields.
    """
    record, changes, unknown = record_of(message), Record(), []
    for path in sorted(mask.paths, key=lambda path: "." in path, reverse=True):
        name, _, inner = (_snake(step) for step in path.partition("."))
        if name not in record or (inner and inner not in parts_of(message.DESCRIPTOR.fields_by_name[name])):
            unknown.append(path)
        elif inner:
            changes.setdefault(name, Part())[inner] = record[name].get(inner, "")
        else:
            changes[name] = record[name]
    if unknown or not changes:
        raise Invalid(
            "The update mask names nothing that can be changed.",
            violations=[FieldViolation("update_mask", f"{path[:50]} cannot be changed") for path in unknown]
            or [FieldViolation("update_mask", "must name at least one field")],
        )
    return changes


def parts_of(field: Any) -> Iterable[str]:
    """The fields that a path may name below a field; a free form and a list are changed as a whole."""
    is_whole = field.is_repeated or field.message_type in (None, Struct.DESCRIPTOR)
    return () if is_whole else field.message_type.fields_by_name


@contextmanager
def violations_within(name: str, message: type[Message]) -> Iterator[None]:
    """Say of a record that is refused where its fields stand in the request: in the message of field `name`."""
    try:
        yield
    except Invalid as refused:
        refused.violations = tuple(_within(name, message, violation) for violation in refused.violations)
        raise


def _within(name: str, message: type[Message], violation: FieldViolation) -> FieldViolation:
    first = re.split(r"[.\[]", violation.field, maxsplit=1)[0]
    is_inside = first in message.DESCRIPTOR.fields_by_name
    return FieldViolation(
        f"{name}.{violation.field}" if is_inside else violation.field, violation.description
    )


def message_of(entry: Entry, message: type[MessageT]) -> MessageT:
    """The entry as its message."""
    document = {
        field.name: value
        for field in message.DESCRIPTOR.fields
        if (value := _wire(field, entry.record.get(field.name))) not in (None, "", {}, [])
    }
    found = json_format.ParseDict(document, message())
    found.id, found.etag = entry.id, entry.etag  # type: ignore[attr-defined]
    if "clinic_id" in message.DESCRIPTOR.fields_by_name:
        found.clinic_id = entry.clinic_id  # type: ignore[attr-defined]
    if "active" in message.DESCRIPTOR.fields_by_name:
        found.active = entry.active  # type: ignore[attr-defined]
    found.created_at.FromDatetime(entry.created_at)  # type: ignore[attr-defined]
    found.updated_at.FromDatetime(entry.updated_at)  # type: ignore[attr-defined]
    return found


def shown_to(reader: Principal, message: MessageT) -> MessageT:
    """The message as a caller may see it.

    Patients see what is public, and leave no trace of the rest; a provider sees when others are away, not why.
    """
    if (
        reader.role is Role.PROVIDER
        and isinstance(message, Window)
        and message.resource_id != reader.provider_id
    ):
        message.ClearField("reason")
    if reader.role is Role.PATIENT and (public := PUBLIC_FIELDS.get(message.DESCRIPTOR.name)):
        for field in message.DESCRIPTOR.fields:
            if field.name not in public:
                message.ClearField(field.name)
    return message


def impersonal(message: MessageT) -> MessageT:
    """The patient as a caller may see it who writes personal data but does not read it."""
    for name in PERSONAL_FIELDS:
        message.ClearField(name)
    return message


def filters_of(request: Message, names: Iterable[str]) -> dict[str, str]:
    """The filters of a list request that were given; ids in lower case."""
    fields = request.DESCRIPTOR.fields_by_name
    return {name: _id(fields[name], value) for name in names if (value := getattr(request, name, ""))}


def _plain(field: Any, value: Any) -> Any:
    if field.type == FieldDescriptor.TYPE_MESSAGE and value is None:
        return {}
    if field.enum_type is not None and value is not None:
        return _word(field.enum_type, value)
    return _id(field, _whole(value))


def _id(field: Any, value: Any) -> Any:
    """An id, or several, as the database and events spell them; other values as they are."""
    if not field.GetOptions().Extensions[options_pb2.names]:
        return value
    return [item.lower() for item in value] if isinstance(value, list) else (value or "").lower()


def _wire(field: Any, value: Any) -> Any:
    if field.enum_type is not None and value:
        return f"{_prefix(field.enum_type)}{value.upper()}"
    return value


def _word(enum: Any, value: str) -> str:
    word = value.removeprefix(_prefix(enum)).lower()
    return "" if word == "unspecified" else word


def _prefix(enum: Any) -> str:
    return f"{_snake(enum.name).upper()}_"


def _snake(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


def _odd_numbers(message: Message, path: str = "") -> Iterator[str]:
    """Where the message's free forms hold numbers that are not finite, or beyond what floats count one by one."""
    for field, value in message.ListFields():
        if field.type != FieldDescriptor.TYPE_MESSAGE:
            continue
        here = f"{path}.{field.name}" if path else field.name
        if field.message_type is Struct.DESCRIPTOR:
            yield from (f"{here}{where}" for where in _odd_in(value))
        elif not field.is_repeated:
            yield from _odd_numbers(value, here)


def _odd_in(value: Any) -> Iterator[str]:
    if isinstance(value, float) and not (math.isfinite(value) and abs(value) <= COUNTED_MAX):
        yield ""
    elif isinstance(value, Struct):
        for name in value:
            yield from (f".{name[:50]}{where}" for where in _odd_in(value[name]))
    elif isinstance(value, ListValue):
        for index, item in enumerate(value):
            yield from (f"[{index}]{where}" for where in _odd_in(item))


def _whole(value: Any) -> Any:
    """Whole floats as integers: a protobuf Struct knows no integers."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, dict):
        return {key: _whole(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_whole(item) for item in value]
    return value

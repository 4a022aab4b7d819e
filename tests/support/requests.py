"""Requests made from their descriptors: every id-bearing field filled, and of the rest what a call needs."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from buf.validate import validate_pb2
from google.protobuf.message import Message
from google.protobuf.struct_pb2 import ListValue, Struct, Value
from medforall.directory.v1 import directory_types_pb2
from medforall.options.v1 import options_pb2

from tests.support.practice import MONDAY, at

Kind = int
Ids = Mapping[Kind, str]

READ_ONLY: Final = frozenset({"id", "clinic_id"})
"""Fields of an entity that the service sets itself: it does not read them from a request, but for a new entry's id."""


def _fresh() -> str:
    return uuid.uuid4().hex


# What a field needs, by `Message.field` or by the field's name alone; callables make a new value for each request.
_SAMPLES: Final[Mapping[str, Any]] = {
    "name": _fresh,
    "default_timezone": "UTC",
    "timezone": "UTC",
    "start": at(10)[:16],
    "Closure.end": at(11)[:16],
    "Window.end": at(18)[:16],
    "SearchSlotsRequest.end": at(12)[:16],
    "GetFreeBusyRequest.end": at(12)[:16],
    "Window.kind": directory_types_pb2.WINDOW_KIND_AVAILABLE,
    "date": MONDAY.isoformat(),
    "ListAppointmentsRequest.date": "",
    "start_date": MONDAY.isoformat(),
    "end_date": MONDAY.isoformat(),
    "type": "ecg",
    "default_duration_min": 30,
    "rule_type": "lead_time",
    "rule_payload": {"min_minutes": 5},
    "dob": "1980-04-30",
    "name_prefix": "Abcdef",
    "BreakGlassRequest.reason": "found unconscious at the door",
    "SetClinicStatusRequest.status": directory_types_pb2.CLINIC_STATUS_ACTIVE,
    "idempotency_key": _fresh,
    "weight": 10,
    "Join.request_id": 1,
}

# Filled although a request could do without them: there is nothing to ask otherwise.
_FILLED: Final = frozenset({"searches", "join"})

Wrap = Callable[[str], Any]


def _plain(value: str) -> str:
    return value


def _listed(value: str) -> list[str]:
    return [value]


CHANNELS: Final[Mapping[str, tuple[Kind, Wrap]]] = {
    "clinic": (options_pb2.RESOURCE_KIND_CLINIC, lambda value: [f"clinic:{value}"]),
    "provider": (options_pb2.RESOURCE_KIND_PROVIDER, lambda value: [f"provider:{value}"]),
    "location": (options_pb2.RESOURCE_KIND_LOCATION, lambda value: [f"location:{value}:{MONDAY}"]),
    "patient": (options_pb2.RESOURCE_KIND_PATIENT, lambda value: [f"patient:{value}"]),
}
"""What each kind of channel is about, and a list of the one that is about an id."""

# Fields whose ids are parts of something else, by `Message.field`: kind and form of each part.
_COMPOSED: Final[Mapping[str, Mapping[str, tuple[Kind, Wrap]]]] = {
    "SubscribeRequest.channels": CHANNELS,
    "Join.channels": CHANNELS,
    "Leave.channels": CHANNELS,
    "ServiceRule.rule_payload": {
        "provider_ids": (options_pb2.RESOURCE_KIND_PROVIDER, lambda value: {"provider_ids": [value]}),
    },
}
_FREE_FORMS: Final = (Struct.DESCRIPTOR, Value.DESCRIPTOR, ListValue.DESCRIPTOR)


@dataclass(frozen=True, slots=True)
class IdField:
    """A field that carries an id, by its path in the request; `part` says where in it when it carries more."""

    path: tuple[str, ...]
    kind: Kind
    wrap: Wrap = _plain
    part: str = ""

    @property
    def name(self) -> str:
        """Its path and part as text."""
        return ".".join((*self.path, self.part) if self.part else self.path)

    @property
    def is_read_only(self) -> bool:
        """Whether the service takes no notice of it: an entity's own id and clinic."""
        return len(self.path) > 1 and self.path[-1] in READ_ONLY and not self.path[0].startswith("searches")

    def put(self, request: Message, value: str) -> None:
        """Write an id there."""
        holder: Any = request
        for name in self.path[:-1]:
            found = getattr(holder, name)
            holder = (found[0] if found else found.add()) if hasattr(found, "add") else found
        _set(holder, self.path[-1], self.wrap(value))


def id_fields(message: Any, path: tuple[str, ...] = ()) -> Iterator[IdField]:
    """Every field of a message type that names something, nested ones included."""
    for field in message.fields:
        here = (*path, field.name)
        kind = field.GetOptions().Extensions[options_pb2.names]
        if kind:
            yield IdField(here, kind, _listed if field.is_repeated else _plain)
        elif field.message_type is not None and _is_ours(field):
            yield from id_fields(field.message_type, here)
        for part, (part_kind, wrap) in _COMPOSED.get(_name(field), {}).items():
            yield IdField(here, part_kind, wrap, part)


def unnamed_fields(message: Any) -> Iterator[str]:
    """Every field, nested ones included, that may carry ids of which `id_fields` knows nothing, as `Message.field`."""
    for field in message.fields:
        if _is_ours(field):
            yield from unnamed_fields(field.message_type)
        elif _may_carry_ids(field) and _name(field) not in _COMPOSED:
            yield _name(field)


def _may_carry_ids(field: Any) -> bool:
    if field.message_type is not None:
        return field.message_type in _FREE_FORMS
    rules = field.GetOptions().Extensions[validate_pb2.field]
    is_id = rules.string.uuid or rules.repeated.items.string.uuid or field.name.endswith(("_id", "_ids"))
    return (
        bool(is_id)
        and field.type == field.TYPE_STRING
        and not field.GetOptions().Extensions[options_pb2.names]
    )


def _name(field: Any) -> str:
    return f"{field.containing_type.name}.{field.name}"


def filled(request_type: Callable[[], Message], ids: Ids, special: Mapping[str, Any]) -> Message:
    """A request that a clinic with these ids could make; `special` overrules the samples by field name."""
    request = request_type()
    _fill(request, ids, special)
    if "update_mask" in request.DESCRIPTOR.fields_by_name:
        entity = next(field for field in request.DESCRIPTOR.fields if _is_ours(field) and field.message_type)
        set_fields = [field.name for field, _ in getattr(request, entity.name).ListFields()]
        request.update_mask.paths.extend(  # type: ignore[attr-defined]
            name for name in set_fields if name not in READ_ONLY
        )
    return request


def _fill(message: Message, ids: Ids, special: Mapping[str, Any]) -> None:
    for field in message.DESCRIPTOR.fields:
        kind = field.GetOptions().Extensions[options_pb2.names]
        if kind:
            wrap = _listed if field.is_repeated else _plain
            IdField((field.name,), kind, wrap).put(message, special.get(field.name, ids[kind]))
        elif field.message_type is not None and _is_ours(field):
            if _is_required(field) or field.name in _FILLED:
                inner = getattr(message, field.name)
                _fill(inner.add() if field.is_repeated else inner, ids, special)
                _as_entity(message, field)
        elif (value := _sample(message, field.name, special)) is not None:
            _set(message, field.name, value)


def _as_entity(message: Message, field: Any) -> None:
    """A new entity gets an id of its own."""
    if message.DESCRIPTOR.name.startswith("Create") and "id" in field.message_type.fields_by_name:
        getattr(message, field.name).id = str(uuid.uuid4())


def _sample(message: Message, name: str, special: Mapping[str, Any]) -> Any:
    own = f"{message.DESCRIPTOR.name}.{name}"
    value = special.get(name, _SAMPLES.get(own, _SAMPLES.get(name)))
    return value() if callable(value) else value


def _set(message: Message, name: str, value: Any) -> None:
    if isinstance(value, dict):
        getattr(message, name).Clear()
        getattr(message, name).update(value)
    elif isinstance(value, list):
        del getattr(message, name)[:]
        getattr(message, name).extend(value)
    else:
        setattr(message, name, value)


def _is_ours(field: Any) -> bool:
    return field.message_type is not None and field.message_type.full_name.startswith("medforall.")


def _is_required(field: Any) -> bool:
    return bool(field.GetOptions().Extensions[validate_pb2.field].required)

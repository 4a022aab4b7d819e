"""The shape of requests, as `buf.validate` in the contract says it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

import protovalidate
from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from chassis.interceptors.chain import Call
from scheduling.errors import FieldViolation, Invalid

_KEY_CHARS_SHOWN: Final = 40


class Validate:
    """Refuses a request whose shape the contract forbids, naming every field by its path in the contract.

    `services` are the ones whose requests it is to be ready for.
    """

    def __init__(self, services: Iterable[ServiceDescriptor] = ()) -> None:
        self._validator = protovalidate.Validator()
        # A message's rules are compiled when the first one is checked: no caller shall wait for that.
        for service in services:
            for method in service.methods:
                self._validator.collect_violations(GetMessageClass(method.input_type)())

    def enter(self, call: Call) -> None:
        """Do nothing: only messages have a shape."""

    def check(self, call: Call, request: Message) -> None:
        """Raise Invalid with a violation for each wrong field."""
        if not call.method.is_validated:
            return
        violations = self._validator.collect_violations(request)
        if violations:
            raise refusal([_violation(violation.proto) for violation in violations])
        # On the wire hardly anything but such a text has a zero byte: nearly no request is looked at twice.
        if b"\x00" in request.SerializeToString():
            nuls = [FieldViolation(path, "must not contain U+0000") for path in _nuls(request)]
            if nuls:
                raise refusal(nuls)

    def leave(self, call: Call) -> None:
        """Do nothing."""


def _nuls(message: Message, path: str = "") -> Iterator[str]:
    """The path of every text with U+0000, which PostgreSQL stores neither as text nor in JSON."""
    for field, value in message.ListFields():
        here = f"{path}.{field.name}" if path else field.name
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            for key, item in value.items():
                yield from _nuls_of(key, here)
                yield from _nuls_of(item, f'{here}["{str(key)[:_KEY_CHARS_SHOWN]}"]')
        elif field.is_repeated:
            for index, item in enumerate(value):
                yield from _nuls_of(item, f"{here}[{index}]")
        else:
            yield from _nuls_of(value, here)


def _nuls_of(value: object, path: str) -> Iterator[str]:
    if isinstance(value, Message):
        yield from _nuls(value, path)
    elif isinstance(value, str) and "\x00" in value:
        yield path.replace("\x00", "")


def refusal(violations: list[FieldViolation]) -> Invalid:
    """The error for `violations`, of which there is at least one."""
    first = violations[0]
    more = f" (and {len(violations) - 1} more)" if len(violations) > 1 else ""
    message = f"{first.field}: {first.description}{more}" if first.field else f"{first.description}{more}"
    return Invalid(message, violations=violations)


def _violation(proto: Any) -> FieldViolation:
    return FieldViolation(path_text(proto.field), proto.message or proto.rule_id or "is not valid")


def path_text(path: Any) -> str:
    """A protovalidate field path as text: `resources[2].start_utc`."""
    elements = path.elements if path is not None else ()
    return ".".join(element.field_name + _subscript(element.subscript) for element in elements)


def _subscript(subscript: Any) -> str:
    if subscript is None:
        return ""
    value = subscript.value
    return f'["{value}"]' if isinstance(value, str) else f"[{value}]"

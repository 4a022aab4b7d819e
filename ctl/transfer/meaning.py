"""From words to a record: each word by its field's type, then the contract's and the directory's own checks."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import protovalidate
from google.protobuf import json_format
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from medforall.options.v1 import options_pb2

from booking_svc.directory.changing import Part
from booking_svc.directory.checks import checked
from booking_svc.directory.entities import Kind, Record
from booking_svc.rpc.directory_wire import COUNTED_MAX, parts_of, record_of
from ctl.transfer.faults import Fault
from ctl.transfer.reading import Plain, RawEntry, Tree, Where
from ctl.transfer.sections import Section, id_of
from scheduling.errors import Invalid

_TRUTH: Final = {"true": True, "false": False, "yes": True, "no": False}
_WHOLE: Final = re.compile(r"-?[0-9]{1,18}")
_NUMBER: Final = re.compile(r"-?[0-9]+(\.[0-9]+)?([eE][-+]?[0-9]+)?")
_SET_BY_SERVICE: Final = frozenset({"clinic_id", "created_at", "updated_at", "etag", "status"})
_STEPS: Final = re.compile(r"[^.\[\]]+")
_VALIDATOR: Final = protovalidate.Validator()


@dataclass(frozen=True, slots=True)
class Wanted:
    """An entry that a file asks for: as it is made, and what the file names of it, which is all that changes later."""

    section: Section
    id: str
    record: Record
    changes: Record
    active: bool
    raw: RawEntry


class WrongError(Exception):
    """A value that its field does not take: what it must be."""


class Interpreter:
    """Makes entries of one clinic, and collects what is wrong with them."""

    def __init__(self, clinic_id: str) -> None:
        self._clinic_id = clinic_id

    def wanted(self, section: Section, raw: RawEntry, faults: list[Fault] | None) -> Wanted | None:
        """The entry; None when it has faults, which are added. Without a list it was checked before."""
        found: list[Fault] = []
        document = self._document(section, raw, found)
        message = section.message()
        if not found:
            try:
                json_format.ParseDict(document, message)
            except json_format.ParseError:
                found.append(raw.fault((), "does not fit the contract"))
        if not found and faults is not None:
            found += contract_faults(message, raw)
        record: Record = {}
        if not found:
            record, more = _checked(section, message, raw)
            found += more
        if found:
            if faults is not None:
                faults += found
            return None
        changes = _named(message, raw.tree, record)
        return Wanted(section, message.id, record, changes, document.get("active", True), raw)

    def _document(self, section: Section, raw: RawEntry, faults: list[Fault]) -> dict[str, Any]:
        if not isinstance(raw.tree, dict):
            faults.append(raw.fault((), "must be a mapping of fields"))
            return {}
        if not raw.tree.get("id") and section.kind is not Kind.CLINIC:
            faults.append(raw.fault((), "needs an id: a UUID, or a word of your own"))
        document = self._message(section.message.DESCRIPTOR, raw.tree, (), raw, faults)
        if section.kind is Kind.CLINIC:
            document.pop("id", None)
        if section.kind is Kind.SERVICE_RULE:
            self._rule_ids(document.get("rule_payload"))
        return document

    def _rule_ids(self, payload: Any) -> None:
        """Providers inside of a rule's payload may be words too."""
        ids = payload.get("provider_ids") if isinstance(payload, dict) else None
        if isinstance(ids, list):
            payload["provider_ids"] = [id_of(str(word), self._clinic_id) for word in ids]

    def _message(
        self, descriptor: Any, tree: dict[str, Tree], where: Where, raw: RawEntry, faults: list[Fault]
    ) -> dict[str, Any]:
        document: dict[str, Any] = {}
        for name, value in tree.items():
            field = descriptor.fields_by_name.get(name)
            if field is None or (not where and name in _SET_BY_SERVICE):
                faults.append(raw.fault((*where, name), "is no field that can be set"))
            elif value is not None:
                try:
                    document[name] = self._field(field, value, (*where, name), raw, faults)
                except WrongError as error:
                    faults.append(raw.fault((*where, name), str(error)))
        return document

    def _field(self, field: Any, value: Tree, where: Where, raw: RawEntry, faults: list[Fault]) -> Any:
        if field.message_type is not None and field.message_type.full_name == "google.protobuf.Struct":
            if not isinstance(value, dict):
                raise WrongError("must be a mapping")
            return _free(value)
        if not field.is_repeated:
            return self._single(field, value, where, raw, faults)
        if not isinstance(value, list):
            raise WrongError("must be a list")
        return [self._single(field, item, (*where, place), raw, faults) for place, item in enumerate(value)]

    def _single(self, field: Any, value: Tree, where: Where, raw: RawEntry, faults: list[Fault]) -> Any:
        if field.message_type is not None:
            if not isinstance(value, dict):
                raise WrongError("must be a mapping")
            return self._message(field.message_type, value, where, raw, faults)
        return scalar_of(field, value, self._clinic_id)


def scalar_of(field: Any, value: Tree, clinic_id: str) -> Any:
    """A single value as its field takes it; a word where an id belongs stands for one. Raises WrongError."""
    if not isinstance(value, str):
        raise WrongError("must be a single value")
    _refuse_nul(value)
    return id_of(value, clinic_id) if _is_id(field) else _scalar(field, value)


@cache
def _is_id(field: Any) -> bool:
    return bool(field.GetOptions().Extensions[options_pb2.names])


def _scalar(field: Any, word: str) -> Any:
    if field.type == FieldDescriptor.TYPE_BOOL:
        if word.lower() not in _TRUTH:
            raise WrongError("must be true or false")
        return _TRUTH[word.lower()]
    if field.enum_type is not None:
        return _enum(field.enum_type, word)
    if field.type in (FieldDescriptor.TYPE_INT32, FieldDescriptor.TYPE_INT64):
        if not _WHOLE.fullmatch(word):
            raise WrongError("must be a whole number")
        return int(word)
    return str(word)


def _enum(enum: Any, word: str) -> str:
    names = [value.name for value in enum.values[1:]]
    prefix = enum.values[0].name.removesuffix("UNSPECIFIED")
    if f"{prefix}{word.upper()}" not in names:
        known = ", ".join(name.removeprefix(prefix).lower() for name in names)
        raise WrongError(f"must be one of: {known}")
    return f"{prefix}{word.upper()}"


def _free(value: Tree) -> Any:
    """A value of a free form: plain words become numbers and truth values where they are written like it."""
    if isinstance(value, dict):
        for name in value:
            _refuse_nul(name)
        return {name: _free(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_free(item) for item in value]
    if value is None:
        return None
    _refuse_nul(value)
    if isinstance(value, Plain):
        if value in ("true", "false"):
            return value == "true"
        if _NUMBER.fullmatch(value) and (number := _number(value)) is not None:
            return number
    return str(value)


def _number(word: str) -> float | None:
    """The number that a word is written as; None for one that would come back as another word."""
    number = float(word) if "." in word or "e" in word.lower() else int(word)
    return number if str(number) == word and abs(number) <= COUNTED_MAX else None


def _refuse_nul(word: str) -> None:
    """PostgreSQL stores no U+0000, neither in text nor in JSON."""
    if "\x00" in word:
        raise WrongError("must not contain U+0000")


def contract_faults(message: Message, raw: RawEntry) -> list[Fault]:
    """What the contract says is wrong with a message."""
    return [
        raw.fault(_where(violation.proto.field), violation.proto.message or "is not valid")
        for violation in _VALIDATOR.collect_violations(message)
    ]


def _where(path: Any) -> Where:
    steps: list[str | int] = []
    for element in path.elements:
        steps.append(element.field_name)
        if element.subscript is not None and element.subscript.field == "index":
            steps.append(element.subscript.value)
    return tuple(steps)


def _named(message: Message, tree: dict[str, Tree], record: Record) -> Record:
    """Of a record what the file names: whole fields, or fields of a nested one. A null is named, and says nothing."""
    changes: Record = {}
    for name in tree.keys() & record.keys():
        below = parts_of(message.DESCRIPTOR.fields_by_name[name])
        if isinstance(tree[name], dict) and below:
            changes[name] = Part({inner: record[name].get(inner, "") for inner in tree[name]})
        else:
            changes[name] = record[name]
    return changes


def _checked(section: Section, message: Message, raw: RawEntry) -> tuple[Record, list[Fault]]:
    try:
        record = record_of(message)
        for name in section.entity.unset_means:
            record[name] = None if raw.tree.get(name) is None else record[name]
        return checked(section.entity, record), []
    except Invalid as refused:
        return {}, [
            raw.fault(_steps(violation.field), violation.description) for violation in refused.violations
        ] or [raw.fault((), refused.message)]


def _steps(field: str) -> Where:
    return tuple(int(step) if step.isdigit() else step for step in _STEPS.findall(field))

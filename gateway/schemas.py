"""JSON Schemas of the contract's messages, with the limits of `buf.validate` and the contract's comments.

A message has two schemas. As an answer it has every field without presence; as a request it has what validation
demands, `null` for "not given", and no field that the contract does not know.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from buf.validate import validate_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor

from gateway.transcoding.names import enum_names, enum_type, is_map, message_type

Schema = dict[str, Any]

_INTEGERS_32 = {
    FieldDescriptor.TYPE_INT32: "int32",
    FieldDescriptor.TYPE_SINT32: "sint32",
    FieldDescriptor.TYPE_SFIXED32: "sfixed32",
    FieldDescriptor.TYPE_UINT32: "uint32",
    FieldDescriptor.TYPE_FIXED32: "fixed32",
}
_INTEGERS_64 = {
    FieldDescriptor.TYPE_INT64: "int64",
    FieldDescriptor.TYPE_SINT64: "sint64",
    FieldDescriptor.TYPE_SFIXED64: "sfixed64",
    FieldDescriptor.TYPE_UINT64: "uint64",
    FieldDescriptor.TYPE_FIXED64: "fixed64",
}
_WELL_KNOWN: Mapping[str, Schema] = {
    "google.protobuf.Timestamp": {"type": "string", "format": "date-time"},
    "google.protobuf.Duration": {"type": "string", "pattern": r"^-?[0-9]+(\.[0-9]+)?s$"},
    "google.protobuf.FieldMask": {"type": "string", "description": "Field names, comma-separated."},
    "google.protobuf.Struct": {"type": "object", "additionalProperties": True},
    "google.protobuf.Value": {},
    "google.protobuf.ListValue": {"type": "array", "items": {}},
    "google.protobuf.Empty": {"type": "object", "additionalProperties": False},
}


class Schemas:
    """Collects the schemas that a document refers to. `comments` are by full name of message or field."""

    def __init__(self, comments: Mapping[str, str]) -> None:
        self._comments = comments
        self._made: dict[str, Schema] = {}
        self._answers: set[str] = set()

    @property
    def made(self) -> Mapping[str, Schema]:
        """Every schema that was referred to, by name, in alphabetical order."""
        return dict(sorted(self._made.items()))

    def answer(self, message: Descriptor) -> Schema:
        """A reference to `message` as it is answered."""
        return self._reference(message, is_request=False, omit=frozenset())

    def request(self, message: Descriptor, omit: frozenset[str] = frozenset()) -> Schema:
        """A reference to `message` as a request body; `omit` are fields that the path fills."""
        return self._reference(message, is_request=True, omit=omit)

    def field(self, field: FieldDescriptor, *, is_request: bool) -> Schema:
        """The schema of one field, with its comment and its limits."""
        schema = self._shape(field, is_request=is_request)
        comment = self._comments.get(field.full_name)
        if comment:
            # Beside a $ref, OpenAPI 3.1 allows a description.
            schema = {**schema, "description": comment}
        return schema

    def _reference(self, message: Descriptor, *, is_request: bool, omit: frozenset[str]) -> Schema:
        known = _WELL_KNOWN.get(message.full_name)
        if known is not None:
            return dict(known)
        name = _schema_name(message, is_request=is_request)
        if name not in self._made:
            self._made[name] = {}
            self._made[name].update(self._object(message, is_request=is_request, omit=omit))
        return {"$ref": f"#/components/schemas/{name}"}

    def _object(self, message: Descriptor, *, is_request: bool, omit: frozenset[str]) -> Schema:
        fields = [field for field in message.fields if field.name not in omit]
        required = [field.json_name for field in fields if _is_required(field, is_request=is_request)]
        schema: Schema = {"type": "object"}
        comment = self._comments.get(message.full_name)
        if comment:
            schema["description"] = comment
        schema["properties"] = {field.json_name: self.field(field, is_request=is_request) for field in fields}
        if required:
            schema["required"] = required
        if is_request:
            schema["additionalProperties"] = False
            schema["properties"] = {
                name: value if name in required else nullable(value)
                for name, value in schema["properties"].items()
            }
        return schema

    def _shape(self, field: FieldDescriptor, *, is_request: bool) -> Schema:
        if is_map(field):
            value = message_type(field).fields_by_name["value"]
            return {"type": "object", "additionalProperties": self._one(value, None, is_request=is_request)}
        rules = rules_of(field)
        if not field.is_repeated:
            return self._one(field, rules, is_request=is_request)
        inner = rules.repeated.items if rules is not None and rules.repeated.HasField("items") else None
        schema: Schema = {"type": "array", "items": self._one(field, inner, is_request=is_request)}
        if is_request and rules is not None:
            schema |= _given(rules.repeated, {"min_items": "minItems", "max_items": "maxItems"})
        return schema

    def _one(
        self, field: FieldDescriptor, rules: validate_pb2.FieldRules | None, *, is_request: bool
    ) -> Schema:
        """The schema of a single value of the field's type."""
        if field.type == FieldDescriptor.TYPE_MESSAGE:
            return self._reference(message_type(field), is_request=is_request, omit=frozenset())
        if field.type == FieldDescriptor.TYPE_ENUM:
            return {"type": "string", "enum": _enum_values(field, is_request=is_request)}
        schema = _scalar(field, is_request=is_request)
        if is_request and rules is not None:
            schema |= _limits(field, rules)
        return schema


def _schema_name(message: Descriptor, *, is_request: bool) -> str:
    """Requests are named as in the contract; other messages inside of them get `Input`."""
    name = message.full_name.split(".v1.")[-1].replace(".", "")
    return name + "Input" if is_request and not name.endswith("Request") else name


def _is_required(field: FieldDescriptor, *, is_request: bool) -> bool:
    if not is_request:
        return not field.has_presence
    return is_demanded(field)


def is_demanded(field: FieldDescriptor) -> bool:
    """Whether validation refuses a request without this field."""
    rules = rules_of(field)
    if rules is None:
        return False
    if rules.required:
        return True
    if rules.ignore == validate_pb2.IGNORE_IF_ZERO_VALUE or field.has_presence:
        return False
    if field.is_repeated:
        return rules.repeated.min_items > 0
    text = rules.string
    return bool(text.uuid or text.min_len > 0 or text.pattern) or _refuses_zero(rules)


def _refuses_zero(rules: validate_pb2.FieldRules) -> bool:
    kind = rules.WhichOneof("type")
    if kind not in ("int32", "int64", "uint32", "uint64"):
        return False
    number = getattr(rules, kind)
    return bool((number.HasField("gte") and number.gte > 0) or (number.HasField("gt") and number.gt >= 0))


def rules_of(field: FieldDescriptor) -> validate_pb2.FieldRules | None:
    """The field's validation rules, if it has any."""
    options = field.GetOptions()
    if not options.HasExtension(validate_pb2.field):
        return None
    return options.Extensions[validate_pb2.field]


def _enum_values(field: FieldDescriptor, *, is_request: bool) -> list[str]:
    enum = enum_type(field)
    names = enum_names(enum)
    numbers = sorted(names)
    return [names[number] for number in numbers if number or not is_request]


_OTHER_SCALARS: Mapping[int, Schema] = {
    FieldDescriptor.TYPE_BOOL: {"type": "boolean"},
    FieldDescriptor.TYPE_DOUBLE: {"type": "number", "format": "double"},
    FieldDescriptor.TYPE_FLOAT: {"type": "number", "format": "float"},
    FieldDescriptor.TYPE_BYTES: {"type": "string", "contentEncoding": "base64"},
    FieldDescriptor.TYPE_STRING: {"type": "string"},
}


def _scalar(field: FieldDescriptor, *, is_request: bool) -> Schema:
    if field.type in _INTEGERS_32:
        return {"type": "integer", "format": _INTEGERS_32[field.type]}
    if field.type in _INTEGERS_64:
        kind: Any = ["string", "integer"] if is_request else "string"
        return {"type": kind, "format": _INTEGERS_64[field.type]}
    return dict(_OTHER_SCALARS[field.type])


def _limits(field: FieldDescriptor, rules: validate_pb2.FieldRules) -> Schema:
    kind = rules.WhichOneof("type")
    if kind == "string":
        schema = _given(rules.string, {"min_len": "minLength", "max_len": "maxLength", "pattern": "pattern"})
        return schema | ({"format": "uuid"} if rules.string.uuid else {})
    if kind in ("int32", "int64", "uint32", "uint64", "double", "float"):
        limits = _given(
            getattr(rules, kind),
            {"gte": "minimum", "lte": "maximum", "gt": "exclusiveMinimum", "lt": "exclusiveMaximum"},
        )
        # As a string a 64-bit number has no minimum that JSON Schema could say.
        return {} if field.type in _INTEGERS_64 else limits
    return {}


def _given(rules: Any, names: Mapping[str, str]) -> Schema:
    return {name: getattr(rules, rule) for rule, name in names.items() if rules.HasField(rule)}


def nullable(schema: Schema) -> Schema:
    """The same, or null."""
    if "$ref" in schema:
        reference = {key: value for key, value in schema.items() if key != "description"}
        described = {"description": schema["description"]} if "description" in schema else {}
        return {**described, "anyOf": [reference, {"type": "null"}]}
    if "type" not in schema:
        return schema
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    widened = {**schema, "type": [*kinds, "null"]}
    if "enum" in schema:
        widened["enum"] = [*schema["enum"], None]
    return widened


def comments_of(files: Iterable[Any]) -> dict[str, str]:
    """Comments by full name, from FileDescriptorProtos that carry source information."""
    comments: dict[str, str] = {}
    for file in files:
        located = {tuple(location.path): location for location in file.source_code_info.location}
        for path, name in _names(file):
            location = located.get(path)
            if location is not None and location.leading_comments:
                comments[name] = _text(location.leading_comments)
    return comments


_MESSAGES, _ENUMS, _SERVICES = 4, 5, 6


def _names(file: Any) -> Iterable[tuple[tuple[int, ...], str]]:
    """Every element of a file that may be commented: its path in the source information, and its full name."""
    for index, message in enumerate(file.message_type):
        yield from _message_names((_MESSAGES, index), f"{file.package}.{message.name}", message)
    for index, enum in enumerate(file.enum_type):
        name = f"{file.package}.{enum.name}"
        yield (_ENUMS, index), name
        for position, value in enumerate(enum.value):
            yield (_ENUMS, index, 2, position), f"{name}.{value.name}"
    for index, service in enumerate(file.service):
        name = f"{file.package}.{service.name}"
        yield (_SERVICES, index), name
        for position, method in enumerate(service.method):
            yield (_SERVICES, index, 2, position), f"{name}.{method.name}"


def _message_names(path: tuple[int, ...], name: str, message: Any) -> Iterable[tuple[tuple[int, ...], str]]:
    yield path, name
    for index, field in enumerate(message.field):
        yield (*path, 2, index), f"{name}.{field.name}"
    for index, nested in enumerate(message.nested_type):
        yield from _message_names((*path, 3, index), f"{name}.{nested.name}", nested)


def _text(comment: str) -> str:
    """Lines joined to paragraphs: contracts are wrapped for people who read them as they are."""
    paragraphs = comment.strip().split("\n\n") if "\n\n" in comment else comment.strip().split("\n \n")
    return "\n\n".join(" ".join(line.strip() for line in paragraph.splitlines()) for paragraph in paragraphs)

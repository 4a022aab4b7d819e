"""The REST surface is what the contracts say: routes, documents, access, and JSON equal to json_format."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import orjson
import pytest
from google.protobuf import json_format, message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from medforall.options.v1 import options_pb2
from medforall.type.v1 import reason_pb2, scheduling_pb2

from gateway.contracts import load_contracts, load_files
from gateway.http_policy import Caching, policies
from gateway.realtime.paths import SSE_PATH, TICKETS_PATH
from gateway.transcoding.bindings import Binding, bindings_of
from gateway.transcoding.decoding import Decoder, Violations
from gateway.transcoding.encoding import Encoder
from gateway.transcoding.names import enum_names, is_map

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = ROOT / "gateway" / "documents"
BINDINGS = bindings_of([contract.service for contract in load_contracts()])


def message_types() -> list[Descriptor]:
    """Every message of the contracts, those inside others too."""
    found: dict[str, Descriptor] = {}

    def add(message: Descriptor) -> None:
        if message.full_name not in found and not message.GetOptions().map_entry:
            found[message.full_name] = message
            for nested in message.nested_types:
                add(nested)

    for file in [*load_files(), scheduling_pb2.DESCRIPTOR, reason_pb2.DESCRIPTOR]:
        for message in file.message_types_by_name.values():
            add(message)
    return list(found.values())


MESSAGES = message_types()

_TEXT = st.text(st.characters(codec="utf-8"), max_size=12)
_SECONDS = st.integers(0, 4_102_444_800)
_SCALARS: dict[int, st.SearchStrategy[Any]] = {
    FieldDescriptor.TYPE_STRING: _TEXT,
    FieldDescriptor.TYPE_BYTES: st.binary(max_size=12),
    FieldDescriptor.TYPE_BOOL: st.booleans(),
    FieldDescriptor.TYPE_DOUBLE: st.floats(),
    FieldDescriptor.TYPE_FLOAT: st.floats(width=32),
    FieldDescriptor.TYPE_INT32: st.integers(-(2**31), 2**31 - 1),
    FieldDescriptor.TYPE_UINT32: st.integers(0, 2**32 - 1),
    FieldDescriptor.TYPE_INT64: st.integers(-(2**63), 2**63 - 1),
    FieldDescriptor.TYPE_UINT64: st.integers(0, 2**64 - 1),
}


def values_of(draw: st.DrawFn, field: FieldDescriptor, depth: int) -> Any:
    """A value of a field that is not a message."""
    if field.type == FieldDescriptor.TYPE_ENUM:
        assert field.enum_type is not None
        return draw(st.sampled_from([value.number for value in field.enum_type.values]))
    return draw(_SCALARS[field.type])


@st.composite
def messages(draw: st.DrawFn, descriptor: Descriptor, depth: int = 0) -> Message:
    """A message of any type, with any of its fields set."""
    message = message_factory.GetMessageClass(descriptor)()
    if descriptor.full_name == "google.protobuf.Timestamp":
        message.seconds = draw(_SECONDS)  # type: ignore[attr-defined]
        message.nanos = draw(st.sampled_from([0, 5_000_000, 120_000_000, 7_000, 999_999_999]))  # type: ignore[attr-defined]
        return message
    if descriptor.full_name == "google.protobuf.Struct":
        json_format.ParseDict(
            draw(st.dictionaries(_TEXT, st.one_of(st.none(), st.booleans(), _TEXT))), message
        )
        return message
    if descriptor.full_name == "google.protobuf.FieldMask":
        message.paths.extend(draw(st.lists(st.sampled_from(["name", "default_timezone"]))))  # type: ignore[attr-defined]
        return message
    for field in descriptor.fields:
        if depth < 3 and draw(st.booleans()):
            fill(draw, message, field, depth)
    return message


def fill(draw: st.DrawFn, message: Message, field: FieldDescriptor, depth: int) -> None:
    """Set one field."""
    assert not is_map(field), "teach this test maps: the contracts have one now"
    if field.message_type is not None:
        count = draw(st.integers(0, 2)) if field.is_repeated else 1
        for _ in range(count):
            inner = draw(messages(field.message_type, depth + 1))
            getattr(message, field.name).add().CopyFrom(inner) if field.is_repeated else getattr(
                message, field.name
            ).CopyFrom(inner)
    elif field.is_repeated:
        getattr(message, field.name).extend(
            values_of(draw, field, depth) for _ in range(draw(st.integers(0, 3)))
        )
    else:
        setattr(message, field.name, values_of(draw, field, depth))


def in_rest_spelling(value: Any, descriptor: Descriptor) -> Any:
    """json_format's dictionary with enum values as REST spells them: the one named difference."""
    if descriptor.full_name.startswith("google.protobuf."):
        return value
    fields = {field.json_name: field for field in descriptor.fields}
    return {name: _spelt(item, fields[name]) for name, item in value.items()}


def _spelt(value: Any, field: FieldDescriptor) -> Any:
    if field.is_repeated:
        return [_spelt_one(item, field) for item in value]
    return _spelt_one(value, field)


def _spelt_one(value: Any, field: FieldDescriptor) -> Any:
    if field.enum_type is not None:
        return enum_names(field.enum_type)[field.enum_type.values_by_name[value].number]
    return in_rest_spelling(value, field.message_type) if field.message_type is not None else value


def written_json(message: Message) -> Any:
    """What the encoder makes of a message, read again from the text that is sent."""
    return orjson.loads(orjson.dumps(Encoder().encode(message)))


@pytest.mark.parametrize("descriptor", MESSAGES, ids=lambda descriptor: descriptor.full_name)
@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
@given(data=st.data())
def test_json_equals_json_format(descriptor: Descriptor, data: st.DataObject) -> None:
    """The compiled encoder writes what json_format writes, but for the spelling of enum values."""
    message = data.draw(messages(descriptor))
    expected = json_format.MessageToDict(message, always_print_fields_with_no_presence=True)
    made = written_json(message)
    # Through JSON text: NaN is not equal to itself, and -0.0 is 0.0.
    assert json.dumps(made, sort_keys=True) == json.dumps(
        in_rest_spelling(expected, descriptor), sort_keys=True
    )


@pytest.mark.parametrize("descriptor", MESSAGES, ids=lambda descriptor: descriptor.full_name)
@settings(
    max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
@given(data=st.data())
def test_what_is_written_can_be_read(descriptor: Descriptor, data: st.DataObject) -> None:
    """The strict decoder gives back the message that the encoder wrote, where JSON can say it."""
    message = data.draw(messages(descriptor))
    written = written_json(message)
    read = message_factory.GetMessageClass(descriptor)()
    violations = Violations()
    Decoder().decode(written, read, violations)
    # Numbers that JSON has no word for, and U+0000, are refused on the way in.
    if not violations.found:
        assert written_json(read) == written
    else:
        assert all(
            one.description in ("must not contain U+0000", "must be a number") for one in violations.found
        )


def test_every_rpc_has_a_route_or_streams() -> None:
    """An RPC of the contracts is in REST, unless it streams, and says who may call it and at which rate."""
    routed = {binding.grpc_path for binding in BINDINGS}
    for contract in load_contracts():
        for rpc in contract.service.methods:
            access = rpc.GetOptions().Extensions[options_pb2.access]
            assert access.roles or access.public, rpc.full_name
            if rpc.server_streaming or rpc.client_streaming:
                continue
            assert f"/{contract.service.full_name}/{rpc.name}" in routed, rpc.full_name
            assert access.rate_class != options_pb2.RATE_CLASS_UNSPECIFIED, rpc.full_name


@pytest.mark.parametrize("binding", BINDINGS, ids=lambda binding: binding.rpc.name)
def test_mutations_take_a_key_and_are_not_read_calls(binding: Binding) -> None:
    """What changes something is not a GET and takes an idempotency key; what does not is never stored as one."""
    if binding.access.mutating:
        assert binding.http_method != "GET"
        assert "idempotency_key" in binding.request.fields_by_name
    elif binding.http_method == "GET":
        assert "idempotency_key" not in binding.request.fields_by_name


def test_what_is_created_can_be_found() -> None:
    """Every call that answers 201 says where the new thing is."""
    lost = [
        binding.rpc.name
        for binding, policy in zip(BINDINGS, policies(BINDINGS), strict=True)
        if policy.success_status == 201 and policy.location is None
    ]
    assert lost == []


def test_the_documents_are_what_the_contracts_say() -> None:
    """Generating the OpenAPI and AsyncAPI documents again changes nothing."""
    done = subprocess.run(
        [sys.executable, "tools/generate_openapi.py", "--check"],
        cwd=ROOT,
        env={"PYTHONPATH": f"{ROOT}:{ROOT / 'gen'}", "PATH": ""},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def _references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for name, item in value.items():
            if name == "$ref":
                yield item
            else:
                yield from _references(item)
    elif isinstance(value, list):
        for item in value:
            yield from _references(item)


@pytest.mark.parametrize("name", ["openapi.json", "asyncapi.json"])
def test_references_lead_somewhere(name: str) -> None:
    """Every $ref of a document is in it, and every schema is valid JSON Schema."""
    document = json.loads((DOCUMENTS / name).read_text())
    for reference in set(_references(document)):
        value: Any = document
        for part in reference.removeprefix("#/").split("/"):
            value = value[part]
    for schema in document["components"]["schemas"].values():
        jsonschema_rs.meta.validate({"$schema": "https://json-schema.org/draft/2020-12/schema", **schema})


def test_the_document_has_every_route() -> None:
    """Each route is in the document once, under its own operation id; so are the two of realtime."""
    document = json.loads((DOCUMENTS / "openapi.json").read_text())
    operations = [operation for methods in document["paths"].values() for operation in methods.values()]
    assert len(operations) == len(BINDINGS) + 2
    assert {SSE_PATH, TICKETS_PATH} <= set(document["paths"])
    assert len({operation["operationId"] for operation in operations}) == len(operations)
    assert all(operation["summary"] for operation in operations)


def _headers(document: dict[str, Any], response: dict[str, Any]) -> set[str]:
    """The headers that an operation's response, or what it refers to, describes."""
    named = response.get("$ref", "").rpartition("/")[2]
    found = document["components"]["responses"][named] if named else response
    return set(found.get("headers", {}))


def test_the_document_says_which_headers_answers_have() -> None:
    """Each route's answers say how long they may be kept, what is left of the rate, and what a refusal asks for."""
    document = json.loads((DOCUMENTS / "openapi.json").read_text())
    rate = {"X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset"}
    for binding, policy in zip(BINDINGS, policies(BINDINGS), strict=True):
        path = re.sub(r"{([a-z_]+)}", lambda found: "{" + _camel(found[1]) + "}", binding.template)
        responses = document["paths"][path][binding.http_method.lower()]["responses"]
        good = _headers(document, responses[str(policy.success_status)])
        assert "Cache-Control" in good, path
        assert (good & rate) == (set() if policy.caching is Caching.PUBLIC else rate), path
        if "304" in responses:
            kept = _headers(document, responses["304"])
            assert ("ETag" in kept) == ("ETag" in good), path
            assert ("X-Fetched-At" in kept) == policy.has_metadata, path
        assert _headers(document, responses["401"]) >= rate | {"WWW-Authenticate"}
        assert _headers(document, responses["429"]) >= rate | {"Retry-After"}
        assert "Retry-After" in _headers(document, responses["503"])


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(word.title() for word in others)


def test_what_a_call_cannot_do_without_is_required() -> None:
    """A list of windows is of one resource, and the document says so."""
    document = json.loads((DOCUMENTS / "openapi.json").read_text())
    parameters = document["paths"]["/v1/clinics/{clinicId}/windows"]["get"]["parameters"]
    required = {one["name"] for one in parameters if one["required"]}
    assert required == {"clinicId", "resourceId"}

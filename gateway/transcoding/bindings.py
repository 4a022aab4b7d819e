"""What `google.api.http` says of each RPC: method, path, and where the request's fields come from."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from google.api import annotations_pb2, http_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor, ServiceDescriptor
from medforall.options.v1 import options_pb2

from gateway.transcoding.names import message_type

WHOLE_BODY = "*"

_VARIABLE = re.compile(r"\{([a-z][a-z0-9_]*(?:\.[a-z][a-z0-9_]*)*)\}")
_LITERAL = re.compile(r"[A-Za-z0-9._~-]+")


class UnsupportedBinding(Exception):
    """A contract asks for a route that this gateway cannot make; the message names the RPC and why."""


@dataclass(frozen=True, slots=True)
class Segment:
    """One part of a path: a literal, or a variable that fills the field at `field_path`."""

    literal: str
    field_path: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    """One route of one RPC.

    `body` is empty, `*` (all fields that the path does not fill) or the name of one field. `verb` is a custom
    method, `:cancel`, colon included, or empty.
    """

    rpc: MethodDescriptor
    service: ServiceDescriptor
    access: options_pb2.Access
    http_method: str
    template: str
    segments: Sequence[Segment]
    verb: str
    body: str
    # Another route of an RPC that has one already.
    is_additional: bool = False

    @property
    def grpc_path(self) -> str:
        """`/package.Service/Method`."""
        return f"/{self.service.full_name}/{self.rpc.name}"

    @property
    def request(self) -> Descriptor:
        """The request's type."""
        return self.rpc.input_type

    @property
    def reply(self) -> Descriptor:
        """The reply's type."""
        return self.rpc.output_type

    @property
    def path_fields(self) -> frozenset[str]:
        """Fields (by their path in the contract) that the URL fills."""
        return frozenset(segment.field_path for segment in self.segments if segment.field_path)

    @property
    def query_fields(self) -> Sequence[FieldDescriptor]:
        """Fields that query parameters may fill: neither path nor body fills them, and they are simple."""
        if self.body == WHOLE_BODY:
            return ()
        taken = self.path_fields | {self.body}
        return tuple(
            field for field in self.request.fields if field.name not in taken and _fits_a_query(field)
        )


def bindings_of(services: Iterable[ServiceDescriptor]) -> list[Binding]:
    """Every route of `services`, in the order of the contracts.

    Raises UnsupportedBinding, so that a contract the gateway cannot serve stops it at start.
    """
    found = [binding for service in services for binding in _bindings_of_service(service)]
    seen: dict[tuple[str, str, int, tuple[str, ...]], Binding] = {}
    for binding in found:
        shape = tuple(segment.literal for segment in binding.segments)
        other = seen.setdefault((binding.http_method, binding.verb, len(shape), shape), binding)
        if other is not binding:
            raise UnsupportedBinding(f"{binding.grpc_path} and {other.grpc_path} have the same route.")
    return found


def _bindings_of_service(service: ServiceDescriptor) -> Iterator[Binding]:
    for rpc in service.methods:
        options = rpc.GetOptions()
        if not options.HasExtension(annotations_pb2.http):
            continue
        rule = options.Extensions[annotations_pb2.http]
        yield _bind(service, rpc, rule)
        for one in rule.additional_bindings:
            yield replace(_bind(service, rpc, one), is_additional=True)


def _bind(service: ServiceDescriptor, rpc: MethodDescriptor, rule: http_pb2.HttpRule) -> Binding:
    name = f"{service.full_name}.{rpc.name}"
    if rpc.client_streaming or rpc.server_streaming:
        raise UnsupportedBinding(f"{name} streams, and has a route: streams are served as WebSocket and SSE.")
    if rule.response_body:
        raise UnsupportedBinding(f"{name}: response_body is not supported.")
    http_method, template = _method_and_template(name, rule)
    segments, verb = parse_template(name, template)
    binding = Binding(
        rpc=rpc,
        service=service,
        access=rpc.GetOptions().Extensions[options_pb2.access],
        http_method=http_method,
        template=template,
        segments=segments,
        verb=verb,
        body=rule.body,
    )
    _check_fields(name, binding)
    return binding


def _method_and_template(name: str, rule: http_pb2.HttpRule) -> tuple[str, str]:
    pattern = rule.WhichOneof("pattern")
    if pattern in ("get", "put", "post", "delete", "patch"):
        return pattern.upper(), getattr(rule, pattern)
    raise UnsupportedBinding(f"{name}: the HTTP rule has no method that is supported.")


def parse_template(name: str, template: str) -> tuple[tuple[Segment, ...], str]:
    """Split `/v1/clinics/{clinic_id}/holds/{hold_id}:renew` into segments and custom method.

    Raises UnsupportedBinding for wildcards and anything else beyond literals and whole-segment variables.
    """
    path, verb = _split_verb(template)
    if not path.startswith("/"):
        raise UnsupportedBinding(f"{name}: the path {template} does not start with a slash.")
    return tuple(_segment(name, template, part) for part in path[1:].split("/")), verb


def _split_verb(path: str) -> tuple[str, str]:
    last_slash = path.rfind("/")
    colon = path.find(":", last_slash + 1)
    return (path, "") if colon < 0 else (path[:colon], path[colon:])


def _segment(name: str, template: str, part: str) -> Segment:
    variable = _VARIABLE.fullmatch(part)
    if variable:
        return Segment("", variable[1])
    if not _LITERAL.fullmatch(part):
        raise UnsupportedBinding(
            f"{name}: {part!r} in {template} is neither a literal nor a whole-segment variable."
        )
    return Segment(part)


def _check_fields(name: str, binding: Binding) -> None:
    for path in binding.path_fields:
        field = field_at(binding.request, path)
        if field is None or field.is_repeated or field.type == FieldDescriptor.TYPE_MESSAGE:
            raise UnsupportedBinding(
                f"{name}: the path variable {path} is not a scalar field of {binding.request.name}."
            )
    if binding.body and binding.body != WHOLE_BODY:
        field = binding.request.fields_by_name.get(binding.body)
        if field is None or field.is_repeated or field.type != FieldDescriptor.TYPE_MESSAGE:
            raise UnsupportedBinding(
                f"{name}: the body {binding.body} is not a message field of {binding.request.name}."
            )


def field_at(message: Descriptor, path: str) -> FieldDescriptor | None:
    """The field at a dotted path of the contract's names, or None."""
    field: FieldDescriptor | None = None
    current: Descriptor | None = message
    for part in path.split("."):
        field = current.fields_by_name.get(part) if current else None
        if field is None:
            return None
        current = field.message_type
    return field


_QUERY_MESSAGES = frozenset(
    ("google.protobuf.Timestamp", "google.protobuf.Duration", "google.protobuf.FieldMask")
)


def _fits_a_query(field: FieldDescriptor) -> bool:
    if field.type != FieldDescriptor.TYPE_MESSAGE:
        return True
    return not field.is_repeated and message_type(field).full_name in _QUERY_MESSAGES

"""SQL injection by the contract: every string of every request, one payload at a time, over gRPC and over REST."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote, urlencode

from buf.validate import validate_pb2
from google.protobuf import json_format
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from gateway.transcoding.bindings import WHOLE_BODY, Binding

SLEEP_S: Final = 20
PAYLOADS: Final = (
    "'",
    "' OR '1'='1",
    "x' OR 1=1 --",
    "'; DROP TABLE patient; --",
    "'); DELETE FROM appointment; --",
    "x'; UPDATE clinic SET name = 'owned'; COMMIT; --",
    "' UNION SELECT name FROM clinic --",
    f"'||pg_sleep({SLEEP_S})||'",
    f"1; SELECT pg_sleep({SLEEP_S}) --",
    "%' /* _ */ ESCAPE '",
    "$1 %s %(clinic)s \\' {0} :name",
    "name; SELECT 1",
    "nul\x00byte",
)
# What is refused by shape gets fewer: a quote, a statement that waits, and a NUL.
_FOR_SHAPED: Final = (PAYLOADS[1], PAYLOADS[8], PAYLOADS[12])
_DEPTH_MAX: Final = 3


@dataclass(frozen=True, slots=True)
class StringField:
    """A string in a request, by the fields that lead to it."""

    path: tuple[FieldDescriptor, ...]

    def __str__(self) -> str:
        return ".".join(field.name for field in self.path)

    @property
    def payloads(self) -> tuple[str, ...]:
        """What is put into it."""
        rules = self.path[-1].GetOptions().Extensions[validate_pb2.field].string
        return _FOR_SHAPED if rules.uuid else PAYLOADS

    def put(self, request: Message, value: str) -> None:
        """Write `value` there, and make on the way what is not there yet."""
        holder: Any = request
        for field in self.path[:-1]:
            inner = getattr(holder, field.name)
            holder = (inner[0] if inner else inner.add()) if field.is_repeated else inner
        last = self.path[-1]
        if last.is_repeated:
            getattr(holder, last.name)[:] = [value]
        else:
            setattr(holder, last.name, value)


def string_fields(message: Any, path: tuple[FieldDescriptor, ...] = ()) -> Iterator[StringField]:
    """Every string of a message type, those of inner messages included."""
    for field in message.fields:
        here = (*path, field)
        if field.type == FieldDescriptor.TYPE_STRING:
            yield StringField(here)
        elif (
            field.message_type is not None
            and len(path) < _DEPTH_MAX
            and field.message_type.full_name.startswith("medforall.")
        ):
            yield from string_fields(field.message_type, here)


@dataclass(frozen=True, slots=True)
class HttpCall:
    """A REST request; `body` is JSON or empty."""

    method: str
    target: str
    body: bytes


def http_call(binding: Binding, request: Message, *, odd: Mapping[str, str] | None = None) -> HttpCall:
    """`request` as REST has it on this route; `odd` replaces query parameters by texts of any kind."""
    said: dict[str, Any] = json_format.MessageToDict(request)
    parts = []
    for segment in binding.segments:
        if not segment.field_path:
            parts.append(segment.literal)
            continue
        holder: Any = request
        for name in segment.field_path.split("."):
            holder = getattr(holder, name)
        parts.append(quote(str(holder), safe=""))
    for path in binding.path_fields:
        said.pop(request.DESCRIPTOR.fields_by_name[path.split(".")[0]].json_name, None)
    body = b""
    if binding.body == WHOLE_BODY:
        body, said = json.dumps(said).encode(), {}
    elif binding.body:
        body = json.dumps(said.pop(request.DESCRIPTOR.fields_by_name[binding.body].json_name, {})).encode()
    query = {
        field.json_name: said[field.json_name] for field in binding.query_fields if field.json_name in said
    } | dict(odd or {})
    target = "/" + "/".join(parts) + binding.verb
    return HttpCall(
        binding.http_method, f"{target}?{urlencode(query, doseq=True)}" if query else target, body
    )

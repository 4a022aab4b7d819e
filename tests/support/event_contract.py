"""What clients hear, held against the AsyncAPI document."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, Literal

import jsonschema_rs

from tests.support.command import ROOT

Channel = Literal["websocket", "sse"]
DOCUMENT: Mapping[str, Any] = json.loads((ROOT / "gateway" / "documents" / "asyncapi.json").read_text())


def check_told(message: Mapping[str, Any], channel: Channel) -> None:
    """Fail unless the server's `message` is, to the last field, one that the document has on that channel."""
    operation = {"websocket": "receive", "sse": "listen"}[channel]
    assert message["type"] in operation_messages(operation), f"{message['type']} is not told on {channel}"
    faults = list(faults_of(message))
    assert not faults, f"{message}: {faults}"


def faults_of(message: Mapping[str, Any]) -> Iterator[str]:
    """In what a message differs from its description."""
    for fault in _validator(message["type"]).iter_errors(message):
        yield f"{'/'.join(map(str, fault.instance_path))}: {fault.message}"


def operation_messages(operation: str) -> set[str]:
    """The names of an operation's messages."""
    return {
        reference["$ref"].rpartition("/")[2] for reference in DOCUMENT["operations"][operation]["messages"]
    }


@cache
def _validator(name: str) -> jsonschema_rs.Draft202012Validator:
    schema = _inlined(DOCUMENT["components"]["messages"][name]["payload"])
    return jsonschema_rs.Draft202012Validator(schema, validate_formats=True)


def _inlined(schema: Any) -> Any:
    """The schema without references, its objects closed: a field that the document lacks is a fault."""
    if isinstance(schema, list):
        return [_inlined(entry) for entry in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return _inlined(DOCUMENT["components"]["schemas"][schema["$ref"].rpartition("/")[2]])
    whole = {name: _inlined(entry) for name, entry in schema.items()}
    return whole | {"additionalProperties": False} if whole.get("type") == "object" else whole

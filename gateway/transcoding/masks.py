"""Which fields a body names, as paths of an update mask."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from gateway.transcoding.names import message_type


def paths_given(
    descriptor: Descriptor, value: Mapping[str, Any], *, is_nested: bool = False
) -> Iterator[str]:
    """Yield what a body names: fields, and of a nested message of ours each field by itself, so the others stay."""
    for field in descriptor.fields:
        if field.json_name not in value:
            continue
        given = value[field.json_name]
        if is_nested or not isinstance(given, dict) or not _has_parts(field):
            yield field.name
        else:
            parts = paths_given(message_type(field), given, is_nested=True)
            yield from (f"{field.name}.{path}" for path in parts)


def _has_parts(field: FieldDescriptor) -> bool:
    """Whether a field is one message of ours; a list, and a free form of Google's, is changed as a whole."""
    if field.type != FieldDescriptor.TYPE_MESSAGE or field.is_repeated:
        return False
    return not message_type(field).full_name.startswith("google.protobuf.")

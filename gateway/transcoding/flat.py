"""Messages one level deep: what is inside of another message stays bytes.

On the wire an embedded message and a bytes field look the same. So a type whose embedded messages are declared as
bytes reads the same wire format, and whoever reads it decides which of the inner ones to open, and may remember
what a small one meant the last time. Opening everything through protobuf's own objects costs three times as much.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor

_PACKAGE = "flat"

# proto2, because there every field knows whether it was on the wire.
_SYNTAX = "proto2"

_TYPES = {
    FieldDescriptor.TYPE_MESSAGE: descriptor_pb2.FieldDescriptorProto.TYPE_BYTES,
    # Open enums of proto3 are plain numbers on the wire, unknown ones included.
    FieldDescriptor.TYPE_ENUM: descriptor_pb2.FieldDescriptorProto.TYPE_INT32,
}


def flat_name(field: FieldDescriptor) -> str:
    """The field's attribute on the flat message: never a keyword, never a method."""
    return f"f{field.number}"


class FlatTypes:
    """Makes flat types, in a pool of their own."""

    def __init__(self) -> None:
        self._pool = descriptor_pool.DescriptorPool()

    def parser(self, descriptor: Descriptor) -> Callable[[bytes], Any]:
        """A function that reads the wire format of `descriptor` into a flat message. Call it once a type."""
        name = descriptor.full_name.replace(".", "_")
        file = descriptor_pb2.FileDescriptorProto(name=f"{name}.proto", package=_PACKAGE, syntax=_SYNTAX)
        message = file.message_type.add(name=name)
        for field in descriptor.fields:
            message.field.add(
                name=flat_name(field),
                number=field.number,
                type=_TYPES.get(field.type, field.type),
                label=_label(field),
            )
        self._pool.Add(file)
        flat = message_factory.GetMessageClass(self._pool.FindMessageTypeByName(f"{_PACKAGE}.{name}"))
        parse: Callable[[bytes], Any] = flat.FromString
        return parse


def _label(field: FieldDescriptor) -> Any:
    kinds = descriptor_pb2.FieldDescriptorProto
    return kinds.LABEL_REPEATED if field.is_repeated else kinds.LABEL_OPTIONAL

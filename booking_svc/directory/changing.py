"""Changes of a record: whole fields, or parts of a nested one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from booking_svc.directory.entities import Record


class Part(dict[str, Any]):
    """Some fields of a nested value; its others stay as they are."""


def changed(record: Mapping[str, Any], changes: Mapping[str, Any]) -> Record:
    """The record with the changes made."""
    return {
        **record,
        **{
            name: {**(record.get(name) or {}), **value} if isinstance(value, Part) else value
            for name, value in changes.items()
        },
    }

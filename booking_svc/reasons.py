"""What people say of why they did something: overrides, emergency access, a clinic's status."""

from __future__ import annotations

import unicodedata
from typing import Final

from scheduling.errors import Invalid

_SAYING_NOTHING: Final = ("Z", "C")
"""First letters of Unicode's categories of separators, and of control and format characters."""


def is_blank(reason: str) -> bool:
    """Whether nobody can read anything in it: it is empty, or blanks and characters without a shape are all it has."""
    return all(unicodedata.category(character).startswith(_SAYING_NOTHING) for character in reason)


def require_said(reason: str, field: str) -> None:
    """Raise Invalid for a reason that is blank."""
    if is_blank(reason):
        raise Invalid.field(field, "must say why")

"""What people say of why they did something: overrides, emergency access, a clinic's status."""

from __future__ import annotations

import unicodedata
from typing import Final

from scheduling.errors import Invalid

# Separators, control and format characters, and marks, which need another character to be on. Private and unassigned
# characters are not among them: they may be of a script that is newer than this Python.
_SAYING_NOTHING: Final = frozenset({"Zs", "Zl", "Zp", "Cc", "Cf", "Mn", "Me"})
# Letters and symbols by their category that show nothing: Hangul's fillers and the Braille cell without a dot.
_FILLERS: Final = frozenset("\u115f\u1160\u2800\u3164\uffa0")


def is_blank(reason: str) -> bool:
    """Whether nobody can read anything in it: it is empty, or blanks and characters without a shape are all it has."""
    return not any(map(_can_be_read, reason))


def _can_be_read(character: str) -> bool:
    return unicodedata.category(character) not in _SAYING_NOTHING and character not in _FILLERS


def require_said(reason: str, field: str) -> None:
    """Raise Invalid for a reason that is blank."""
    if is_blank(reason):
        raise Invalid.field(field, "must say why")

"""Entity tags that a caller wants, held against the one that a thing has."""

from __future__ import annotations

import re
from typing import Final

_TAGS: Final = re.compile(r'(?:W/)?"[^"]*"')


def is_wanted(wanted: str, current: str) -> bool:
    """Whether `current` is one of the tags in `wanted`, compared strongly: a weak tag matches nothing.

    Empty or `*` wants whatever there is; a single tag may come without its quotes.
    """
    text = wanted.strip()
    if text in ("", "*"):
        return True
    tags = _TAGS.findall(text) or [f'"{text}"']
    return current in tags

"""One rule for entity tags: an entry's or an appointment's tag is its version in quotes."""

from __future__ import annotations

import re
from typing import Final

from scheduling.errors import Reason, Stale

_TAGS: Final = re.compile(r'(?:W/)?"[^"]*"')


def require_version(etag: str, version: int, what: str) -> None:
    """Refuse a change of something that has changed since it was read.

    An empty tag, or `*`, checks nothing. Several are compared strongly, one after another: a weak one matches nothing.
    A single tag may come without its quotes.
    """
    text, current = etag.strip(), f'"{version}"'
    if text in ("", "*") or current in (_TAGS.findall(text) or [f'"{text}"']):
        return
    raise Stale(
        f"{what} has changed since it was read.",
        reason=Reason.STALE_ETAG,
        metadata={"currentEtag": current},
    )

"""Where the next page of a list begins, as a token that callers only hand back (AIP-158).

A token is sealed with the clinic's data key for one list as it was asked for. What it says cannot be read, made up or
changed outside, and it opens for the same list with the same filters of the same clinic only, however many rows a page
has.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from chassis.encryption import ClinicCipher, DecryptionError
from scheduling.errors import Invalid

_TABLE: Final = "page_token"


@dataclass(frozen=True, slots=True)
class Listing:
    """A list as its request asks for it: which, and all that decides about its rows and their order."""

    name: str
    filters: Sequence[object]

    def next_token(self, cipher: ClinicCipher, position: Iterable[str | int]) -> str:
        """The token of the page after the row at `position`."""
        sealed = cipher.seal(
            orjson.dumps(list(position)), table=_TABLE, column=self.name, row_id=self._digest()
        )
        return base64.urlsafe_b64encode(sealed).rstrip(b"=").decode("ascii")

    def position(self, cipher: ClinicCipher, token: str) -> tuple[Any, ...] | None:
        """What `next_token` was given; None for the first page, which has no token. Raises Invalid."""
        if not token:
            return None
        try:
            sealed = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
            raw = cipher.open(sealed, table=_TABLE, column=self.name, row_id=self._digest())
        except (binascii.Error, ValueError, DecryptionError):
            raise Invalid.field(
                "page_token", "is none of ours, or belongs to a list with other filters"
            ) from None
        return tuple(orjson.loads(raw))

    def _digest(self) -> str:
        return hashlib.sha256(orjson.dumps(list(self.filters))).hexdigest()

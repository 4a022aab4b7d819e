"""The advisory locks between bookings and directory changes.

A booking holds the lock of its service and of its location in shared mode for its whole transaction. A directory
change takes the clinic's own lock, so that it is alone, and then those of all its locations in exclusive mode, before
it computes which visits it affects: so no booking that was judged on the old directory commits after it.

Several keys are taken in ascending order, in one statement, so that nobody waits for another in a circle.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from hashlib import blake2b
from typing import Final

SHARED_SQL: Final = "SELECT pg_advisory_xact_lock_shared(key) FROM unnest($1::bigint[]) AS key ORDER BY key"
"""Takes the keys of one int8[] parameter in shared mode until the transaction ends."""


@lru_cache(maxsize=65_536)
def directory_key(clinic_id: str, thing_id: str) -> int:
    """Return the lock key of a clinic itself, or of a service or location of it: a signed 64-bit integer."""
    digest = blake2b(f"directory|{clinic_id}|{thing_id}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)


def directory_keys(clinic_id: str, thing_ids: Iterable[str]) -> list[int]:
    """Return the keys of several such things, in the order in which they are taken."""
    return sorted({directory_key(clinic_id, thing_id) for thing_id in thing_ids})

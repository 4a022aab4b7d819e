"""Identities: canonical UUID strings, and the ones that follow from what they name.

A daily quota and a minimum gap are scarce things without a row in the directory. Their ids are UUIDv5 of what
they are about, so that every process that books or searches comes to the same one without asking anybody.
"""

import re
from collections.abc import Callable
from datetime import date
from functools import lru_cache
from typing import Final
from uuid import UUID, uuid5

from scheduling.errors import Invalid

NewId = Callable[[], str]
"""Returns a fresh UUIDv7 as a lower-case string."""

_UUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII | re.IGNORECASE)
_NAMESPACE: Final = UUID("6d656466-6f72-5a11-8000-636c61696d73")


def is_id(value: str) -> bool:
    """Tell whether `value` is a UUID with its hyphens, in either case."""
    return _UUID.fullmatch(value) is not None


def canonical_id(value: str, field: str = "id") -> str:
    """Return `value` as a lower-case UUID string, or refuse it, naming `field`."""
    try:
        return str(UUID(value))
    except ValueError:
        raise Invalid.field(field, "must be a UUID") from None


@lru_cache(maxsize=65_536)
def quota_id(rule_id: str, location_id: str, local_date: date, provider_id: str | None = None) -> str:
    """Return the resource that a `max_daily` rule counts on one local day of one location.

    `provider_id` is given when the rule counts each provider on its own.
    """
    return str(
        uuid5(_NAMESPACE, f"quota|{rule_id}|{location_id}|{local_date.isoformat()}|{provider_id or ''}")
    )


@lru_cache(maxsize=16_384)
def quota_ids(
    rule_id: str, location_id: str, days: tuple[date, ...], provider_id: str | None = None
) -> tuple[str, ...]:
    """Return the quotas of a run of local days: searches ask for the same runs again and again."""
    return tuple(quota_id(rule_id, location_id, day, provider_id) for day in days)


@lru_cache(maxsize=65_536)
def gap_id(rule_id: str, provider_id: str) -> str:
    """Return the resource that keeps a `min_gap` rule's distance between two visits of one provider."""
    return str(uuid5(_NAMESPACE, f"gap|{rule_id}|{provider_id}"))

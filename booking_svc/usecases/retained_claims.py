"""Which claims a visit keeps when its state changes. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

from booking_svc.model import HeldClaim
from booking_svc.usecases.existing import Found
from scheduling.clock import exact_minutes_of
from scheduling.facts import ResourceKind

Retain = Callable[[Found], tuple[HeldClaim, ...]]


def none_of(found: Found) -> tuple[HeldClaim, ...]:
    """Canceled, released and expired ones give everything back."""
    del found
    return ()


def quotas_of(found: Found) -> tuple[HeldClaim, ...]:
    """A no-show keeps its place in the day's quota."""
    return tuple(claim for claim in found.claims if claim.kind is ResourceKind.QUOTA)


def without_tail(found: Found) -> tuple[HeldClaim, ...]:
    """A completed visit gives back what is left of its time: buffers, turnarounds and gaps begin when it ended.

    Quotas count whole days and stay.
    """
    saved_min = found.visit.end_min - math.ceil(exact_minutes_of(found.now))
    if saved_min <= 0:
        return found.claims
    kept = (
        claim if claim.kind is ResourceKind.QUOTA else _ending_earlier(claim, saved_min)
        for claim in found.claims
    )
    return tuple(claim for claim in kept if claim is not None)


def _ending_earlier(claim: HeldClaim, saved_min: int) -> HeldClaim | None:
    end_min = claim.end_min - saved_min
    return replace(claim, end_min=end_min) if end_min > claim.start_min else None

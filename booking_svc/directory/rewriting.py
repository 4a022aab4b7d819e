"""Which claims a visit should hold after a room, an equipment item or a rule has changed. Pure.

Only the claims that the change speaks of are made anew; a visit keeps the buffers it was booked with, its room, its
units and its time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Protocol

from booking_svc.model import Appointment, HeldClaim
from scheduling import localtime
from scheduling.errors import Reason
from scheduling.facts import ResourceKind, Rule
from scheduling.ids import gap_id
from scheduling.rules.max_daily import DailyLimit
from scheduling.rules.min_gap import Gap
from scheduling.rules.registry import MAX_DAILY

Claims = tuple[HeldClaim, ...]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a visit should hold, and whether it is over a limit already."""

    claims: Claims
    over_limit: Reason | None = None


Rewrite = Callable[[Appointment, Claims], Wanted]
HeldBy = Mapping[str, Mapping[str, HeldClaim]]
"""Claims by resource and visit."""


class Placed(Protocol):
    """When and where a visit is, and with whom."""

    @property
    def start_min(self) -> int: ...
    @property
    def zone(self) -> str: ...
    @property
    def location_id(self) -> str: ...
    @property
    def provider_id(self) -> str: ...


def after_room_change(room_id: str, turnaround_min: int) -> Rewrite:
    """The room is taken until it is clean again, or for the visit's own buffer if that is longer."""

    def rewrite(visit: Appointment, claims: Claims) -> Wanted:
        end_min = visit.end_min + max(visit.buffer_after_min, turnaround_min)
        return Wanted(_ending(claims, room_id, end_min))

    return rewrite


def after_equipment_change(equipment_id: str, turnaround_min: int) -> Rewrite:
    """The units are taken until they are ready again."""

    def rewrite(visit: Appointment, claims: Claims) -> Wanted:
        return Wanted(_ending(claims, equipment_id, visit.end_min + turnaround_min))

    return rewrite


def after_gap_change(rule: Rule, held: HeldBy, *, is_active: bool) -> Rewrite:
    """The provider's gap claim of this rule is as long as the rule says now, or gone.

    One that is too near an earlier one has its claim all the same, so that bookings to come keep their distance from
    it, and is over the limit.
    """
    gap = rule.payload

    def wanted(visit: Appointment) -> HeldClaim | None:
        if not (is_active and isinstance(gap, Gap) and binds(rule, visit)):
            return None
        end_min = visit.end_min + gap.min_gap_minutes
        resource_id = gap_id(rule.id, visit.provider_id)
        return HeldClaim(
            resource_id, ResourceKind.GAP, visit.provider_id, 1, visit.start_min, end_min, visit.expires_at
        )

    def is_late(claim: HeldClaim, near: Sequence[HeldClaim]) -> bool:
        return any(other.start_min < claim.start_min for other in near)

    return _one_each(lambda visit: gap_id(rule.id, visit.provider_id), wanted, is_late, held, Reason.MIN_GAP)


def after_overlap_change(held: HeldBy, *, may_overlap: Callable[[Appointment], bool]) -> Rewrite:
    """The patient is taken by a visit, unless the visit may overlap with others.

    One that overlaps with another that takes the patient does so too, so that bookings to come keep clear of both, and
    is over the limit.
    """

    def wanted(visit: Appointment) -> HeldClaim | None:
        if visit.patient_id is None or may_overlap(visit):
            return None
        taken = visit.patient_id, ResourceKind.PATIENT, visit.patient_id
        return HeldClaim(*taken, 1, visit.start_min, visit.end_min, visit.expires_at)

    return _one_each(
        lambda visit: visit.patient_id or "",
        wanted,
        lambda _, near: bool(near),
        held,
        Reason.PATIENT_ALREADY_BOOKED,
    )


def _one_each(
    resource_of: Callable[[Appointment], str],
    wanted: Callable[[Appointment], HeldClaim | None],
    is_over: Callable[[HeldClaim, Sequence[HeldClaim]], bool],
    held: HeldBy,
    reason: Reason,
) -> Rewrite:
    """Each visit has one claim on a resource, or none; `is_over` judges it beside those that it overlaps with.

    `held` are the present claims of each resource by visit, also of visits that are not rewritten. Visits are rewritten
    earliest first, each on a unit that nobody holds or held at that time, so that none is in another's way.
    """
    given = {resource_id: dict(claims) for resource_id, claims in held.items()}

    def rewrite(visit: Appointment, claims: Claims) -> Wanted:
        resource_id = resource_of(visit)
        kept = tuple(claim for claim in claims if claim.resource_id != resource_id)
        others = given.setdefault(resource_id, {})
        others.pop(visit.id, None)
        claim = wanted(visit)
        if claim is None:
            return Wanted(kept)
        near = [other for other in others.values() if _overlap(other, claim)]
        used = {other.unit for other in near}
        claim = replace(claim, unit=next(unit for unit in range(1, len(used) + 2) if unit not in used))
        others[visit.id] = claim
        return Wanted((*kept, claim), over_limit=reason if is_over(claim, near) else None)

    return rewrite


def after_limit_change(
    rule: Rule,
    used: Mapping[str, set[int]],
    visits: Sequence[tuple[Appointment, Claims]],
    *,
    is_active: bool,
    former: Rule | None = None,
) -> Rewrite:
    """The visit holds one unit of its day's quota, or none when the rule does not bind it any more.

    `former` is the rule before its change, if there was one: a unit of another quota that it asked for is given back.
    `used` are the units that are taken of each quota, those of the `visits` that are rewritten among them. Visits are
    rewritten earliest first: one that needs a unit takes the lowest that is free, and one that comes when the day has
    as many as it may is over the limit, whatever its unit.
    """
    limit = rule.payload
    taken = {quota: set(units) for quota, units in used.items()}
    rewritten = Counter(claim.resource_id for _, claims in visits for claim in claims)
    count = Counter({quota: len(units) - rewritten[quota] for quota, units in used.items()})

    def rewrite(visit: Appointment, claims: Claims) -> Wanted:
        quota_id, day = quota_of(rule, visit)
        given_back = {quota_id, quota_of(former, visit)[0]} if former else {quota_id}
        own = next((claim for claim in claims if claim.resource_id == quota_id), None)
        kept = tuple(claim for claim in claims if claim.resource_id not in given_back)
        if not (is_active and isinstance(limit, DailyLimit) and binds(rule, visit)):
            return Wanted(kept)
        units = taken.setdefault(quota_id, set())
        unit = own.unit if own else next(n for n in range(1, len(units) + 2) if n not in units)
        units.add(unit)
        count[quota_id] += 1
        bounds = localtime.day_bounds(visit.zone, day)
        claim = HeldClaim(quota_id, ResourceKind.QUOTA, quota_id, unit, *bounds, visit.expires_at)
        over = Reason.MAX_DAILY_REACHED if count[quota_id] > limit.max_per_day else None
        return Wanted((*kept, claim), over)

    return rewrite


def quota_of(rule: Rule, visit: Placed) -> tuple[str, date]:
    """The quota of a daily limit that a visit takes a unit of, and its local day."""
    day = localtime.day_at(visit.zone, visit.start_min)
    return MAX_DAILY.resource_id(rule, visit.location_id, visit.provider_id, day), day


def binds(rule: Rule, visit: Appointment) -> bool:
    """Whether a rule speaks of a visit's service and provider."""
    return rule.service_id in (None, visit.service_id) and rule.provider_id in (None, visit.provider_id)


def over_capacity(
    visits: Sequence[tuple[Appointment, Claims]], resource_id: str, capacity: int
) -> list[Appointment]:
    """The visits that find a resource full when they are let in by start, then id.

    All concurrent use counts, also of units above a lowered capacity.
    """
    admitted: list[HeldClaim] = []
    late = []
    for visit, claims in sorted(visits, key=lambda pair: (pair[0].start_min, pair[0].id)):
        own = [claim for claim in claims if claim.resource_id == resource_id]
        if not own:
            continue
        beside = sum(1 for other in admitted if any(_overlap(other, claim) for claim in own))
        if beside + len(own) > capacity:
            late.append(visit)
        admitted.extend(own)
    return late


def _ending(claims: Claims, resource_id: str, end_min: int) -> Claims:
    return tuple(
        replace(claim, end_min=end_min) if claim.resource_id == resource_id else claim for claim in claims
    )


def _overlap(one: HeldClaim, other: HeldClaim) -> bool:
    return one.start_min < other.end_min and other.start_min < one.end_min

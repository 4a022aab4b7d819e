"""Which claims a visit takes: every scarce thing, and for how long.

provider       start − buffer before … end + buffer after
room           start − buffer before … end + the longer of buffer after and the room's turnaround
equipment      start … end + the item's turnaround
patient        start … end
daily quota    the location's local day
minimum gap    start … end + gap
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from scheduling import localtime
from scheduling.errors import NotFound
from scheduling.facts import EquipmentUnit, PlannedClaim, ResourceKind, Rule, Service, StaticFacts, rules_of
from scheduling.frame import service_of
from scheduling.ids import gap_id
from scheduling.rules.max_daily import DailyLimit
from scheduling.rules.min_gap import Gap
from scheduling.rules.registry import MAX_DAILY


@dataclass(frozen=True, slots=True)
class Visit:
    """A visit with everything it takes already chosen.

    `patient_id` is None for a hold without a patient. `quota_units` gives the unit of each daily quota (see
    `quotas_of`); one that is missing is unit 1.
    """

    service_id: str
    provider_id: str
    start_min: int
    end_min: int
    patient_id: str | None = None
    is_placeholder_patient: bool = False
    room_id: str | None = None
    room_unit: int = 1
    equipment: tuple[EquipmentUnit, ...] = ()
    quota_units: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Quota:
    """A day's quota that a visit counts against: at most `limit` live claims of `[start_min, end_min)`."""

    resource_id: str
    limit: int
    start_min: int
    end_min: int
    rule: Rule


def visit_claims(static: StaticFacts, visit: Visit) -> tuple[PlannedClaim, ...]:
    """Return the visit's claims by (resource_id, unit): the order in which they are locked and written."""
    service = service_of(static, visit.service_id)
    claims = [
        _claim(
            ResourceKind.PROVIDER,
            visit.provider_id,
            1,
            _with_buffers(visit, service, service.buffer_after_min),
        ),
        *_room_claim(static, service, visit),
        *_equipment_claims(static, visit),
        *patient_claim(service, visit),
        *_gap_claims(static, visit),
    ]
    for quota in quotas_of(static, visit.service_id, visit.provider_id, visit.start_min):
        unit = visit.quota_units.get(quota.resource_id, 1)
        claims.append(_claim(ResourceKind.QUOTA, quota.resource_id, unit, (quota.start_min, quota.end_min)))
    return tuple(sorted(claims, key=lambda claim: (claim.resource_id, claim.unit)))


def locks_of(claims: Iterable[PlannedClaim]) -> tuple[tuple[str, ResourceKind], ...]:
    """Return the (resource id, kind) rows to lock for the claims, once each, in id order."""
    rows = {
        claim.lock_id: ResourceKind.PROVIDER if claim.kind is ResourceKind.GAP else claim.kind
        for claim in claims
    }
    return tuple(sorted(rows.items()))


def quotas_of(static: StaticFacts, service_id: str, provider_id: str, start_min: int) -> tuple[Quota, ...]:
    """Return the daily quotas that a visit starting then counts against."""
    zone = static.location.zone
    day = localtime.day_at(zone, start_min)
    bounds = localtime.day_bounds(zone, day)
    return tuple(
        Quota(
            MAX_DAILY.resource_id(rule, static.location.id, provider_id, day),
            rule.payload.max_per_day,
            *bounds,
            rule=rule,
        )
        for rule in rules_of(static, service_id, provider_id)
        if isinstance(rule.payload, DailyLimit)
    )


def quota_unit(used: Collection[int], limit: int) -> int:
    """Return the lowest free unit of a day's quota; for a visit over the limit, the lowest above all used."""
    if len(used) >= limit:
        return max(used, default=0) + 1
    return next(unit for unit in range(1, len(used) + 2) if unit not in used)


def _with_buffers(visit: Visit, service: Service, after_min: int) -> tuple[int, int]:
    """Return the visit's interval with the service's buffer before and so much after."""
    return visit.start_min - service.buffer_before_min, visit.end_min + after_min


def _room_claim(static: StaticFacts, service: Service, visit: Visit) -> Iterator[PlannedClaim]:
    """Yield the room's claim, if the visit has a room."""
    if visit.room_id is None:
        return
    room = static.rooms_by_id.get(visit.room_id)
    if room is None:
        raise NotFound("There is no such room at the location.", metadata={"resource": "room"})
    after_min = max(service.buffer_after_min, room.turnaround_min)
    yield _claim(ResourceKind.ROOM, room.id, visit.room_unit, _with_buffers(visit, service, after_min))


def _equipment_claims(static: StaticFacts, visit: Visit) -> Iterator[PlannedClaim]:
    """Yield a claim for every unit of equipment."""
    turnaround = {item.id: item.turnaround_min for item in static.equipment}
    for chosen in visit.equipment:
        if chosen.equipment_id not in turnaround:
            raise NotFound("There is no such equipment at the location.", metadata={"resource": "equipment"})
        span = visit.start_min, visit.end_min + turnaround[chosen.equipment_id]
        yield _claim(ResourceKind.EQUIPMENT, chosen.equipment_id, chosen.unit, span)


def patient_claim(service: Service, visit: Visit) -> Iterator[PlannedClaim]:
    """Yield the patient's claim, unless there is nobody in particular or the service may overlap."""
    if (
        visit.patient_id is not None
        and not visit.is_placeholder_patient
        and not service.allow_patient_overlap
    ):
        yield _claim(ResourceKind.PATIENT, visit.patient_id, 1, (visit.start_min, visit.end_min))


def _gap_claims(static: StaticFacts, visit: Visit) -> Iterator[PlannedClaim]:
    """Yield a claim for every minimum gap that binds the visit."""
    for rule in rules_of(static, visit.service_id, visit.provider_id):
        if isinstance(rule.payload, Gap):
            span = visit.start_min, visit.end_min + rule.payload.min_gap_minutes
            resource_id = gap_id(rule.id, visit.provider_id)
            yield PlannedClaim(resource_id, 1, *span, ResourceKind.GAP, visit.provider_id)


def _claim(kind: ResourceKind, resource_id: str, unit: int, span: tuple[int, int]) -> PlannedClaim:
    """Return a claim on a resource that is locked by its own row."""
    return PlannedClaim(resource_id, unit, *span, kind, resource_id)

"""The verdict on one proposal: a search at one minute, with what the visit would take, or why it is refused."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Final

from scheduling import allocation, timeline
from scheduling.busy import BusyFacts
from scheduling.checks import Plan
from scheduling.claims import Visit, patient_claim, quota_unit, quotas_of, visit_claims
from scheduling.conditions import Check
from scheduling.derived import DerivedCache
from scheduling.errors import Conflict, DomainError, Invalid, NotFound, Reason, Refused
from scheduling.facts import (
    EquipmentUnit,
    PlannedClaim,
    Provider,
    ResourceKind,
    RoomChoice,
    RoomMode,
    SlotRequest,
    StaticFacts,
)
from scheduling.reading import frame_for, window_of_visit
from scheduling.rules.required_equipment_type import RequiredUnits

_MOST_TELLING_FIRST: Final = (
    Reason.RESOURCE_INACTIVE,
    Reason.PROVIDER_NOT_ALLOWED,
    Reason.LEAD_TIME,
    Reason.TOO_FAR_AHEAD,
    Reason.OFF_GRID,
    Reason.BLACKOUT_DATE,
    Reason.ROOM_TYPE,
    Reason.OUTSIDE_HOURS,
    Reason.SLOT_ALREADY_BOOKED,
    Reason.PATIENT_ALREADY_BOOKED,
    Reason.ROOM_ALREADY_BOOKED,
    Reason.EQUIPMENT_UNAVAILABLE,
    Reason.MIN_GAP,
    Reason.MAX_DAILY_REACHED,
    Reason.PATIENT_LIMIT,
)
_RANK: Final = {reason: rank for rank, reason in enumerate(_MOST_TELLING_FIRST)}
_CONFLICTS: Final = frozenset(
    {
        Reason.SLOT_ALREADY_BOOKED,
        Reason.ROOM_ALREADY_BOOKED,
        Reason.EQUIPMENT_UNAVAILABLE,
        Reason.PATIENT_ALREADY_BOOKED,
    }
)
SENTENCES: Final = {
    Reason.RESOURCE_INACTIVE: "What was asked for is out of use.",
    Reason.PROVIDER_NOT_ALLOWED: "The provider does not offer this service.",
    Reason.LEAD_TIME: "The start is in the past, or too soon.",
    Reason.TOO_FAR_AHEAD: "The start is too far ahead.",
    Reason.OFF_GRID: "The start is not on the service's grid.",
    Reason.BLACKOUT_DATE: "The service is not given on that day.",
    Reason.OUTSIDE_HOURS: "The time is outside working hours.",
    Reason.SLOT_ALREADY_BOOKED: "The provider is taken in part of that time.",
    Reason.PATIENT_ALREADY_BOOKED: "The patient has another visit in that time.",
    Reason.ROOM_TYPE: "No room of the type that the service needs was asked for or exists here.",
    Reason.ROOM_ALREADY_BOOKED: "The room, or every suitable room, is taken.",
    Reason.EQUIPMENT_UNAVAILABLE: "Fewer units of equipment are free than the service needs.",
    Reason.MIN_GAP: "The time is too close to another visit of the provider.",
    Reason.MAX_DAILY_REACHED: "The day's limit is reached.",
    Reason.PATIENT_LIMIT: "The patient has as many visits of this service as allowed, or one too near.",
}


@dataclass(frozen=True, slots=True)
class Proposal:
    """A visit that somebody wants.

    `end_min`, when given, must be the start plus a duration the service allows. `only_resources` are the
    rooms and equipment items that may be chosen, when some are locked already. `is_override` lets soft rules
    be broken.
    """

    service_id: str
    provider_id: str
    start_min: int
    end_min: int | None = None
    duration_min: int | None = None
    patient_id: str | None = None
    room: RoomChoice = allocation.ANY_ROOM
    ignore_appointment_ids: frozenset[str] = frozenset()
    is_override: bool = False
    only_resources: frozenset[str] | None = None

    def request(self) -> SlotRequest:
        """Return what a search for this very visit would ask for."""
        duration = self.duration_min
        if self.end_min is not None:
            if self.end_min <= self.start_min or duration not in (None, self.end_min - self.start_min):
                raise Invalid.field("end", "must be start plus the duration")
            duration = self.end_min - self.start_min
        return SlotRequest(
            service_id=self.service_id,
            provider_ids=(self.provider_id,),
            duration_min=duration,
            patient_id=self.patient_id,
            ignore_appointment_ids=self.ignore_appointment_ids,
        )


@dataclass(frozen=True, slots=True)
class Taken:
    """A scarce thing in the way. A quota has no id of its own for callers."""

    kind: ResourceKind
    id: str
    reason: Reason


@dataclass(frozen=True, slots=True)
class Refusal:
    """One reason why not. `is_soft`: staff may override it."""

    reason: Reason
    check: str
    is_soft: bool = False
    taken: tuple[Taken, ...] = ()
    rule_id: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a proposal.

    Without `refusals` it may be booked, taking exactly `claims`; `overridden` are soft rules that it breaks.
    With them, the first is the most telling.
    """

    start_min: int
    end_min: int
    refusals: tuple[Refusal, ...] = ()
    overridden: tuple[Refusal, ...] = ()
    room_id: str | None = None
    room_unit: int | None = None
    equipment: tuple[EquipmentUnit, ...] = ()
    claims: tuple[PlannedClaim, ...] = field(default=())

    @property
    def is_accepted(self) -> bool:
        """Tell whether it may be booked."""
        return not self.refusals

    @property
    def taken(self) -> tuple[Taken, ...]:
        """Everything that stands in the way, most telling first."""
        return tuple(dict.fromkeys(item for refusal in self.refusals for item in refusal.taken))

    def error(self) -> DomainError:
        """Return the refusal as the exception to raise; only for a proposal that is not accepted."""
        first = self.refusals[0]
        metadata = {"check": first.check}
        if first.rule_id:
            metadata["ruleId"] = first.rule_id
        if first.taken:
            metadata |= {"resourceKind": first.taken[0].kind.value, "resourceId": first.taken[0].id}
        refusal = Conflict if first.reason in _CONFLICTS else Refused
        return refusal(SENTENCES[first.reason], reason=first.reason, metadata=metadata)


def judge(
    static: StaticFacts, busy: BusyFacts, proposal: Proposal, now_min: float, cache: DerivedCache
) -> Verdict:
    """Judge one proposal by the very masks that a search would offer it from.

    Raises NotFound for an unknown service, provider or room, Invalid for an end that fits no duration,
    Refused for a duration that is not allowed or a service out of use.
    """
    request = proposal.request()
    window = window_of_visit(static, request, proposal.start_min)
    provider = _provider_of(static, proposal.provider_id)
    _require_room(static, proposal.room)
    frame = frame_for(static, busy, request, window=window, now_min=now_min, cache=cache)
    if proposal.room.mode is RoomMode.NONE and frame.service.requires_room:
        raise Invalid.field("room_selection_mode", "the service requires a room")
    plan = Plan(frame, proposal.room, proposal.only_resources)
    refusals = _refusals(plan, provider, proposal.start_min)
    standing = [refusal for refusal in refusals if not (refusal.is_soft and proposal.is_override)]
    if standing:
        return Verdict(window.start_min, window.end_min, refusals=tuple(standing))
    return _accept(plan, provider, proposal, window.end_min, refusals)


def judge_patient(
    static: StaticFacts, busy: BusyFacts, proposal: Proposal, now_min: float, cache: DerivedCache
) -> Verdict:
    """Judge of a hold's proposal the patient alone, who comes later: free then, and within its limits.

    The verdict's claims are the patient's. `static` is what `as_held` returns.
    """
    request = proposal.request()
    window = window_of_visit(static, request, proposal.start_min)
    frame = frame_for(static, busy, request, window=window, now_min=now_min, cache=cache)
    provider = Provider(proposal.provider_id)
    plan = Plan(frame, proposal.room)
    refusals = _blocking(plan, provider, plan.of_patient(provider), proposal.start_min)
    visit = Visit(
        service_id=proposal.service_id,
        provider_id=provider.id,
        start_min=window.start_min,
        end_min=window.end_min,
        patient_id=proposal.patient_id,
        is_placeholder_patient=frame.patient is not None and frame.patient.is_placeholder,
    )
    claims = () if refusals else tuple(patient_claim(frame.service, visit))
    return Verdict(window.start_min, window.end_min, refusals=_in_order(refusals), claims=claims)


def as_held(static: StaticFacts, service_id: str, duration_min: int) -> StaticFacts:
    """Return the facts with a service as it was when somebody held it: in use, and of the hold's duration."""
    services = tuple(
        replace(service, active=True, duration_min=duration_min) if service.id == service_id else service
        for service in static.services
    )
    return static if services == static.services else replace(static, services=services)


def _refusals(plan: Plan, provider: Provider, start_min: int) -> tuple[Refusal, ...]:
    """Return everything that refuses the start, most telling first, rules by priority."""
    found = [
        Refusal(Reason.RESOURCE_INACTIVE, check, taken=(Taken(kind, resource_id, Reason.RESOURCE_INACTIVE),))
        for check, kind, resource_id in _inactive(plan, provider)
    ]
    checks = (*plan.common(provider), *plan.own(provider))
    return _in_order([*found, *_blocking(plan, provider, checks, start_min)])


def _blocking(plan: Plan, provider: Provider, checks: Iterable[Check], start_min: int) -> list[Refusal]:
    """Return the refusals of those checks that refuse the start."""
    return [
        _refusal(plan, provider, check, start_min)
        for check in checks
        if timeline.has(check.blocked, plan.frame.horizon, start_min)
    ]


def _in_order(refusals: Iterable[Refusal]) -> tuple[Refusal, ...]:
    """Return the refusals, most telling first."""
    return tuple(sorted(refusals, key=lambda refusal: _RANK[refusal.reason]))


def _inactive(plan: Plan, provider: Provider) -> list[tuple[str, ResourceKind, str]]:
    """Return the provider and the named room, if they are out of use."""
    found = [] if provider.active else [("provider", ResourceKind.PROVIDER, provider.id)]
    room = None if plan.choice.room_id is None else plan.frame.static.rooms_by_id.get(plan.choice.room_id)
    if room is not None and not room.active:
        found.append(("room", ResourceKind.ROOM, room.id))
    return found


def _refusal(plan: Plan, provider: Provider, check: Check, start_min: int) -> Refusal:
    """Return a check's refusal, saying what is taken where something is."""
    reason = room_reason(plan, provider, start_min) if check.name == "room" else check.reason
    return Refusal(
        reason,
        check.name,
        is_soft=check.is_soft,
        taken=tuple(Taken(kind, found, reason) for kind, found in _taken_by(plan, provider, check)),
        rule_id=check.rule.id if check.rule else "",
    )


def room_reason(plan: Plan, provider: Provider, start_min: int) -> Reason:
    """Say why no room will do: none of the type, none open, or all taken."""
    frame = plan.frame
    room_types, _ = plan.needs.of(provider)
    wanted = None if plan.choice.room_id is None else frozenset({plan.choice.room_id})
    rooms = allocation.rooms_of(frame, room_types, wanted)
    if not rooms:
        return Reason.ROOM_TYPE
    opened = (frame.room_open_starts(room) for room in rooms)
    if any(starts is None or timeline.has(starts, frame.horizon, start_min) for starts in opened):
        return Reason.ROOM_ALREADY_BOOKED
    return Reason.OUTSIDE_HOURS


def _taken_by(plan: Plan, provider: Provider, check: Check) -> list[tuple[ResourceKind, str]]:
    """Return the resources a check is about: for rooms and equipment, every one that would have done."""
    room_types, demands = plan.needs.of(provider)
    if check.name == "room":
        pools = allocation.room_pools(plan.frame, room_types, plan.choice)
        return [(ResourceKind.ROOM, pool.resource_id) for pool in pools]
    if check.subject_kind is ResourceKind.EQUIPMENT:
        payload = check.rule.payload if check.rule else None
        wanted = [payload.equipment_type] if isinstance(payload, RequiredUnits) else list(demands)
        pools = [pool for kind in wanted for pool in allocation.equipment_pools(plan.frame, kind)]
        return [(ResourceKind.EQUIPMENT, pool.resource_id) for pool in pools]
    if check.subject_kind is ResourceKind.QUOTA:
        return [(ResourceKind.QUOTA, "")]
    if check.reason in _CONFLICTS and check.subject_kind is not None:
        return [(check.subject_kind, check.subject_id)]
    return []


def _accept(
    plan: Plan, provider: Provider, proposal: Proposal, end_min: int, overridden: tuple[Refusal, ...]
) -> Verdict:
    """Return the verdict that takes the best room, the lowest units and the quotas' next units."""
    frame, start_min = plan.frame, proposal.start_min
    room_id, room_unit = None, None
    if allocation.needs_room(frame, plan.choice):
        chosen = allocation.choose_room(frame, plan.needs.pools(provider), start_min)
        if chosen is None:
            raise RuntimeError("the room check passed, but no room can be had")
        room_id, room_unit = chosen
    equipment = tuple(
        unit
        for equipment_type, units in sorted(plan.needs.of(provider)[1].items())
        for unit in allocation.choose_units(
            frame, allocation.equipment_pools(frame, equipment_type, plan.only), units, start_min
        )
    )
    quotas = quotas_of(frame.static, frame.service.id, provider.id, start_min)
    visit = Visit(
        service_id=frame.service.id,
        provider_id=provider.id,
        start_min=start_min,
        end_min=end_min,
        patient_id=proposal.patient_id,
        is_placeholder_patient=frame.patient is not None and frame.patient.is_placeholder,
        room_id=room_id,
        room_unit=room_unit or 1,
        equipment=equipment,
        quota_units={
            quota.resource_id: quota_unit(frame.live_units(quota.resource_id), quota.limit)
            for quota in quotas
        },
    )
    claims = visit_claims(frame.static, visit)
    return Verdict(start_min, end_min, (), overridden, room_id, room_unit, equipment, claims)


def _provider_of(static: StaticFacts, provider_id: str) -> Provider:
    """Return the provider, or refuse."""
    for provider in static.providers:
        if provider.id == provider_id:
            return provider
    raise NotFound("There is no such provider.", metadata={"resource": "provider"})


def _require_room(static: StaticFacts, choice: RoomChoice) -> None:
    """Refuse a named room that the location does not have."""
    if (choice.mode is RoomMode.SPECIFIC) != (choice.room_id is not None):
        raise Invalid.field("room_id", "goes with room_selection_mode specific, and must be there then")
    if choice.room_id is not None and choice.room_id not in static.rooms_by_id:
        raise NotFound("There is no such room at the location.", metadata={"resource": "room"})

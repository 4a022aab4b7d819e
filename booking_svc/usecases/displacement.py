"""What a directory change does to the visits that are booked already, inside the change's transaction.

Claims that the change speaks of are rewritten; visits that no longer fit keep their time and are listed, so that staff
can move them. The directory's exclusive lock is held, so no booking comes between.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final

from booking_svc.directory.entities import Displaced, Entity, Entry, Kind, Record
from booking_svc.directory.rewriting import (
    after_equipment_change,
    after_gap_change,
    after_limit_change,
    after_room_change,
    over_capacity,
    quota_of,
)
from booking_svc.model import Caller, HeldClaim
from booking_svc.store import displacement_statements as sql
from booking_svc.store.session import Session
from booking_svc.usecases.claim_rewriting import ClaimRewriting, Concerned
from booking_svc.usecases.fitness import Place, came_up, place_of
from booking_svc.usecases.patient_claims import rewrite_patients
from scheduling.errors import Exhausted, Reason, Refused
from scheduling.facts import ResourceKind, Rule
from scheduling.ids import gap_id
from scheduling.rules.registry import parse_payload

VISITS_MAX: Final = 20_000
_JUDGED_AT_ONCE: Final = 20
"""Visits that are judged before other calls of the process have their turn."""
_JUDGED: Final = frozenset(
    {
        Kind.LOCATION,
        Kind.CLOSURE,
        Kind.PROVIDER,
        Kind.ROOM,
        Kind.EQUIPMENT,
        Kind.SERVICE,
        Kind.SERVICE_RULE,
        Kind.WINDOW,
    }
)
_NARROWING: Final = {
    Kind.LOCATION: "location_id",
    Kind.PROVIDER: "provider_id",
    Kind.ROOM: "room_id",
    Kind.EQUIPMENT: "equipment_id",
    Kind.SERVICE: "service_id",
}
"""What visits to come can be narrowed by, as `future_visits` names it."""
_CAPACITIES: Final = {
    Kind.ROOM: ("concurrent_visits", after_room_change, Reason.ROOM_ALREADY_BOOKED),
    Kind.EQUIPMENT: ("quantity", after_equipment_change, Reason.EQUIPMENT_UNAVAILABLE),
}
"""Of what has units: the field that counts them, what a visit claims of it, and why a visit does not fit any more."""
_REWRITTEN_RULES: Final = {"min_gap": Reason.MIN_GAP, "max_daily": Reason.MAX_DAILY_REACHED}
"""Rules that visits hold claims of."""
_CLAIMED_BY: Final = (
    "concurrent_visits",
    "quantity",
    "turnaround_min",
    "rule_payload",
    "allow_patient_overlap",
)
"""Fields that claims depend on."""


@dataclass(frozen=True, slots=True)
class FutureVisit:
    """A live visit to come: what of it no call changes while the directory is locked."""

    id: str
    location_id: str
    provider_id: str
    start_min: int
    zone: str
    patient_id: str | None


@dataclass(frozen=True, slots=True)
class Remembered:
    """What was before the change: the entry (None for a new one), the visits concerned and their places."""

    entry: Entry | None
    visits: Sequence[FutureVisit]
    places: Mapping[str, Place]


Reasons = Mapping[str, Reason]
"""Why visits do not fit, by their ids."""


class VisitsConcerned:
    """Lists the visits that a change pushes outside, and rewrites claims.

    A visit that was outside already is listed again only for a reason that is new: what counts is what the change does.
    """

    def __init__(self, rewriting: ClaimRewriting) -> None:
        self._rewriting = rewriting

    async def before(
        self, session: Session, entity: Entity, before: Entry | None, record: Record
    ) -> Remembered:
        """The visits that a change to `record` concerns, with what they were booked under. Raises Exhausted."""
        if entity.kind not in _JUDGED or (before is None and entity.kind in _NARROWING):
            return Remembered(before, (), {})
        visits = await _future_visits(session, entity, before.id if before else "", record)
        location_ids = sorted({visit.location_id for visit in visits})
        return Remembered(before, visits, await _places(session, location_ids))

    async def after(
        self, session: Session, caller: Caller, entry: Entry, remembered: Remembered
    ) -> tuple[tuple[Displaced, ...], dict[str, int]]:
        """The visits that no longer fit, by start, and the calendar versions of what was rewritten."""
        if not remembered.visits:
            return (), {}
        visit_ids = [visit.id for visit in remembered.visits]
        quota_days = _quota_days(entry, remembered)
        patient_ids = _patients(entry, remembered)
        concerned = await self._rewriting.lock(session, caller, visit_ids, quota_days, patient_ids)
        reasons = dict(await self._rewrite(session, caller, entry, remembered.entry, concerned))
        places = await _places(session, list(remembered.places))
        for count, visit in enumerate(concerned.visits(), 1):
            if count % _JUDGED_AT_ONCE == 0:
                await asyncio.sleep(0)
            if visit.id not in reasons:
                at = visit.location_id
                reason = came_up(visit, remembered.places.get(at), places.get(at))
                if reason is not None:
                    reasons[visit.id] = reason
        return _listed(concerned, reasons), concerned.versions

    async def _rewrite(
        self, session: Session, caller: Caller, entry: Entry, before: Entry | None, concerned: Concerned
    ) -> Reasons:
        if before is not None and not _changes_claims(entry, before):
            return {}
        if entry.kind is Kind.SERVICE_RULE:
            return await self._rewrite_for_rule(session, caller, entry, before, concerned)
        if _changes_overlap(entry, before):
            over = await rewrite_patients(self._rewriting, session, caller, concerned)
            return dict.fromkeys(over, Reason.PATIENT_ALREADY_BOOKED)
        if before is None or entry.kind not in _CAPACITIES:
            return {}
        return await self._rewrite_for_capacity(session, caller, entry, before, concerned)

    async def _rewrite_for_capacity(
        self, session: Session, caller: Caller, entry: Entry, before: Entry, concerned: Concerned
    ) -> Reasons:
        capacity, rewritten, reason = _CAPACITIES[entry.kind]
        pairs = concerned.pairs()
        late, was_late = (
            {visit.id for visit in over_capacity(pairs, entry.id, found.record[capacity])}
            for found in (entry, before)
        )
        as_it_was = rewritten(before.id, before.record["turnaround_min"])
        was_short = {
            visit.id for visit, claims in pairs if set(as_it_was(visit, claims).claims) != set(claims)
        }
        rewrite = rewritten(entry.id, entry.record["turnaround_min"])
        lost = {visit.id for visit in await self._rewriting.rewrite(session, caller, concerned, rewrite)}
        return dict.fromkeys((late - was_late) | (lost - was_short), reason)

    async def _rewrite_for_rule(
        self, session: Session, caller: Caller, entry: Entry, before: Entry | None, concerned: Concerned
    ) -> Reasons:
        rule, former = _rule_of(entry), None if before is None else _rule_of(before)
        if not list(concerned.visits()) or rule.rule_type not in _REWRITTEN_RULES:
            return {}
        was_over: set[str] = set()
        if rule.rule_type == "min_gap":
            held = await _gap_claims(session, rule, concerned)
            rewrite = after_gap_change(rule, held, is_active=entry.active)
            as_it_was = before and former and after_gap_change(former, held, is_active=before.active)
        else:
            used, pairs = await _used_quota_units(session, concerned), concerned.pairs()
            rewrite = after_limit_change(rule, used, pairs, is_active=entry.active, former=former)
            as_it_was = before and former and after_limit_change(former, used, pairs, is_active=before.active)
        if as_it_was:
            was_over = {
                visit.id for visit, claims in concerned.pairs() if as_it_was(visit, claims).over_limit
            }
        over = {visit.id for visit in await self._rewriting.rewrite(session, caller, concerned, rewrite)}
        return dict.fromkeys(over - was_over, _REWRITTEN_RULES[rule.rule_type])


async def require_no_visits_ahead(session: Session, location_id: str | None) -> None:
    """Refuse what would give the visits booked at a location, or anywhere, another local time and day."""
    if await has_visits_ahead(session, location_id):
        raise Refused(
            "The time zone cannot change while visits are booked ahead: move or cancel them first.",
            reason=Reason.WOULD_DISPLACE,
        )


async def has_visits_ahead(session: Session, location_id: str | None = None) -> bool:
    """Whether any live visit is to come at a location, or anywhere in the clinic."""
    wanted = {} if location_id is None else {"location_id": location_id}
    pending = session.queue(sql.future_visits(tuple(wanted)), session.clinic_id, 1, *wanted.values())
    await session.run()
    return pending.row() is not None


async def _places(session: Session, location_ids: Sequence[str]) -> dict[str, Place]:
    asked = {location_id: session.location(location_id) for location_id in location_ids}
    await session.run()
    return {
        location_id: place_of(facts)
        for location_id, reply in asked.items()
        if (facts := reply.get()) is not None
    }


async def _future_visits(
    session: Session, entity: Entity, entry_id: str, record: Record
) -> list[FutureVisit]:
    """The live visits to come that the entry may concern, by start. Raises Exhausted beyond a bound."""
    wanted = _narrowed(entity, entry_id, record)
    pending = session.queue(
        sql.future_visits(tuple(wanted)), session.clinic_id, VISITS_MAX + 1, *wanted.values()
    )
    await session.run()
    found = [FutureVisit(*row) for row in pending.rows()]
    if len(found) > VISITS_MAX:
        raise Exhausted(
            f"The change concerns more than {VISITS_MAX} visits; narrow it.", reason=Reason.OVERLOADED
        )
    return found


def _narrowed(entity: Entity, entry_id: str, record: Record) -> dict[str, str]:
    """What a visit must have to be concerned: location, provider, room, equipment item or service.

    A window concerns the visits of its resource, a closure those of its location, a rule those of its service and
    provider, if they have one; a rule's are never changed, see `EditDirectory`.
    """
    wanted: dict[Kind, str | None] = {entity.kind: entry_id}
    if entity.kind is Kind.WINDOW:
        wanted = {entity.references["resource_id"]: record["resource_id"]}
    elif entity.kind is Kind.CLOSURE:
        wanted = {Kind.LOCATION: record.get("location_id") or None}
    elif entity.kind is Kind.SERVICE_RULE:
        wanted = {
            Kind.SERVICE: record.get("service_id") or None,
            Kind.PROVIDER: record.get("provider_id") or None,
        }
    return {column: value for kind, column in _NARROWING.items() if (value := wanted.get(kind))}


def _changes_claims(entry: Entry, before: Entry) -> bool:
    """Whether anything changes that claims depend on."""
    return entry.active != before.active or any(
        entry.record.get(name) != before.record.get(name) for name in _CLAIMED_BY
    )


def _changes_overlap(entry: Entry, before: Entry | None) -> bool:
    """Whether a service comes to let its patients' visits overlap, or not to."""
    name = "allow_patient_overlap"
    return before is not None and entry.record.get(name) != before.record.get(name)


def _quota_days(entry: Entry, remembered: Remembered) -> set[tuple[str, date]]:
    """The quotas that the visits will hold units of, with their local days."""
    if entry.kind is not Kind.SERVICE_RULE or not entry.active:
        return set()
    rule = _rule_of(entry)
    if rule.rule_type != "max_daily":
        return set()
    return {quota_of(rule, visit) for visit in remembered.visits}


def _patients(entry: Entry, remembered: Remembered) -> set[str]:
    """The patients that the visits may come to take."""
    if not _changes_overlap(entry, remembered.entry):
        return set()
    return {visit.patient_id for visit in remembered.visits if visit.patient_id}


async def _used_quota_units(session: Session, concerned: Concerned) -> dict[str, set[int]]:
    """Units taken of every quota from the first day concerned on, whoever holds them."""
    first_min = min(visit.start_min for visit in concerned.visits()) - 2 * 1440
    pending = session.queue(sql.QUOTA_UNITS, session.clinic_id, first_min)
    await session.run()
    used: dict[str, set[int]] = {}
    for resource_id, unit in pending.rows():
        used.setdefault(resource_id, set()).add(unit)
    return used


async def _gap_claims(session: Session, rule: Rule, concerned: Concerned) -> dict[str, dict[str, HeldClaim]]:
    """The claims that keep the rule's distance, by gap and visit, whoever holds them."""
    visits = list(concerned.visits())
    providers = {gap_id(rule.id, visit.provider_id): visit.provider_id for visit in visits}
    first_min = min(visit.start_min for visit in visits)
    pending = session.queue(sql.CLAIMS_FROM, session.clinic_id, sorted(providers), first_min)
    await session.run()
    held: dict[str, dict[str, HeldClaim]] = {}
    for resource_id, visit_id, *claim in pending.rows():
        held.setdefault(resource_id, {})[visit_id] = HeldClaim(
            resource_id, ResourceKind.GAP, providers[resource_id], *claim
        )
    return held


def _rule_of(entry: Entry) -> Rule:
    record = entry.record
    return Rule(
        id=entry.id,
        rule_type=record["rule_type"],
        payload=parse_payload(record["rule_type"], record["rule_payload"]),
        service_id=record.get("service_id") or None,
        provider_id=record.get("provider_id") or None,
        priority=record["priority"],
    )


def _listed(concerned: Concerned, reasons: Mapping[str, Reason]) -> tuple[Displaced, ...]:
    return tuple(
        Displaced(visit.id, visit.start_min, visit.end_min, reasons[visit.id])
        for visit in concerned.visits()
        if visit.id in reasons
    )

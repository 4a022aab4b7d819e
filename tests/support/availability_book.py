"""A clinic's appointments, booked, moved and canceled at random by the rules of the claim table, with their events.

It stands for booking where only what booking leaves behind matters: rows of `claim` and `resource`, and events made
by the code that makes a real booking's.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import psycopg

from booking_svc.model import Appointment, Change, EventType, HeldClaim
from booking_svc.outbox.events import event_bytes
from scheduling.appointment import AppointmentStatus
from scheduling.claims import Visit, visit_claims
from scheduling.clock import EPOCH
from scheduling.facts import Claim, EquipmentUnit, PlannedClaim, StaticFacts

# Holds end sixty days after it: none of them before its test does.
_AT = datetime.now(UTC).replace(microsecond=0)


@dataclass(slots=True)
class Booked:
    """An appointment that is there, with its claims."""

    appointment: Appointment
    claims: tuple[HeldClaim, ...]


@dataclass(slots=True)
class Book:
    """All live appointments of one location; `version` is each calendar's newest."""

    clinic_id: str
    static: StaticFacts
    patients: list[str]
    rng: random.Random
    first_min: int
    last_min: int
    version: dict[str, int] = field(default_factory=dict)
    booked: dict[str, Booked] = field(default_factory=dict)
    taken: dict[tuple[str, int], list[tuple[int, int, str]]] = field(default_factory=dict)
    loaded_ends: dict[tuple[str, int, str], datetime] = field(default_factory=dict)

    def load(self, owner_url: str) -> None:
        """Take over the versions and claims that the database has."""
        with psycopg.connect(owner_url) as owner:
            for row in owner.execute(
                "SELECT id::text, calendar_version FROM resource WHERE clinic_id = %s", (self.clinic_id,)
            ):
                self.version[row[0]] = row[1]
            for resource_id, unit, start, end, appointment_id, expires_at in owner.execute(
                "SELECT resource_id::text, unit, starts_at, ends_at, appointment_id::text, expires_at FROM claim"
                " WHERE clinic_id = %s",
                (self.clinic_id,),
            ):
                if expires_at is not None:
                    self.loaded_ends[resource_id, unit, appointment_id] = expires_at
                span = (_minutes(start), _minutes(end), appointment_id)
                self.taken.setdefault((resource_id, unit), []).append(span)

    def step(self) -> bytes | None:
        """Book, move or cancel something; return its event, or None when nothing fitted."""
        choice = self.rng.random()
        if choice < 0.6 or not self.booked:
            return self._create()
        appointment_id = self.rng.choice(list(self.booked))
        return self._move(appointment_id) if choice < 0.8 else self._cancel(appointment_id)

    def book_at(self, service_id: str, provider_id: str, start_min: int, room_id: str | None) -> bytes:
        """Book one visit without a patient, and return its event."""
        service = next(found for found in self.static.services if found.id == service_id)
        end_min = start_min + service.duration_min
        visit = Visit(service_id, provider_id, start_min, end_min, room_id=room_id)
        appointment_id = str(UUID(int=random.SystemRandom().getrandbits(128), version=4))
        held = tuple(_held(claim, None) for claim in visit_claims(self.static, visit))
        appointment = self._appointment(appointment_id, visit, AppointmentStatus.SCHEDULED)
        return self._change(None, appointment, held)

    def cancel_last(self) -> bytes:
        """Cancel what was booked last, and return the event."""
        return self._cancel(next(reversed(self.booked)))

    def store(self, owner_url: str) -> None:
        """Make the database's claims and versions those of the book."""
        with psycopg.connect(owner_url) as owner:
            rows = [
                (self.clinic_id, resource_id, unit, _instant(start), _instant(end), appointment_id)
                for (resource_id, unit), spans in self.taken.items()
                for start, end, appointment_id in spans
            ]
            holds = self._ends_of_holds()
            owner.execute("DELETE FROM claim WHERE clinic_id = %s", (self.clinic_id,))
            owner.cursor().executemany(
                "INSERT INTO claim (clinic_id, resource_id, unit, starts_at, ends_at, during, appointment_id,"
                " expires_at) VALUES (%s, %s, %s, %s, %s, tstzrange(%s, %s), %s, %s)",
                [
                    (clinic, resource, unit, start, end, start, end, who, holds.get((resource, unit, who)))
                    for clinic, resource, unit, start, end, who in rows
                ],
            )
            owner.cursor().executemany(
                "UPDATE resource SET calendar_version = %s WHERE clinic_id = %s AND id = %s",
                [(version, self.clinic_id, resource_id) for resource_id, version in self.version.items()],
            )

    def claims(self, resource_ids: Iterable[str], start_min: int, end_min: int) -> tuple[Claim, ...]:
        """Return the claims of some resources that touch a stretch, as a snapshot reads them."""
        wanted = set(resource_ids)
        expires = {
            claim_key: (expires_at - EPOCH) / timedelta(minutes=1)
            for claim_key, expires_at in self._ends_of_holds().items()
        }
        return tuple(
            Claim(resource_id, unit, start, end, who, expires.get((resource_id, unit, who)))
            for (resource_id, unit), spans in self.taken.items()
            if resource_id in wanted
            for start, end, who in spans
            if start < end_min and end > start_min
        )

    @property
    def entries(self) -> int:
        """How many claims there are."""
        return sum(len(spans) for spans in self.taken.values())

    def _ends_of_holds(self) -> dict[tuple[str, int, str], datetime]:
        """Return when claims of holds end, by resource, unit and appointment."""
        made = {
            (claim.resource_id, claim.unit, booked.appointment.id): claim.expires_at
            for booked in self.booked.values()
            for claim in booked.claims
            if claim.expires_at
        }
        return self.loaded_ends | made

    def _create(self) -> bytes | None:
        appointment_id = str(UUID(int=self.rng.getrandbits(128), version=4))
        planned = self._plan(appointment_id)
        if planned is None:
            return None
        visit, claims = planned
        is_hold = self.rng.random() < 0.1
        expires_at = _AT + timedelta(days=60, microseconds=self.rng.randrange(10**6)) if is_hold else None
        status = AppointmentStatus.HELD if is_hold else AppointmentStatus.SCHEDULED
        held = tuple(_held(claim, expires_at) for claim in claims)
        return self._change(None, self._appointment(appointment_id, visit, status), held)

    def _move(self, appointment_id: str) -> bytes | None:
        before = self.booked[appointment_id]
        self._release(before)
        planned = self._plan(appointment_id)
        self._take(before)
        if planned is None:
            return None
        visit, claims = planned
        after = replace(
            self._appointment(appointment_id, visit, before.appointment.status),
            version=before.appointment.version + 1,
        )
        expires_at = before.claims[0].expires_at
        return self._change(before, after, tuple(_held(claim, expires_at) for claim in claims))

    def _cancel(self, appointment_id: str) -> bytes:
        before = self.booked[appointment_id]
        after = replace(
            before.appointment,
            version=before.appointment.version + 1,
            status=AppointmentStatus.CANCELED,
        )
        return self._change(before, after, ())

    def _change(self, before: Booked | None, after: Appointment, claims: tuple[HeldClaim, ...]) -> bytes:
        """Do it, raise the versions of every calendar concerned, and return the event."""
        if before is not None:
            self._release(before)
            del self.booked[after.id]
        now = Booked(after, claims)
        if claims:
            self._take(now)
            self.booked[after.id] = now
        earlier = before.claims if before else ()
        versions: dict[str, int] = {}
        for lock_id in sorted({claim.lock_id for claim in (*earlier, *claims)}):
            versions[lock_id] = self.version[lock_id] = self.version.get(lock_id, 0) + 1
        change = Change(
            event_type=EventType.CREATED if before is None else EventType.UPDATED,
            after=after,
            before=before.appointment if before else None,
            claims=claims,
            claims_before=earlier,
            versions=versions,
        )
        event_id = str(UUID(int=self.rng.getrandbits(128), version=4))
        return event_bytes(change, event_id, _AT, None)

    def _plan(self, appointment_id: str) -> tuple[Visit, tuple[PlannedClaim, ...]] | None:
        """Return a visit at a random time whose claims are all free, or None after some tries."""
        for _ in range(8):
            service = self.rng.choice(self.static.services)
            provider = self.rng.choice(self.static.providers)
            start_min = self.rng.randrange(self.first_min, self.last_min) // 15 * 15
            rooms = self.static.rooms if service.requires_room else ()
            items = self.static.equipment if self.rng.random() < 0.3 else ()
            visit = Visit(
                service_id=service.id,
                provider_id=provider.id,
                start_min=start_min,
                end_min=start_min + service.duration_min,
                patient_id=self.rng.choice(self.patients),
                room_id=self.rng.choice(rooms).id if rooms else None,
                equipment=(EquipmentUnit(self.rng.choice(items).id, 1),) if items else (),
            )
            claims = visit_claims(self.static, visit)
            if all(self._is_free(claim) for claim in claims):
                return visit, claims
        return None

    def _is_free(self, claim: PlannedClaim) -> bool:
        spans = self.taken.get((claim.resource_id, claim.unit), ())
        return all(end <= claim.start_min or start >= claim.end_min for start, end, _ in spans)

    def _take(self, booked: Booked) -> None:
        for claim in booked.claims:
            span = (claim.start_min, claim.end_min, booked.appointment.id)
            self.taken.setdefault((claim.resource_id, claim.unit), []).append(span)

    def _release(self, booked: Booked) -> None:
        for claim in booked.claims:
            span = (claim.start_min, claim.end_min, booked.appointment.id)
            self.taken[claim.resource_id, claim.unit].remove(span)

    def _appointment(self, appointment_id: str, visit: Visit, status: AppointmentStatus) -> Appointment:
        return Appointment(
            clinic_id=self.clinic_id,
            id=appointment_id,
            location_id=self.static.location.id,
            provider_id=visit.provider_id,
            service_id=visit.service_id,
            start_min=visit.start_min,
            end_min=visit.end_min,
            zone=self.static.location.zone,
            status=status,
            patient_id=visit.patient_id,
            room_id=visit.room_id,
            created_at=_AT,
            updated_at=_AT,
        )


def _held(claim: PlannedClaim, expires_at: datetime | None) -> HeldClaim:
    return HeldClaim(
        claim.resource_id,
        claim.kind,
        claim.lock_id,
        claim.unit,
        claim.start_min,
        claim.end_min,
        expires_at,
    )


def _minutes(instant: datetime) -> int:
    return (instant - EPOCH) // timedelta(minutes=1)


def _instant(minute: int) -> datetime:
    return EPOCH + timedelta(minutes=minute)

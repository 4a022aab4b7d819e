"""Rewrites the claims of many visits at once, under their locks, each with its next version, event and audit row."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Final

from booking_svc.directory.rewriting import Rewrite, Wanted
from booking_svc.model import Appointment, Caller, Change, EventType, HeldClaim
from booking_svc.store import displacement_statements as sql
from booking_svc.store.session import Reply, Session
from booking_svc.usecases import existing
from booking_svc.usecases.existing import Found
from booking_svc.usecases.recording import Recorder
from scheduling.appointment import ACTIVE
from scheduling.errors import NotFound

_BATCH: Final = 200
"""Visits whose statements travel together: bounds what is queued."""


@dataclass(slots=True)
class Concerned:
    """Visits under their locks, by start, with what they claim and the versions that their resources have got."""

    found: list[Found]
    versions: dict[str, int] = field(default_factory=dict)

    def visits(self) -> Iterator[Appointment]:
        """The visits, by start."""
        return (found.visit for found in self.found)

    def pairs(self) -> list[tuple[Appointment, tuple[HeldClaim, ...]]]:
        """Each visit with its claims."""
        return [(found.visit, found.claims) for found in self.found]


class ClaimRewriting:
    """Locks and rewrites; the exclusive lock of the directory is held by the caller."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    async def lock(
        self,
        session: Session,
        caller: Caller,
        visit_ids: Sequence[str],
        quota_days: Iterable[tuple[str, date]] = (),
        patient_ids: Iterable[str] = (),
    ) -> Concerned:
        """Lock every resource that the visits claim, then the visits, and read them under the locks.

        `quota_days` are the quotas, with their local days, that the visits may come to claim: they are made before any
        row is locked and locked along with the rest, as `patient_ids` are whom they may come to take, so that nothing
        needs a resource's lock once a visit is locked.
        """
        quotas = sorted(set(quota_days))
        if quotas:
            session.ensure_quotas(quotas)
        pending = session.queue(sql.LOCKS_OF_VISITS, session.clinic_id, list(visit_ids))
        await session.run()
        locked = {row[0] for row in pending.rows()} | {quota_id for quota_id, _ in quotas} | set(patient_ids)
        session.lock_only(sorted(locked))
        session.lock_appointments(visit_ids)
        await session.run()
        found: list[Found | None] = []
        for begin in range(0, len(visit_ids), _BATCH):
            asked = [existing.ask(session, visit_id) for visit_id in visit_ids[begin : begin + _BATCH]]
            await session.run()
            found.extend(_live(answer, caller) for answer in asked)
        return Concerned([each for each in found if each is not None])

    async def rewrite(
        self, session: Session, caller: Caller, concerned: Concerned, rewrite: Rewrite
    ) -> list[Appointment]:
        """Give every visit the claims that `rewrite` wants; the visits that could not have all, or are over a limit.

        What cannot be had stays as it was: a visit never loses what it held.
        """
        judged = [(found, rewrite(found.visit, found.claims)) for found in concerned.found]
        over = [found.visit for found, wanted in judged if wanted.over_limit is not None]
        changes = [(found, wanted) for found, wanted in judged if set(wanted.claims) != set(found.claims)]
        if not changes:
            return over
        await self._raise_versions(session, concerned, changes)
        lost: list[Appointment] = []
        for begin in range(0, len(changes), _BATCH):
            lost += await self._apply(session, caller, concerned, changes[begin : begin + _BATCH])
        return over + [visit for visit in lost if visit not in over]

    async def _raise_versions(
        self, session: Session, concerned: Concerned, changes: list[tuple[Found, Wanted]]
    ) -> None:
        """Raise the versions of every calendar that is rewritten; `lock` has locked the rows, so nothing is waited for.

        Only these, as a raised version without an event would look like a lost one.
        """
        touched = {
            claim.lock_id for found, wanted in changes for claim in set(wanted.claims) ^ set(found.claims)
        }
        versions = session.lock_resources(sorted(touched))
        await session.run()
        concerned.versions.update(versions.get())

    async def _apply(
        self, session: Session, caller: Caller, concerned: Concerned, changes: list[tuple[Found, Wanted]]
    ) -> list[Appointment]:
        replies = [(found, wanted, _replace(session, found, wanted)) for found, wanted in changes]
        await session.run()
        lost = []
        for found, wanted, had in replies:
            claims = tuple(claim for claim in wanted.claims if (claim.resource_id, claim.unit) in had.get())
            missing = {(claim.resource_id, claim.unit) for claim in wanted.claims} - had.get()
            if missing:
                lost.append(found.visit)
                lacking = {resource_id for resource_id, _ in missing}
                kept = [
                    claim
                    for claim in found.claims
                    if claim.resource_id in lacking and (claim.resource_id, claim.unit) not in had.get()
                ]
                session.insert_claims(found.visit.id, found.visit.expires_at, kept)
                claims += tuple(kept)
            if set(claims) != set(found.claims):
                self._record(session, caller, concerned, found, claims)
        await session.run()
        return lost

    def _record(
        self,
        session: Session,
        caller: Caller,
        concerned: Concerned,
        found: Found,
        claims: tuple[HeldClaim, ...],
    ) -> None:
        after = replace(found.visit, version=found.visit.version + 1, updated_at=found.now)
        session.update_appointment(found.visit, after)
        touched = {claim.resource_id for claim in set(claims) ^ set(found.claims)}
        change = Change(
            event_type=EventType.UPDATED,
            after=after,
            before=found.visit,
            claims=tuple(claim for claim in claims if claim.resource_id in touched),
            claims_before=tuple(claim for claim in found.claims if claim.resource_id in touched),
            versions=concerned.versions,
        )
        self._recorder.record(session, caller, change, found.now)


def _live(answer: Callable[[Caller], Found], caller: Caller) -> Found | None:
    """The visit, unless it ended while its locks were waited for."""
    try:
        found = answer(caller)
    except NotFound:
        return None
    return found if found.visit.status in ACTIVE else None


def _replace(session: Session, found: Found, wanted: Wanted) -> Reply[set[tuple[str, int]]]:
    session.delete_claims(found.visit.id)
    return session.insert_claims(found.visit.id, found.visit.expires_at, wanted.claims)

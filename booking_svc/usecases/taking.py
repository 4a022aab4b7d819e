"""Taking time: one attempt after another, each exactly as the law of the product has it.

    choose from unlocked facts ── lock every resource row in id order, raise its version ── lock the appointment, if
    there is one ── read the facts again, judge again ── give up its own claims ── write all claims in one statement

Whoever changes a calendar raises its version. Where the lock finds every version as it was, the calendars are the same
as before, the patient and the clock are compared, and the first verdict stands; else all is read and judged again.

A new visit's first attempt may be hasty: the database compares all that itself, and so the locks travel with the
writes and the COMMIT. When something has changed, nothing is committed, and the whole transaction is run again without
haste.

What was chosen is gone: ROLLBACK TO SAVEPOINT and choose again, at most three times. No attempt claims what it did not
lock at its start; that is what keeps bookings from waiting for each other in a circle. The last attempt locks every
room and item that might do at its start, so that nothing that fits is refused because others chose the same room first.

The writes travel with the COMMIT. Under the locks every claim is to be had; should one not be, because somebody wrote
it without the lock, the statement fails, nothing is committed, and the whole transaction is run again, as often as
after a deadlock.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import Final

from booking_svc.model import Caller, Conflicts, HeldClaim, Outcome, Taken
from booking_svc.store.session import Session
from booking_svc.usecases import existing
from booking_svc.usecases.existing import ATTEMPTS_MAX, RETRY_AFTER_S, Found, changed_meanwhile
from booking_svc.usecases.judged_facts import (
    Judged,
    Locked,
    Question,
    ask_all,
    ask_chosen,
    ask_patient,
    counted_patients,
    expired_in_the_way,
    limits_of,
)
from booking_svc.usecases.mutation import MetExpiredHolds
from database.location_facts import LocationFacts
from scheduling import localtime
from scheduling.claims import locks_of
from scheduling.derived import DerivedCache
from scheduling.errors import Conflict, DomainError, NotFound, Reason, Stale
from scheduling.facts import PlannedClaim, ResourceKind
from scheduling.judge import Proposal, Verdict, judge

STALE_AFTER: Final = timedelta(seconds=30)

_CHOSEN_KINDS: Final = (ResourceKind.ROOM, ResourceKind.EQUIPMENT)
_OF_THE_CHOICE: Final = (Reason.ROOM_ALREADY_BOOKED, Reason.EQUIPMENT_UNAVAILABLE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is to be taken, for a new appointment or, with `found`, for one that is there.

    `fetched_at` is when the caller saw the slot free, if it says so: what is too old is refused.
    `first` is what the first attempt chooses from, when it was asked already.
    `check` is asked again about an existing one once it is locked.
    """

    caller: Caller
    appointment_id: str
    facts: LocationFacts
    proposal: Proposal
    fetched_at: datetime | None = None
    found: Found | None = None
    first: Question | None = None
    check: Callable[[Found], None] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Granted:
    """What may be taken, judged under the locks: `versions` are the new calendar versions of all locked rows."""

    facts: LocationFacts
    verdict: Verdict
    versions: Mapping[str, int]
    now: datetime
    found: Found | None


Write = Callable[[Granted], tuple[Outcome, datetime | None]]
"""Queues the rows of a granted wish; returns the outcome and when its claims end by themselves."""


class _ChooseAgain(Exception):
    """What was chosen is gone."""


class Taker:
    """Takes what is wanted, or refuses it. `cache` keeps what is dear to derive from windows."""

    def __init__(self, cache: DerivedCache) -> None:
        self._cache = cache

    async def take(self, session: Session, wanted: Wanted, write: Write) -> Outcome:
        """Choose in at most three attempts and queue the writes. Sets the savepoint before it locks.

        Raises Conflict and Refused as judged, NotFound, MetExpiredHolds, and Stale when others were always faster.
        """
        for attempt in range(1, ATTEMPTS_MAX + 1):
            try:
                return await self._attempt(session, wanted, write, attempt)
            except _ChooseAgain:
                session.rollback_to_savepoint()
        raise Stale(
            "Other bookings kept taking what was chosen; try again.",
            reason=Reason.CONCURRENT_BOOKING,
            retry_after_s=RETRY_AFTER_S,
        )

    async def _attempt(self, session: Session, wanted: Wanted, write: Write, attempt: int) -> Outcome:
        is_first = attempt == 1
        chosen, judged = await self._choose(session, wanted, wanted.first if is_first else None)
        granted = None
        if is_first and session.is_hasty:
            granted = _lock_untouched(session, wanted, chosen, judged)
        if granted is None:
            granted = await self._lock(session, wanted, chosen, judged, is_last=attempt == ATTEMPTS_MAX)
        planned = granted.verdict.claims
        if granted.found is not None:
            session.delete_claims(wanted.appointment_id)
        outcome, expires_at = write(granted)
        session.insert_all_claims(wanted.appointment_id, expires_at, planned)
        return outcome

    async def _lock(
        self, session: Session, wanted: Wanted, chosen: Verdict, judged: Judged, *, is_last: bool
    ) -> Granted:
        if not session.has_savepoint:
            session.savepoint()
        lock_and_judge = self._lock_all_and_judge if is_last else self._lock_and_judge
        granted = await lock_and_judge(session, wanted, chosen, judged)
        require_fresh(wanted.fetched_at, granted.now)
        return granted

    async def _choose(
        self, session: Session, wanted: Wanted, first: Question | None
    ) -> tuple[Verdict, Judged]:
        """Judge before any lock is held, and so find the rooms and units to lock."""
        question = first or ask_all(session, wanted.facts.static, wanted.proposal)
        if first is None:
            await session.run()
        judged = question.answer()
        return self._judge(wanted, wanted.proposal, judged), judged

    async def _lock_and_judge(
        self, session: Session, wanted: Wanted, chosen: Verdict, before: Judged
    ) -> Granted:
        """Lock what was chosen and raise its versions; judge again what has changed, with no other choice."""
        lock_ids = _lock_ids(wanted, chosen, before)
        _ensure_quotas(session, wanted, chosen)
        locked = session.lock_resources(sorted(lock_ids))
        again = _ask_existing(session, wanted)
        rest = ask_patient(session, wanted.facts.static, wanted.proposal, is_locked=True)
        await session.run()
        found = self._check_existing(wanted, again, lock_ids)
        seen = Locked(_all_locked(locked.get(), lock_ids), *rest.answer())
        verdict, now = chosen, seen.now
        if not before.still_holds(chosen.claims, seen):
            verdict, now = await self._judge_again(session, wanted, chosen, lock_ids)
        return Granted(facts=wanted.facts, verdict=verdict, versions=seen.versions, now=now, found=found)

    async def _judge_again(
        self, session: Session, wanted: Wanted, chosen: Verdict, lock_ids: set[str]
    ) -> tuple[Verdict, datetime]:
        """Read what is locked, and judge it as of now."""
        question = ask_chosen(session, wanted.facts.static, wanted.proposal, chosen.claims)
        await session.run()
        judged = question.answer()
        verdict = self._judge_locked(wanted, chosen, judged)
        if not _lock_ids(wanted, verdict, judged) <= lock_ids:
            raise _ChooseAgain
        return verdict, judged.now

    async def _lock_all_and_judge(
        self, session: Session, wanted: Wanted, chosen: Verdict, before: Judged
    ) -> Granted:
        """Lock every room and item that might do, and choose among them under the locks: what fits is found.

        Only what is claimed then has its version raised.
        """
        static = wanted.facts.static
        might_do = {
            thing.id for things in (static.rooms, static.equipment) for thing in things if thing.active
        }
        lock_ids = _lock_ids(wanted, chosen, before) | might_do
        _ensure_quotas(session, wanted, chosen)
        session.lock_only(sorted(lock_ids))
        again = _ask_existing(session, wanted)
        question = ask_all(session, static, wanted.proposal, is_locked=True)
        await session.run()
        found = self._check_existing(wanted, again, lock_ids)
        judged = question.answer()
        verdict = self._judge(wanted, wanted.proposal, judged)
        claimed = _lock_ids(wanted, verdict, judged)
        raised = session.lock_resources(sorted(claimed))
        await session.run()
        versions = _all_locked(raised.get(), claimed)
        return Granted(facts=wanted.facts, verdict=verdict, versions=versions, now=judged.now, found=found)

    def _check_existing(
        self, wanted: Wanted, again: Callable[[Caller], Found] | None, lock_ids: set[str]
    ) -> Found | None:
        """Look at the appointment again, now that nobody can change it."""
        if again is None:
            return None
        found = again(wanted.caller)
        if wanted.check is not None:
            wanted.check(found)
        assert wanted.found is not None  # noqa: S101 - it was asked for because of that
        if found.visit.version != wanted.found.visit.version or not found.lock_ids <= lock_ids:
            raise changed_meanwhile()
        return found

    def _judge_locked(self, wanted: Wanted, chosen: Verdict, judged: Judged) -> Verdict:
        """Judge with only the locked rooms and items to choose from; when they are gone, others may still do."""
        kept = frozenset(claim.resource_id for claim in chosen.claims if claim.kind in _CHOSEN_KINDS)
        try:
            return self._judge(wanted, replace(wanted.proposal, only_resources=kept), judged)
        except Conflict as refusal:
            if refusal.reason in _OF_THE_CHOICE:
                raise _ChooseAgain from None
            raise

    def _judge(self, wanted: Wanted, proposal: Proposal, judged: Judged) -> Verdict:
        verdict = accepted(wanted.facts, judged, proposal, self._cache)
        ended = expired_in_the_way(judged.busy, verdict.claims, judged.now_min, wanted.appointment_id)
        if ended:
            raise MetExpiredHolds(ended)
        return verdict


def accepted(facts: LocationFacts, judged: Judged, proposal: Proposal, cache: DerivedCache) -> Verdict:
    """The verdict of a proposal that may be booked. Raises NotFound, Conflict and Refused as judged."""
    judged.require_patient(proposal)
    verdict = judge(facts.static, judged.busy, proposal, judged.now_min, cache)
    if not verdict.is_accepted:
        raise refused(verdict)
    return verdict


def refused(verdict: Verdict) -> DomainError:
    """The refusal of a verdict; a conflict also says what is taken."""
    refusal = verdict.error()
    if isinstance(refusal, Conflict):
        taken = tuple(Taken(item.kind, item.id, item.reason) for item in verdict.taken)
        refusal.alternatives = Conflicts(taken=taken)
    return refusal


def held_claims(planned: Iterable[PlannedClaim], expires_at: datetime | None) -> tuple[HeldClaim, ...]:
    """The claims as they will be held."""
    return tuple(
        HeldClaim(
            claim.resource_id,
            claim.kind,
            claim.lock_id,
            claim.unit,
            claim.start_min,
            claim.end_min,
            expires_at,
        )
        for claim in planned
    )


def _lock_ids(wanted: Wanted, verdict: Verdict, judged: Judged) -> set[str]:
    """The rows of what a verdict would claim, of what its limits count, and of what the appointment claims now."""
    lock_ids = {lock_id for lock_id, _ in locks_of(verdict.claims)}
    lock_ids |= counted_patients(wanted.facts.static, wanted.proposal, judged.busy.patient)
    return lock_ids if wanted.found is None else lock_ids | wanted.found.lock_ids


def _lock_untouched(session: Session, wanted: Wanted, chosen: Verdict, judged: Judged) -> Granted | None:
    """Queue the locks on condition that the verdict holds then; None when that is not for the database to tell."""
    static, patient = wanted.facts.static, judged.busy.patient
    if wanted.found is not None or limits_of(static, wanted.proposal):
        return None
    foreseen = judged.foreseen(chosen.claims)
    if foreseen is None:
        return None
    require_fresh(wanted.fetched_at, judged.now)  # nothing may be queued that is then not wanted
    before = foreseen.before
    if wanted.fetched_at is not None:
        before = min(before, wanted.fetched_at + STALE_AFTER)
    _ensure_quotas(session, wanted, chosen)
    session.lock_untouched(foreseen.versions, before)
    if patient is not None:
        session.lock_patient_untouched(patient, before)
    versions = {lock_id: version + 1 for lock_id, version in foreseen.versions.items()}
    return Granted(facts=wanted.facts, verdict=chosen, versions=versions, now=judged.now, found=None)


def require_fresh(fetched_at: datetime | None, now: datetime) -> None:
    """Refuse a booking from slots that are too old to be trusted."""
    if fetched_at is not None and now - fetched_at > STALE_AFTER:
        raise Stale(
            "The slots were fetched more than 30 s ago: search again.", reason=Reason.STALE_AVAILABILITY
        )


def _ensure_quotas(session: Session, wanted: Wanted, verdict: Verdict) -> None:
    quotas = quota_days(verdict.claims, wanted.facts.static.location.zone)
    if quotas:
        session.ensure_quotas(quotas)


def _ask_existing(session: Session, wanted: Wanted) -> Callable[[Caller], Found] | None:
    """Lock the appointment, if there is one, and ask for it again."""
    if wanted.found is None:
        return None
    session.lock_appointment(wanted.appointment_id)
    return existing.ask(session, wanted.appointment_id)


def _all_locked(versions: dict[str, int], lock_ids: set[str]) -> dict[str, int]:
    if versions.keys() != lock_ids:
        raise NotFound("Something that the visit needs does not exist.")
    return versions


def quota_days(planned: Iterable[PlannedClaim | HeldClaim], zone: str) -> list[tuple[str, date]]:
    """The quotas among the claims with their local days."""
    return [
        (claim.resource_id, localtime.day_at(zone, claim.start_min))
        for claim in planned
        if claim.kind is ResourceKind.QUOTA
    ]

"""An appointment that is there already: read, locked with all it claims, checked again, changed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from booking_svc.model import Appointment, Caller, Change, EventType, HeldClaim, Outcome
from booking_svc.store.rows import held_claims_of
from booking_svc.store.session import Session
from booking_svc.usecases import access
from booking_svc.usecases.commands import Existing
from booking_svc.usecases.recording import Recorder
from scheduling.errors import Reason, Stale
from scheduling.facts import RoomChoice, RoomMode
from scheduling.judge import Proposal

ATTEMPTS_MAX: Final = 3
"""How often one transaction chooses and locks, when others change meanwhile what it chose."""

RETRY_AFTER_S: Final = 0.2
"""How long a call waits that others were always faster than."""


@dataclass(frozen=True, slots=True)
class Found:
    """An appointment with its claims, as of the database's `now`."""

    visit: Appointment
    claims: tuple[HeldClaim, ...]
    now: datetime
    clinic_status: str

    @property
    def lock_ids(self) -> frozenset[str]:
        """The resource rows that guard its claims."""
        return frozenset(claim.lock_id for claim in self.claims)


@dataclass(frozen=True, slots=True)
class Locked:
    """The same under the locks, with the calendar version that each locked resource has got."""

    found: Found
    versions: dict[str, int]


Check = Callable[[Found], None]


async def find(session: Session, caller: Caller, appointment_id: str) -> Found:
    """Return an appointment that the caller may see, without locking it. Raises NotFound."""
    asked = ask(session, appointment_id)
    await session.run()
    return asked(caller)


def ask(session: Session, appointment_id: str) -> Callable[[Caller], Found]:
    """Queue the questions; the function answers them for a caller once the session has run."""
    stored, claims = session.appointment(appointment_id), session.own_claims(appointment_id)

    def answer(caller: Caller) -> Found:
        seen = stored.get()
        if seen is None:
            raise access.no_such_appointment()
        access.require_visible(caller.principal, seen.appointment)
        held = held_claims_of(claims.get(), seen.appointment.provider_id)
        return Found(seen.appointment, held, seen.now, seen.clinic_status)

    return answer


async def lock(
    session: Session, command: Existing, check: Check, *, with_claims: bool, also: Collection[str] = ()
) -> Locked:
    """Lock an appointment, and with `with_claims` the resources it claims; `check` is asked before and after.

    `also` are more resources, locked with those. Sets the savepoint. Begins again when the appointment's claims moved
    to other resources meanwhile. Raises what `check` raises, NotFound, and Stale.
    """
    session.savepoint()
    for _ in range(ATTEMPTS_MAX):
        seen = await find(session, command.caller, command.appointment_id)
        check(seen)
        lock_ids = seen.lock_ids.union(also) if with_claims else frozenset(also)
        versions = session.lock_resources(sorted(lock_ids)) if lock_ids else None
        session.lock_appointment(command.appointment_id)
        found = await find(session, command.caller, command.appointment_id)
        check(found)
        if not with_claims or found.lock_ids <= lock_ids:
            return Locked(found, versions.get() if versions else {})
        session.rollback_to_savepoint()
    raise changed_meanwhile()


def proposal_of_visit(visit: Appointment) -> Proposal:
    """The proposal to have an appointment's own time; what it holds itself does not stand in its way."""
    is_named = visit.room_mode is RoomMode.SPECIFIC
    return Proposal(
        service_id=visit.service_id,
        provider_id=visit.provider_id,
        start_min=visit.start_min,
        end_min=visit.end_min,
        patient_id=visit.patient_id,
        room=RoomChoice(RoomMode.SPECIFIC, visit.room_id) if is_named else RoomChoice(),
        ignore_appointment_ids=frozenset({visit.id}),
    )


def changed_meanwhile(thing: str = "appointment") -> Stale:
    """The refusal of a change that another call came before."""
    return Stale(
        f"The {thing} is being changed by others; try again.",
        reason=Reason.CONCURRENT_BOOKING,
        retry_after_s=RETRY_AFTER_S,
    )


def write(
    session: Session,
    recorder: Recorder,
    caller: Caller,
    locked: Locked,
    *,
    event_type: EventType,
    changed: Appointment,
    claims: Sequence[HeldClaim] | None = None,
) -> Outcome:
    """Queue a change: the row with its next version, the claims that are kept, the event and the audit row.

    `claims` None leaves the claims as they are; otherwise it has these instead, or the run fails: what it did not hold
    before must be judged free under the locks.
    """
    found = locked.found
    after = replace(changed, version=found.visit.version + 1, updated_at=found.now)
    if claims is not None:
        session.delete_claims(after.id)
        if claims:
            session.insert_all_claims(after.id, after.expires_at, claims)
    session.update_appointment(found.visit, after)
    change = Change(
        event_type=event_type,
        after=after,
        before=found.visit,
        claims=found.claims if claims is None else tuple(claims),
        claims_before=found.claims,
        versions=locked.versions,
    )
    return recorder.record(session, caller, _touched(change, is_changed=claims is not None), found.now)


def _touched(change: Change, *, is_changed: bool) -> Change:
    """The change as the event tells it: claims that it did not touch are left out."""
    return change if is_changed else replace(change, claims=(), claims_before=())

"""A step in an appointment's life that needs no new time: what the single use cases have in common."""

from __future__ import annotations

from dataclasses import dataclass, replace

from booking_svc.model import EventType, Outcome
from booking_svc.store.session import Session
from booking_svc.usecases import access, existing
from booking_svc.usecases.commands import ChangeStatus
from booking_svc.usecases.existing import Found
from booking_svc.usecases.recording import Recorder
from booking_svc.usecases.retained_claims import Retain
from scheduling.appointment import AppointmentStatus, require_transition


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """Where it leads, what it is called, and which claims are kept (`retain` None: all of them, untouched)."""

    to: AppointmentStatus
    event_type: EventType
    retain: Retain | None = None
    may_be_suspended: bool = False


class StatusChange:
    """Takes one step, under the locks of what it gives back."""

    def __init__(self, step: Step, recorder: Recorder) -> None:
        self._step = step
        self._recorder = recorder

    async def __call__(self, session: Session, command: ChangeStatus) -> Outcome:
        """Change the state. Raises NotFound, Stale and Refused."""
        step = self._step
        access.require_may_step(command.caller.principal, step.to)
        access.require_may_write_notes(command.caller.principal, command.notes)

        def check(found: Found) -> None:
            access.require_open(found.clinic_status, may_be_suspended=step.may_be_suspended)
            access.require_etag(found.visit, command.etag)
            self._require_step(found)

        locked = await existing.lock(session, command, check, with_claims=step.retain is not None)
        before = locked.found.visit
        changed = replace(
            before,
            status=step.to,
            reason=command.reason or before.reason,
            notes=before.notes if command.notes is None else command.notes,
        )
        claims = None if step.retain is None else step.retain(locked.found)
        outcome = existing.write(
            session,
            self._recorder,
            command.caller,
            locked,
            event_type=step.event_type,
            changed=changed,
            claims=claims,
        )
        await session.run()
        return outcome

    def _require_step(self, found: Found) -> None:
        """Refuse a step that the present state does not allow; asked before and under the lock."""
        require_transition(found.visit.status, self._step.to)

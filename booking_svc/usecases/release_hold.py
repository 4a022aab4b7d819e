"""A hold is given back before it ends; works in a suspended clinic, since it books nothing."""

from __future__ import annotations

from dataclasses import replace

from booking_svc.model import EventType, Outcome
from booking_svc.store.session import Session
from booking_svc.usecases import existing
from booking_svc.usecases.commands import Existing, UseHold
from booking_svc.usecases.holds import require_usable
from booking_svc.usecases.recording import Recorder
from scheduling.appointment import AppointmentStatus


class ReleaseHold:
    """Releases everything the hold claims."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    async def __call__(self, session: Session, command: UseHold) -> Outcome:
        """Give the hold back. Raises NotFound and Refused."""
        target = Existing(caller=command.caller, clinic_id=command.clinic_id, appointment_id=command.hold_id)
        check = require_usable(command, AppointmentStatus.RELEASED, may_be_suspended=True)
        locked = await existing.lock(session, target, check, with_claims=True)
        changed = replace(locked.found.visit, status=AppointmentStatus.RELEASED)
        outcome = existing.write(
            session,
            self._recorder,
            command.caller,
            locked,
            event_type=EventType.HOLD_RELEASED,
            changed=changed,
            claims=(),
        )
        await session.run()
        return outcome

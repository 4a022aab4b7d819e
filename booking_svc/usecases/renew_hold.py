"""A hold lasts longer: at most fifteen minutes from now."""

from __future__ import annotations

from dataclasses import replace

from booking_svc.model import EventType, Outcome
from booking_svc.store.session import Session
from booking_svc.usecases import existing
from booking_svc.usecases.book import expiry
from booking_svc.usecases.commands import Existing, UseHold
from booking_svc.usecases.holds import require_usable
from booking_svc.usecases.recording import Recorder
from scheduling.appointment import AppointmentStatus


class RenewHold:
    """Renews, under the locks of everything the hold claims."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    async def __call__(self, session: Session, command: UseHold) -> Outcome:
        """Let the hold end later. Raises NotFound and Refused."""
        target = Existing(caller=command.caller, clinic_id=command.clinic_id, appointment_id=command.hold_id)
        check = require_usable(command, AppointmentStatus.HELD)
        locked = await existing.lock(session, target, check, with_claims=True)
        found = locked.found
        changed = replace(found.visit, expires_at=expiry(found.now, command.ttl_s))
        claims = [replace(claim, expires_at=changed.expires_at) for claim in found.claims]
        outcome = existing.write(
            session,
            self._recorder,
            command.caller,
            locked,
            event_type=EventType.HOLD_RENEWED,
            changed=changed,
            claims=claims,
        )
        await session.run()
        return outcome

"""Other notes on an appointment; nothing else of it changes."""

from __future__ import annotations

from dataclasses import replace

from booking_svc.model import EventType, Outcome
from booking_svc.store.session import Session
from booking_svc.usecases import access, existing
from booking_svc.usecases.commands import ChangeNotes
from booking_svc.usecases.existing import Found
from booking_svc.usecases.recording import Recorder


class UpdateNotes:
    """Writes notes."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    async def __call__(self, session: Session, command: ChangeNotes) -> Outcome:
        """Change the notes. Raises NotFound and Stale, and Forbidden for a patient, who does not see them."""
        access.require_may_write_notes(command.caller.principal, command.notes)

        def check(found: Found) -> None:
            access.require_open(found.clinic_status, may_be_suspended=False)
            access.require_etag(found.visit, command.etag)

        locked = await existing.lock(session, command, check, with_claims=False)
        changed = replace(locked.found.visit, notes=command.notes)
        outcome = existing.write(
            session, self._recorder, command.caller, locked, event_type=EventType.UPDATED, changed=changed
        )
        await session.run()
        return outcome

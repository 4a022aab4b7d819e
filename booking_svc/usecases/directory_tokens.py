"""The consistency token of a directory change: a search that sends it reads what the change has written."""

from __future__ import annotations

from collections.abc import Mapping

from booking_svc.store.session import Session
from scheduling import consistency


async def token_of_change(session: Session, versions: Mapping[str, int] | None = None) -> str:
    """The token for the directory as this transaction leaves it, and the calendars that it changed, with versions."""
    reply = session.directory_version()
    await session.run()
    return consistency.encode({**(versions or {}), session.clinic_id: reply.get() or 0})


def token_of_new_clinic(clinic_id: str) -> str:
    """The token for a clinic that has just been made."""
    return consistency.encode({clinic_id: 1})

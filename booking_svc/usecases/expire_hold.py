"""The end of a hold that nobody used: the ordinary transaction, whoever notices it first."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import psycopg

from booking_svc.model import Caller, EventType
from booking_svc.store.session import Session
from booking_svc.usecases import existing
from booking_svc.usecases.commands import Existing
from booking_svc.usecases.existing import Found
from booking_svc.usecases.recording import Recorder
from booking_svc.usecases.transactions import Transactions, domain_error
from chassis.auth.principal import Principal, Role
from database.failures import is_transient
from scheduling.appointment import AppointmentStatus
from scheduling.errors import NotFound

SYSTEM = Principal(subject="booking_svc", role=Role.SERVICE)
"""Who ends holds."""


class _NotToBeExpired(Exception):
    """It was confirmed, renewed, released or expired meanwhile."""


class ExpireHold:
    """Ends a hold in a transaction of its own."""

    def __init__(self, transactions: Transactions, recorder: Recorder) -> None:
        self._transactions = transactions
        self._recorder = recorder

    async def __call__(self, clinic_id: str, hold_id: str) -> bool:
        """End the hold if its time has passed; False when there was nothing to do, or another one is at it."""
        try:
            return await self._expire(clinic_id, hold_id)
        except (_NotToBeExpired, NotFound):
            return False
        except psycopg.Error as error:
            if is_transient(error):
                return False
            raise domain_error(error) from error

    async def _expire(self, clinic_id: str, hold_id: str) -> bool:
        async with self._transactions.session(clinic_id) as session:
            session.begin()
            await _end(session, self._recorder, hold_id)
            session.commit()
            await session.run()
        return True


async def end_holds(session: Session, recorder: Recorder, hold_ids: Iterable[str]) -> None:
    """End those of the holds whose time has passed, in a transaction that is open and that nothing undoes in part."""
    for hold_id in sorted(hold_ids):
        try:
            await _end(session, recorder, hold_id)
        except (_NotToBeExpired, NotFound):
            continue
    await session.run()


async def _end(session: Session, recorder: Recorder, hold_id: str) -> None:
    """Queue the end of a hold. Raises NotFound and _NotToBeExpired."""
    caller = Caller(principal=SYSTEM, request_id=f"expire-{hold_id}")
    command = Existing(caller=caller, clinic_id=session.clinic_id, appointment_id=hold_id)
    locked = await existing.lock(session, command, _require_ended, with_claims=True)
    changed = replace(locked.found.visit, status=AppointmentStatus.EXPIRED)
    existing.write(
        session,
        recorder,
        caller,
        locked,
        event_type=EventType.HOLD_EXPIRED,
        changed=changed,
        claims=(),
    )


def _require_ended(found: Found) -> None:
    visit = found.visit
    is_hold = visit.status is AppointmentStatus.HELD and visit.expires_at is not None
    if not is_hold or visit.expires_at is None or visit.expires_at > found.now:
        raise _NotToBeExpired

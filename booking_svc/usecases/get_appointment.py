"""Reading one appointment."""

from __future__ import annotations

from booking_svc.model import Appointment
from booking_svc.store.session import Session
from booking_svc.usecases import access
from booking_svc.usecases.commands import Get
from booking_svc.usecases.transactions import Transactions


class GetAppointment:
    """Reads what the caller may see."""

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions

    async def __call__(self, command: Get) -> Appointment:
        """Return the appointment. Raises NotFound."""

        async def ask(session: Session) -> Appointment:
            reply = session.appointment(command.appointment_id)
            session.rollback()
            await session.run()
            stored = reply.get()
            if stored is None or stored.clinic_status == access.ARCHIVED:
                raise access.no_such_appointment()
            access.require_visible(command.caller.principal, stored.appointment)
            return stored.appointment

        return await self._transactions.read(command.clinic_id, ask)

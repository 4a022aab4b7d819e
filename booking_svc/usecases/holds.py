"""What may be done with a hold is decided here: by whom, and whether it still lives."""

from __future__ import annotations

import hmac
from collections.abc import Callable

from booking_svc.usecases import access
from booking_svc.usecases.book import token_hash
from booking_svc.usecases.commands import UseHold
from booking_svc.usecases.existing import Found
from booking_svc.usecases.reschedule_appointment import require_not_expired
from scheduling.appointment import AppointmentStatus
from scheduling.errors import Reason, Refused


def require_usable(
    command: UseHold, to: AppointmentStatus, *, may_be_suspended: bool = False
) -> Callable[[Found], None]:
    """The check of a hold that is to be renewed (`to` held), confirmed (scheduled) or released."""

    def check(found: Found) -> None:
        visit = found.visit
        access.require_open(found.clinic_status, may_be_suspended=may_be_suspended)
        is_known = visit.hold_token_hash is not None
        if not is_known or not hmac.compare_digest(
            token_hash(command.hold_token), visit.hold_token_hash or b""
        ):
            raise Refused("This is not the hold's token.", reason=Reason.HOLD_TOKEN_MISMATCH)
        if visit.status is AppointmentStatus.EXPIRED:
            raise Refused("The hold has ended.", reason=Reason.HOLD_EXPIRED)
        if visit.status is not AppointmentStatus.HELD:
            raise Refused(
                f"A hold that is {visit.status.value} cannot become {to.value}.",
                metadata={"from": visit.status.value, "to": to.value},
            )
        require_not_expired(found)

    return check
